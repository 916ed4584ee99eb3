/* The non-standard interface: jemalloc's functions and flags. */
#include <errno.h>
#include <string.h>

#include "entry/entry.h"

struct request {
	size_t alignment;
	bool zero, cached;
	unsigned arena_id; /* 0: the thread's own */
};

#define LG_ALIGN_MASK 0x3f
#define TCACHE_SHIFT 8
#define TCACHE_MASK 0xfff
#define ARENA_SHIFT 20

/* False (EINVAL): an arena that cannot be. */
static bool parse(int flags, struct request *r)
{
	unsigned cache = (unsigned)flags >> TCACHE_SHIFT & TCACHE_MASK;
	unsigned arena_id = (unsigned)flags >> ARENA_SHIFT;

	r->alignment = (size_t)1 << (flags & LG_ALIGN_MASK);
	r->zero = flags & HAK_ZERO;
	r->cached = cache == 0 && arena_id == 0;
	r->arena_id = arena_id;
	if (!entry_is_initialized())
		entry_init();
	if (arena_id > arenas_max()) {
		errno = EINVAL;
		return false;
	}
	return true;
}

void *hak_mallocx(size_t size, int flags)
{
	struct request r;

	if (likely(flags == 0 && size != 0))
		return hak_malloc(size);
	if (size == 0) {
		errno = EINVAL;
		return NULL;
	}
	return parse(flags, &r) ? allocate(size, r.alignment, r.zero,
	    r.arena_id, r.cached) : NULL;
}

void *hak_rallocx(void *ptr, size_t size, int flags)
{
	struct request r;

	if (size == 0 || !ptr) {
		errno = EINVAL;
		return NULL;
	}
	return parse(flags, &r) ? reallocate(ptr, size, r.alignment, r.zero,
	    r.arena_id, r.cached) : NULL;
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
	return usable_size(ptr);
}

void hak_dallocx(void *ptr, int flags)
{
	struct request r;

	if (likely(flags == 0))
		hak_free(ptr);
	else
		deallocate(ptr, parse(flags, &r) && r.cached);
}

void hak_sdallocx(void *ptr, size_t size, int flags)
{
	(void)size;
	hak_dallocx(ptr, flags);
}

size_t hak_nallocx(size_t size, int flags)
{
	struct request r;

	return size && parse(flags, &r) ? usable_size_for(size, r.alignment) : 0;
}
