/* The non-standard interface: jemalloc's functions and flags. */
#include <errno.h>
#include <string.h>

#include "entry/entry.h"
#include "tcache/explicit.h"

struct request {
	size_t alignment;
	bool zero;
	struct route route;
};

#define LG_ALIGN_MASK 0x3f
#define TCACHE_SHIFT 8
#define TCACHE_MASK 0xfff
#define ARENA_SHIFT 20
/* What HAK_TCACHE(0) leaves in the flags; one less is HAK_TCACHE_NONE. */
#define TCACHE_FIRST 2

/* The cache is that arena's from now on: programs that name both name the same two for
 * ever. */
static void bind(struct route *route)
{
	struct arena *arena = arena_ensure(route->arena_id);

	if (arena)
		tcache_bind(route->cache, arena);
	else
		route->cache = NULL; /* no memory: the arena's route says so */
}

/* False (EINVAL): an arena or a cache that cannot be. caller: NULL where nothing is
 * allocated. */
static bool parse(int flags, struct request *r, const void *caller)
{
	unsigned cache = (unsigned)flags >> TCACHE_SHIFT & TCACHE_MASK;
	unsigned arena_id = (unsigned)flags >> ARENA_SHIFT;

	if (!entry_is_initialized())
		entry_init();
	r->alignment = (size_t)1 << (flags & LG_ALIGN_MASK);
	r->zero = flags & HAK_ZERO;
	r->route = (struct route) { NULL, arena_id };
	if (cache == 0 && arena_id == 0)
		r->route = route_of(caller);
	else if (cache >= TCACHE_FIRST)
		r->route.cache = explicit_get(cache - TCACHE_FIRST);
	if ((arena_id && !arena_exists(arena_id)) ||
	    (cache >= TCACHE_FIRST && !r->route.cache)) {
		errno = EINVAL;
		return false;
	}
	if (caller && r->route.cache && arena_id)
		bind(&r->route);
	return true;
}

/* With HAK_ZERO all that is usable reads zero: what grows into the rest later does, too. */
static size_t size_for(const struct request *r, size_t size)
{
	size_t usable = r->zero ? usable_size_for(size, r->alignment) : 0;

	return usable ? usable : size;
}

void *hak_mallocx(size_t size, int flags)
{
	struct request r;

	if (size == 0) {
		errno = EINVAL;
		return NULL;
	}
	if (likely(flags == 0)) {
		void *p = malloc_cached(size);
		if (likely(p))
			return p;
	}
	return parse(flags, &r, __builtin_return_address(0)) ?
	    allocate(size_for(&r, size), r.alignment, r.zero, r.route) : NULL;
}

void *hak_rallocx(void *ptr, size_t size, int flags)
{
	struct request r;

	if (size == 0 || !ptr) {
		errno = EINVAL;
		return NULL;
	}
	if (!parse(flags, &r, __builtin_return_address(0)))
		return NULL;
	void *kept = resize_without_copy(ptr, size, r.alignment, r.zero);
	return kept ? kept :
	    resize_by_copy(ptr, size_for(&r, size), r.alignment, r.zero, r.route);
}

size_t hak_xallocx(void *ptr, size_t size, size_t extra, int flags)
{
	size_t most;

	if (__builtin_add_overflow(size, extra, &most) || most > SIZE_MAX_ALLOWED)
		most = SIZE_MAX_ALLOWED;
	size_t now = resize_in_place(ptr, most, flags & HAK_ZERO);
	return now < size && most > size ?
	    resize_in_place(ptr, size, flags & HAK_ZERO) : now;
}

size_t hak_sallocx(const void *ptr, int flags)
{
	(void)flags;
	return usable_size_for_call("sallocx", ptr);
}

void hak_dallocx(void *ptr, int flags)
{
	struct request r;

	if (likely(flags == 0))
		hak_free(ptr);
	else if (parse(flags, &r, NULL) && r.route.cache)
		deallocate_to(ptr, r.route.cache);
	else
		deallocate(ptr, false);
}

void hak_sdallocx(void *ptr, size_t size, int flags)
{
	(void)size;
	hak_dallocx(ptr, flags);
}

size_t hak_nallocx(size_t size, int flags)
{
	struct request r;

	return size && parse(flags, &r, NULL) ? usable_size_for(size, r.alignment) : 0;
}
