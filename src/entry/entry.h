/*
 * What the public functions share: allocation and freeing by size, class and
 * flags, below the names. init.c gets the process ready, malloc.c holds the hot
 * paths.
 */
#ifndef HAK_ENTRY_ENTRY_H
#define HAK_ENTRY_ENTRY_H

#include "hakmem/hakmem.h"
#include "tcache/tcache.h"

/* Also under the standard's name, where the build overrides malloc; the unit
 * tests' copy of the library (HAK_INTERNAL) never does. */
#if HAK_OVERRIDE && !defined(HAK_INTERNAL)
#define STANDARD_NAMES 1
/* gcc warns of an alias with other attributes; clang knows none of it. */
#if defined(__clang__)
#define ALIAS_OF(ours) alias(#ours)
#else
#define ALIAS_OF(ours) alias(#ours), copy(ours)
#endif
#define ALSO_AS(name, ours) \
	HAK_EXPORT extern __typeof__(ours) name \
	    __attribute__((ALIAS_OF(ours)))
/* A program linked to the static library may have its own; the dynamic linker sees to it
 * by itself. */
#if defined(PIC)
#define REPLACEABLE
#else
#define REPLACEABLE __attribute__((weak))
#endif
#else
#define STANDARD_NAMES 0
#define ALSO_AS(name, ours) _Static_assert(1, "")
#endif

/* Set by init: every call goes the slow way, past the caches, because contents
 * are to be filled or memcheck is to be told. */
extern bool entry_is_checked;

/* Options, maps, caches; the first call of a process, from any thread. */
void entry_init(void);
bool entry_is_initialized(void);

/* No object, with the standard's errno. */
void *out_of_memory(void);

/* The hot part of malloc: an object from the thread's cache, or NULL, which says
 * nothing yet: allocate() goes on. */
ALWAYS_INLINE void *malloc_cached(size_t size)
{
	struct tcache *t = tcache_self;

	if (likely(size < t->ends[LAYER_TINY]))
		return tcache_pop(t, t->class_of[size]);
	if (likely(size < t->ends[LAYER_L2]))
		return tcache_pop(t, t->class_of_l2[(size - 1) / L2_STEP]);
	if (likely(size < t->ends[LAYER_L25]))
		return tcache_pop(t, size_class_l25[(size - 1) / GRANULE]);
	return NULL;
}

/* Slabs and extents start at granules, and the classes are such that a multiple of an
 * alignment, a power of two up to GRANULE, is served by one that is, too. But Tiny slots do
 * not all start where their slab does: not every object of such a size is so aligned. */
ALWAYS_INLINE bool is_overaligned(size_t rounded_size, size_t alignment)
{
	return alignment > SLAB_COLOUR && rounded_size <= TINY_MAX;
}

/* As malloc_cached. */
ALWAYS_INLINE void *malloc_cached_aligned(size_t size, size_t alignment)
{
	if (unlikely(alignment - 1 >= GRANULE || size - 1 >= L25_MAX))
		return NULL;
	size = round_up(size, alignment);
	if (likely(!is_overaligned(size, alignment)))
		return malloc_cached(size);
	struct tcache *t = tcache_self;
	return size < t->ends[LAYER_TINY] ?
	    tcache_pop_aligned(t, t->class_of[size], alignment) : NULL;
}

/* Where objects come from: a cache; or past all caches, arena arena_id, 0: the
 * thread's own. */
struct route {
	struct tcache *cache;
	unsigned arena_id;
};
/* What a plain malloc takes: the thread's cache, or that of the site of the caller,
 * who is known by the return address. */
struct route route_of(const void *caller);
#define ROUTE_OF_CALLER route_of(__builtin_return_address(0))

/* One object. alignment: a power of two. zero: size bytes must read zero. NULL and
 * ENOMEM. */
void *allocate(size_t size, size_t alignment, bool zero, struct route route);
/* The same of the caller's route: what malloc_cached_aligned did not serve, or was not
 * asked for. */
void *allocate_aligned(size_t size, size_t alignment, const void *caller);
ALWAYS_INLINE void *malloc_aligned_for(size_t size, size_t alignment, const void *caller)
{
	void *p = malloc_cached_aligned(size, alignment);

	return likely(p) ? p : allocate_aligned(size, alignment, caller);
}
/* Any pointer that a program gave, to the thread's cache or past it; reports
 * misuse and aborts. */
void deallocate(void *p, bool cached);
/* The same to that cache. */
void deallocate_to(void *p, struct tcache *cache);
/* Usable size of a live object. Misuse, of that function, aborts. */
size_t usable_size_for_call(const char *call, const void *p);
/* The usable size that allocate would give; 0: out of range. */
size_t usable_size_for(size_t size, size_t alignment);
/* realloc, p not NULL and size not 0, in two steps. First, what needs no other
 * object: p, or where its pages went; NULL: not possible, nothing changed. */
void *resize_without_copy(void *p, size_t size, size_t alignment, bool zero);
/* Then by an object of that route; NULL (ENOMEM): p is as it was. */
void *resize_by_copy(void *p, size_t size, size_t alignment, bool zero,
    struct route route);
/* The usable size after an attempt to make p hold size without moving it. */
size_t resize_in_place(void *p, size_t size, bool zero);

#endif
