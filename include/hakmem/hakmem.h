/*
 * hakmem: a memory allocator for Linux.
 *
 * Everything here is thread safe unless it says otherwise. Sizes are bytes.
 * Memory from any allocating function belongs to the caller until it is given
 * to one of the freeing functions, in any thread. free() and its kin leave
 * errno as it was. Misuse (double free, a pointer that is not the start of a
 * live object) prints one line and aborts.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HAK_EXPORT __attribute__((visibility("default")))
#define HAK_MALLOC_LIKE __attribute__((malloc, warn_unused_result))
#else
#define HAK_EXPORT
#define HAK_MALLOC_LIKE
#endif

#define HAK_VERSION_MAJOR 0
#define HAK_VERSION_MINOR 1
#define HAK_VERSION_PATCH 0
#define HAK_VERSION "0.1.0"

/*
 * Flags of the hak_*x functions; their bits are those of jemalloc's
 * MALLOCX_* (jemalloc(3)). Combine with |.
 */
/* Align to (1 << la) bytes. */
#define HAK_LG_ALIGN(la) ((int)(la))
/* Align to a bytes; a is a power of two, below 2^31. */
#define HAK_ALIGN(a) ((int)__builtin_ctz((unsigned)(a)))
/* Zero the memory; on hak_rallocx and hak_xallocx what lies beyond the usable size that
 * it had. */
#define HAK_ZERO ((int)0x40)
/* Use the explicit cache tc, which hak_mallctl("tcache.create") made; by one thread
 * at a time. One that does not exist fails the call with EINVAL. With HAK_ARENA it is
 * filled from that arena, whose it is from then on. */
#define HAK_TCACHE(tc) ((int)(((tc) + 2) << 8))
/* Go past the thread caches to the arena. */
#define HAK_TCACHE_NONE HAK_TCACHE(-1)
/* Allocate from arena a (0 <= a < narenas), past the thread caches. An arena
 * that does not exist fails the call with EINVAL. */
#define HAK_ARENA(a) ((int)(((a) + 1) << 20))

/* malloc(3) and friends under names of hakmem's own; each behaves as glibc's
 * function of that name. NULL and ENOMEM where memory or the address space
 * runs out or the size is over PTRDIFF_MAX. */
HAK_EXPORT void *hak_malloc(size_t size) HAK_MALLOC_LIKE;
HAK_EXPORT void *hak_calloc(size_t count, size_t size) HAK_MALLOC_LIKE;
/* As glibc: hak_realloc(p, 0) with p not NULL frees p and returns NULL. */
HAK_EXPORT void *hak_realloc(void *ptr, size_t size);
HAK_EXPORT void *hak_reallocarray(void *ptr, size_t count, size_t size);
HAK_EXPORT void hak_free(void *ptr);
/* C23: size (and alignment) must be what was asked for at allocation. */
HAK_EXPORT void hak_free_sized(void *ptr, size_t size);
HAK_EXPORT void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size);
/* Returns 0, EINVAL (alignment not a power of two multiple of sizeof(void *))
 * or ENOMEM; errno is not set. */
HAK_EXPORT int hak_posix_memalign(void **out, size_t alignment, size_t size);
/* NULL and EINVAL where alignment is not a power of two; hak_memalign takes the next one. */
HAK_EXPORT void *hak_aligned_alloc(size_t alignment, size_t size);
HAK_EXPORT void *hak_memalign(size_t alignment, size_t size);
HAK_EXPORT void *hak_valloc(size_t size);
HAK_EXPORT void *hak_pvalloc(size_t size);
/* Bytes usable at ptr (0 for NULL); at least what was asked for. */
HAK_EXPORT size_t hak_malloc_usable_size(const void *ptr);

/*
 * jemalloc's non-standard interface. size must not be 0 where something is allocated
 * (EINVAL).
 */
HAK_EXPORT void *hak_mallocx(size_t size, int flags) HAK_MALLOC_LIKE;
/* Resize, moving if it must; NULL (ENOMEM) leaves ptr as it was. */
HAK_EXPORT void *hak_rallocx(void *ptr, size_t size, int flags);
/* Resize in place to at least size and, if it can, size + extra bytes;
 * returns the usable size afterwards, whether or not it changed. */
HAK_EXPORT size_t hak_xallocx(void *ptr, size_t size, size_t extra, int flags);
/* Usable size of ptr. */
HAK_EXPORT size_t hak_sallocx(const void *ptr, int flags);
HAK_EXPORT void hak_dallocx(void *ptr, int flags);
/* size: what was asked for, or anything up to hak_sallocx(). */
HAK_EXPORT void hak_sdallocx(void *ptr, size_t size, int flags);
/* The usable size that hak_mallocx(size, flags) would give; 0 where it would
 * be out of range. Allocates nothing. */
HAK_EXPORT size_t hak_nallocx(size_t size, int flags);

/* Give free memory back to the system at once: the calling thread's cache,
 * the arenas' depots, empty slabs, free pages, cached whales. Returns 1 where
 * something went back, else 0. pad is ignored. */
HAK_EXPORT int hak_malloc_trim(size_t pad);

/*
 * Read (oldp, *oldlenp bytes), write (newp, newlen) or run the control of that name;
 * hakmem(3) lists them. Returns 0 or
 *   ENOENT   no such name or index
 *   EINVAL   a length that is not the value's (what fits is read all the same and
 *            *oldlenp says how much), or a value out of range
 *   EPERM    not readable, not writable, or not to be called with a value
 *   EAGAIN   no memory (site.add: ENOMEM)
 *   ENOSPC   site.add: 256 rules are there
 *   EFAULT   no such arena, cache or thread
 *   ENOTSUP  known, but hakmem does not do it
 * What fails changes nothing. stats.* are as of the last write to "epoch".
 */
HAK_EXPORT int hak_mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp,
    size_t newlen);
/* The name's numbers, for hak_mallctlbymib: a component each, of which those that
 * are numbers in the name may be changed. *miblenp: in room, out components.
 * ENOENT; EINVAL: no room at all; where there is some, the first numbers are told. */
HAK_EXPORT int hak_mallctlnametomib(const char *name, size_t *mibp, size_t *miblenp);
HAK_EXPORT int hak_mallctlbymib(const size_t *mib, size_t miblen, void *oldp,
    size_t *oldlenp, void *newp, size_t newlen);

/*
 * Site-tagged allocation: what is allocated for a site lies in an arena of its
 * name, with statistics, decay and a limit of its own. Freed as anything else.
 *
 * hak_site: the number of the site of that name (up to 31 bytes count), for ever;
 * 0: no memory or too many sites. hak_alloc: as hak_malloc, for the site; 0 and
 * numbers that are no site's: as hak_malloc. hak_alloc_here: the site is the place
 * in the source, by the last 31 bytes of FILE:LINE.
 */
HAK_EXPORT unsigned hak_site(const char *name);
HAK_EXPORT void *hak_alloc(size_t size, unsigned site) HAK_MALLOC_LIKE;
#define HAK_STRING_1(x) #x
#define HAK_STRING(x) HAK_STRING_1(x)
#define HAK_HERE __FILE__ ":" HAK_STRING(__LINE__)
#define hak_alloc_here(size) (__extension__ ({ \
	static unsigned hak_here_; \
	if (__builtin_expect(!__atomic_load_n(&hak_here_, __ATOMIC_RELAXED), 0)) \
		__atomic_store_n(&hak_here_, hak_site(&(HAK_HERE)[sizeof(HAK_HERE) > 32 ? \
		    sizeof(HAK_HERE) - 32 : 0]), __ATOMIC_RELAXED); \
	hak_alloc((size), __atomic_load_n(&hak_here_, __ATOMIC_RELAXED)); }))

/* May be defined by the program: a configuration that is compiled in, as in
 * HAKMEM_CONF, which comes after it. */
HAK_EXPORT extern const char *hak_malloc_conf;
/* May be set by the program: gets every line that hakmem would write to stderr.
 * Must not allocate. */
HAK_EXPORT extern void (*hak_malloc_message)(void *opaque, const char *text);

/* Print statistics through write_cb(opaque, text), or as messages where write_cb is
 * NULL. opts: letters, or NULL; J prints JSON, the others leave out: g general
 * information, m the sum of all arenas, a each arena, b bins, l large classes, x
 * mutexes (d and e, of jemalloc, do nothing: destroyed arenas and extents by size
 * are not printed). */
HAK_EXPORT void hak_malloc_stats_print(void (*write_cb)(void *, const char *),
    void *opaque, const char *opts);

#ifdef __cplusplus
}
#endif
#endif
