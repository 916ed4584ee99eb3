/*
 * malloc and free. The two hot functions come first; all they do not do
 * themselves is below them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena/background.h"
#include "base/log.h"
#include "base/options.h"
#include "ctl/collect.h"
#include "ctl/site.h"
#include "entry/check.h"
#include "entry/entry.h"
#include "page/page_heap.h"
#include "page/whale.h"

static void *malloc_slow(size_t size, const void *caller);
static void free_slow(void *p);
static void free_elsewhere(void *p);
static void *calloc_slow(size_t size, const void *caller);

/* Up to TINY_MAX 12 instructions, to L2_MAX 19, above 18. */
HOT_PATH void *hak_malloc(size_t size)
{
	void *p = malloc_cached(size);

	return likely(p) ? p : malloc_slow(size, __builtin_return_address(0));
}

/* At the start of a cache line its batches took 1.15 to 1.25 x the time on an EPYC, and in
 * the middle no fused compare and jump crosses 32 bytes, which Skylakes dislike. */
#if defined(__x86_64__)
__asm__(".pushsection .text.hak_free, \"ax\", @progbits; .p2align 6; "
    ".skip 32, 0xcc; .popsection");
#define MID_LINE __attribute__((section(".text.hak_free"), aligned(32)))
#else
#define MID_LINE
#endif
/* 23 instructions: one load and one compare tell owner and class together, and one
 * compare whether the address can be an object's at all. */
MID_LINE void hak_free(void *p)
{
	struct tcache *t = tcache_self;
	size_t word = page_map_word(p);

	if (unlikely(word >= word_read(&t->map_limit)))
		return free_slow(p);
	size_t class = AO_short_load(&t->map[page_map_granule(word)]) ^ t->tag;
	if (unlikely(class >= CLASSES))
		return free_elsewhere(p);
	if (unlikely(!tcache_push(t, class, p)))
		return free_slow(p);
}

HOT_PATH void *hak_calloc(size_t count, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return out_of_memory();
	if (likely(bytes <= L2_MAX)) {
		void *p = malloc_cached(bytes);
		if (likely(p))
			return memset(p, 0, bytes);
	}
	return calloc_slow(bytes, __builtin_return_address(0));
}

NO_INLINE void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* The next time malloc_sited knows where the caller is led: to that cache, or to the
 * thread's own. Only what the table of all threads knows is remembered: site_find keeps
 * the dynamic linker's calls out of it. */
static void remember(struct tcache *own, const void *caller, size_t generation,
    struct tcache *cache)
{
	*tcache_caller(own, caller) = (struct caller) {
		.address = caller, .generation = generation, .cache = cache,
	};
}

struct route route_of(const void *caller)
{
	struct route route = { tcache_self, 0 };

	if (unlikely(route.cache == &tcache_none)) {
		if (!entry_is_initialized())
			entry_init();
		route.cache = tcache_get();
	}
	if (unlikely(flag_load(&site_rules))) {
		struct tcache *own = route.cache;
		/* Before the answer: one that is older is not remembered as newer. */
		size_t generation = AO_load_acquire(&site_generation);
		size_t tag = site_cached(caller);
		struct arena *arena = tag == SITE_UNKNOWN ? site_find(caller) :
		    arena_get((unsigned)(tag >> LG_CLASSES));
		if (arena && own)
			route.cache = tcache_for(arena);
		else if (arena)
			route.arena_id = arena->id;
		if (tag != SITE_UNKNOWN && route.cache && own->is_sited)
			remember(own, caller, generation, route.cache);
	}
	return route;
}

/* With site rules this is the common way, and without nobody is remembered: NULL says
 * nothing. */
ALWAYS_INLINE void *malloc_sited(struct tcache *t, size_t size, const void *caller)
{
	const struct caller *c = tcache_caller(t, caller);

	if (unlikely(c->address != caller || c->generation != AO_load(&site_generation)))
		return NULL;
	return size <= L25_MAX ? tcache_pop(c->cache, size_class_of(size)) : NULL;
}

static NO_INLINE void *malloc_slow(size_t size, const void *caller)
{
	void *p = malloc_sited(tcache_self, size, caller);

	return likely(p) ? p : allocate(size, 1, false, route_of(caller));
}

static NO_INLINE void *calloc_slow(size_t size, const void *caller)
{
	void *p = size <= L2_MAX ? malloc_sited(tcache_self, size, caller) : NULL;

	if (likely(p))
		return memset(p, 0, size);
	return allocate(size, 1, true, route_of(caller));
}

static NO_INLINE void free_slow(void *p)
{
	deallocate(p, true);
}

/* Nothing of the thread's arena, at an address that the fast path may look up. */
static NO_INLINE void free_elsewhere(void *p)
{
	struct tcache *own = tcache_self;

	if (!p)
		return;
	size_t entry = AO_short_load(&own->map[(uintptr_t)p >> LG_GRANULE]);
	/* With sites: most of it belongs to one of their caches. */
	for (struct tcache *t = own->sites; t; t = t->next_site) {
		size_t class = entry ^ t->tag;
		if (class < CLASSES && tcache_push(t, class, p))
			return;
	}
	deallocate(p, true);
}

/* The first class that holds size and whose slots have the alignment; CLASS_WHALE: none. */
static size_t class_for(size_t size, size_t alignment)
{
	if (size > L25_MAX || alignment - 1 >= GRANULE)
		return CLASS_WHALE;
	size = round_up(size ? size : 1, alignment);
	/* C++ may ask for what is no power of two. */
	return size > L25_MAX ? CLASS_WHALE : size_class_of(size);
}

size_t usable_size_for(size_t size, size_t alignment)
{
	size_t class = class_for(size, alignment);

	if (size > SIZE_MAX_ALLOWED || alignment > SIZE_MAX_ALLOWED - size)
		return 0;
	return class == CLASS_WHALE ? round_up(size, GRANULE) : size_class_size(class);
}

/* NULL: no memory. */
static struct arena *arena_of(struct route route)
{
	struct tcache *t = route.cache || route.arena_id ? route.cache : tcache_get();

	return t ? t->arena : arena_ensure(route.arena_id ? route.arena_id : 1);
}

static void *allocate_uncached(size_t class, bool overaligned, struct route route,
    bool *zeroed)
{
	struct arena *arena = arena_of(route);
	void *p = NULL;

	if (arena && (overaligned ? bin_refill_aligned(&arena->bins[class], 0, &p, zeroed) :
	    bin_refill(&arena->bins[class], 0, &p, 1, zeroed))) {
		bin_count_allocs(&arena->bins[class], 1);
		tcache_count_allocated(size_class_size(class));
	}
	return p;
}

static void *allocate_whale(size_t size, size_t alignment, struct route route,
    bool *zeroed)
{
	struct arena *arena = arena_of(route);
	void *p = arena ? whale_alloc(size ? size : 1,
	    alignment > GRANULE ? alignment : GRANULE, arena->id, tcache_side(), zeroed) : NULL;

	if (p)
		tcache_count_allocated(whale_size(p));
	background_start(true);
	return p;
}

/* What goes through such a cache is the calling thread's, but in none of its stacks'
 * counts. */
static bool is_counted_here(const struct tcache *cache)
{
	return cache->is_explicit && tcache_get();
}

/* An object of the class, by the way that the caller asked for. */
static void *allocate_class(size_t class, size_t size, size_t alignment,
    struct route route, bool *zeroed)
{
	if (class == CLASS_WHALE)
		return allocate_whale(size, alignment, route, zeroed);
	bool overaligned = is_overaligned(size_class_size(class), alignment);
	if (!route.cache)
		return allocate_uncached(class, overaligned, route, zeroed);
	void *p = overaligned ? tcache_alloc_aligned(route.cache, class, alignment, zeroed) :
	    tcache_alloc(route.cache, class, zeroed);
	if (p && is_counted_here(route.cache))
		tcache_count_allocated(size_class_size(class));
	return p;
}

size_t usable_size_for_call(const char *call, const void *p)
{
	unsigned entry = page_map_get(p);
	size_t class = entry % CLASSES;
	size_t size = class == CLASS_WHALE ? whale_size(p) : size_class_size(class);

	if (unlikely(size == 0 || !page_map_is_aligned(p)))
		misuse(call, p);
	return size;
}

/* Who resizes is about to free. */
static size_t usable_size(const void *p)
{
	return usable_size_for_call("free", p);
}

/* Memory ran out in one shape: let go of all that is free in any other. */
static SLOW_PATH void reclaim(void)
{
	tcache_flush_own();
	background_pass(true);
	page_heap_release();
	page_map_shrink();
}

static SLOW_PATH void *no_memory(size_t size)
{
	if (options.xmalloc)
		log_fatal("out of memory: %zu bytes", size);
	return out_of_memory();
}

void *allocate(size_t size, size_t alignment, bool zero, struct route route)
{
	bool zeroed = false;

	if (unlikely(!entry_is_initialized()))
		entry_init();
	if (unlikely(size > SIZE_MAX_ALLOWED || alignment > SIZE_MAX_ALLOWED - size))
		return no_memory(size);
	size_t class = class_for(size, alignment);
	void *p = allocate_class(class, size, alignment, route, &zeroed);
	if (unlikely(!p)) {
		reclaim();
		zeroed = false;
		p = allocate_class(class, size, alignment, route, &zeroed);
	}
	if (unlikely(!p))
		return no_memory(size);
	if (unlikely(entry_is_checked))
		check_allocated(p, usable_size(p), zero || zeroed);
	if (zero && !zeroed)
		memset(p, 0, size);
	return p;
}

NO_INLINE void *allocate_aligned(size_t size, size_t alignment, const void *caller)
{
	return allocate(size, alignment, false, route_of(caller));
}

/* The entry of a pointer that is to be freed, after the checks; a whale is freed
 * at once: 0. */
static unsigned entry_to_free(void *p)
{
	unsigned entry = page_map_get(p);
	size_t class = entry % CLASSES;

	if (unlikely(class == CLASS_NONE || !page_map_is_aligned(p)))
		misuse_of_free(p);
	if (unlikely(entry_is_checked))
		check_freed(p, usable_size(p));
	if (class != CLASS_WHALE)
		return entry;
	size_t size = whale_size(p);
	if (size == 0)
		misuse_of_free(p);
	whale_free(p, tcache_side());
	tcache_count_freed(size);
	background_ask();
	return 0;
}

void deallocate(void *p, bool cached)
{
	unsigned entry = p ? entry_to_free(p) : 0;

	if (!entry)
		return;
	if (cached) {
		tcache_free_slow(p, entry);
		return;
	}
	tcache_count_freed(size_class_size(entry % CLASSES));
	if (arena_free(entry >> LG_CLASSES, entry % CLASSES, p))
		background_ask();
}

void deallocate_to(void *p, struct tcache *cache)
{
	unsigned entry = p ? entry_to_free(p) : 0;

	if (!entry)
		return;
	tcache_free_to(cache, p, entry);
	if (is_counted_here(cache))
		tcache_count_freed(size_class_size(entry % CLASSES));
}

/* A whale to another size, counted as the thread's. */
static void *resize_whale(void *p, size_t size, bool may_move, bool zero)
{
	size_t old_size = whale_size(p);
	void *moved = whale_resize(p, size, may_move, zero);

	if (!moved)
		return NULL;
	/* In this order: the two never are there together. */
	tcache_count_freed(old_size);
	tcache_count_allocated(whale_size(moved));
	if (moved != p)
		background_ask();
	return moved;
}

/* To another L2.5 class, where it is. False: as it was, for it is none such, or what it would
 * grow by is not free. */
static bool resize_extent(void *p, size_t size, bool zero)
{
	unsigned entry = page_map_get(p);
	size_t old_class = entry % CLASSES, old_size = size_class_size(old_class);
	size_t class = size_class_of(size), new_size = size_class_size(class);
	bool zeroed = false;

	if (old_class < CLASS_L25 || old_class == CLASS_WHALE || class < CLASS_L25)
		return false;
	/* A cached one would be somebody else's in part. */
	if (unlikely(tcache_holds(p, entry)))
		log_double_free(p);
	if (!arena_resize(p, class, &zeroed))
		return false;
	tcache_count_freed(old_size);
	tcache_count_allocated(new_size);
	if (new_size < old_size)
		background_ask();
	else if (zero && !zeroed)
		memset((char *)p + old_size, 0, new_size - old_size);
	return true;
}

/* To a size of the same kind; a whale may move. NULL: as it was. */
static void *resize_as_is(void *p, size_t old_size, size_t size, bool may_move, bool zero)
{
	if (entry_is_checked || size > SIZE_MAX_ALLOWED || (old_size > L25_MAX) != (size > L25_MAX))
		return NULL;
	if (size > L25_MAX)
		return resize_whale(p, size, may_move, zero);
	return resize_extent(p, size, zero) ? p : NULL;
}

size_t resize_in_place(void *p, size_t size, bool zero)
{
	size_t old_size = usable_size(p);

	if (usable_size_for(size, 1) == old_size ||
	    (size <= old_size && old_size <= L2_MAX) ||
	    !resize_as_is(p, old_size, size, false, zero))
		return old_size;
	return usable_size(p);
}

/* Keep the object where it is? Not where over half of it would lie idle. */
static bool fits(size_t size, size_t old_size)
{
	return size <= old_size && old_size <= L25_MAX &&
	    (size > old_size / 2 || old_size <= 64);
}

void *resize_without_copy(void *p, size_t size, size_t alignment, bool zero)
{
	size_t old_size = usable_size(p);

	if (entry_is_checked || ((uintptr_t)p & (alignment - 1)))
		return NULL;
	if (fits(size, old_size))
		return p;
	return resize_as_is(p, old_size, size, alignment <= GRANULE, zero);
}

void *resize_by_copy(void *p, size_t size, size_t alignment, bool zero,
    struct route route)
{
	size_t old_size = usable_size(p);
	void *moved = allocate(size, alignment, zero, route);

	if (!moved)
		return NULL;
	memcpy(moved, p, size < old_size ? size : old_size);
	if (route.cache)
		hak_free(p);
	else
		deallocate(p, false);
	return moved;
}

/* The rest of realloc_for: who calls matters only where it allocates. */
static NO_INLINE void *reallocate(void *p, size_t size, const void *caller)
{
	if (!p) {
		/* Some programs know no other way to allocate. */
		void *fresh = malloc_cached(size);
		return likely(fresh) ? fresh : malloc_slow(size, caller);
	}
	if (size == 0) {
		counter_add(&collect_zero_reallocs, 1);
		hak_free(p);
		return NULL;
	}
	void *kept = resize_without_copy(p, size, 1, false);
	return kept ? kept : resize_by_copy(p, size, 1, false, route_of(caller));
}

/* Strings and vectors grow by it: what the cache can serve goes no further. */
ALWAYS_INLINE void *realloc_for(void *p, size_t size, const void *caller)
{
	const struct tcache *t = tcache_self;
	size_t word = page_map_word(p);
	/* 0 of NULL, too: that granule is nobody's. */
	size_t class = likely(word < word_read(&t->map_limit)) ?
	    AO_short_load(&t->map[page_map_granule(word)]) % CLASSES : CLASS_NONE;

	if (likely(class - 1 < CLASS_WHALE - 1 && size - 1 < L25_MAX)) {
		size_t old_size = size_class_size(class);
		if (fits(size, old_size))
			return p;
		if (class >= CLASS_L25 && size > L2_MAX)
			return reallocate(p, size, caller);
		void *moved = malloc_cached(size);
		if (likely(moved)) {
			memcpy(moved, p, size < old_size ? size : old_size);
			hak_free(p);
			return moved;
		}
	}
	return reallocate(p, size, caller);
}

HOT_PATH void *hak_realloc(void *p, size_t size)
{
	return realloc_for(p, size, __builtin_return_address(0));
}

HOT_PATH void *hak_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return out_of_memory();
	return realloc_for(p, bytes, __builtin_return_address(0));
}

void hak_free_sized(void *p, size_t size)
{
	(void)size;
	hak_free(p);
}

void hak_free_aligned_sized(void *p, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	hak_free(p);
}

static NO_INLINE int posix_memalign_slow(void **out, size_t alignment, size_t size,
    const void *caller)
{
	int saved = errno;
	void *p = allocate_aligned(size, alignment, caller);

	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

HOT_PATH int hak_posix_memalign(void **out, size_t alignment, size_t size)
{
	if (unlikely(!is_power_of_two(alignment) || alignment < sizeof(void *)))
		return EINVAL;
	void *p = malloc_cached_aligned(size, alignment);
	if (unlikely(!p))
		return posix_memalign_slow(out, alignment, size, __builtin_return_address(0));
	*out = p;
	return 0;
}

HOT_PATH void *hak_aligned_alloc(size_t alignment, size_t size)
{
	if (unlikely(!is_power_of_two(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	return malloc_aligned_for(size, alignment, __builtin_return_address(0));
}

void *hak_memalign(size_t alignment, size_t size)
{
	/* As glibc: the next power of two is meant. */
	if (!is_power_of_two(alignment) && alignment <= SIZE_MAX_ALLOWED)
		alignment = (size_t)1 << lg_ceil(alignment);
	if (!is_power_of_two(alignment)) {
		errno = EINVAL;
		return NULL;
	}
	return malloc_aligned_for(size, alignment, __builtin_return_address(0));
}

void *hak_valloc(size_t size)
{
	return allocate_aligned(size, PAGE, __builtin_return_address(0));
}

void *hak_pvalloc(size_t size)
{
	if (size > SIZE_MAX_ALLOWED - PAGE)
		return out_of_memory();
	return allocate_aligned(round_up(size ? size : 1, PAGE), PAGE,
	    __builtin_return_address(0));
}

size_t hak_malloc_usable_size(const void *p)
{
	return p ? usable_size_for_call("malloc_usable_size", p) : 0;
}

ALSO_AS(malloc, hak_malloc);
ALSO_AS(calloc, hak_calloc);
ALSO_AS(realloc, hak_realloc);
ALSO_AS(free, hak_free);
ALSO_AS(free_sized, hak_free_sized);
ALSO_AS(free_aligned_sized, hak_free_aligned_sized);
ALSO_AS(posix_memalign, hak_posix_memalign);
ALSO_AS(aligned_alloc, hak_aligned_alloc);
ALSO_AS(memalign, hak_memalign);
ALSO_AS(valloc, hak_valloc);
ALSO_AS(pvalloc, hak_pvalloc);
ALSO_AS(malloc_usable_size, hak_malloc_usable_size);
#if defined(PIC)
/* glibc's names for its own: who calls these means malloc, and mixes them with it. */
ALSO_AS(__libc_malloc, hak_malloc);
ALSO_AS(__libc_calloc, hak_calloc);
ALSO_AS(__libc_realloc, hak_realloc);
ALSO_AS(__libc_free, hak_free);
ALSO_AS(__libc_memalign, hak_memalign);
ALSO_AS(__libc_valloc, hak_valloc);
ALSO_AS(__libc_pvalloc, hak_pvalloc);
#endif

#if STANDARD_NAMES
/* By the program's own realloc, if it has one, as glibc's. */
HAK_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return out_of_memory();
	return realloc(p, bytes);
}

/* C++'s two basic forms of delete; cxx.c has those that end in them. */
HAK_EXPORT REPLACEABLE extern void cxx_delete(void *) __asm__("_ZdlPv")
    __attribute__((alias("hak_free")));
HAK_EXPORT REPLACEABLE extern void cxx_delete_aligned(void *) __asm__("_ZdlPvSt11align_val_t")
    __attribute__((alias("hak_free")));
#endif
