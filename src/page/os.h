/*
 * The system's memory calls, and nothing else: mapping, giving back, huge
 * pages, and how careful one must be with address space. Every function
 * leaves errno as it was.
 */
#ifndef HAK_PAGE_OS_H
#define HAK_PAGE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Readable, writable, zero; near hint where that is free. NULL: no memory. */
void *os_map(void *hint, size_t size);
/* As os_map, at place exactly; false: not possible, nothing changed. */
bool os_map_at(void *place, size_t size);
/* As os_map, at a multiple of alignment (a power of two). */
void *os_map_aligned(void *hint, size_t size, size_t alignment);
/* Address space that reads zero, costs no memory and stays out of core dumps. */
void *os_reserve_readable(size_t size);
bool os_make_writable(void *base, size_t size);
/* False where the system cannot split the mapping any further. */
bool os_unmap(void *base, size_t size);
/* Let go of the pages; they read zero afterwards, also where they are locked and
 * stay. */
void os_purge(void *base, size_t size);
/* Let the system take the pages when it wants them (MADV_FREE). */
void os_purge_lazily(void *base, size_t size);
/* Grow a mapping where it is. 0, or ENOMEM: the space above is taken; EFAULT: to the
 * system it is several mappings. */
int os_grow(void *base, size_t old_size, size_t new_size);
/* Move the pages, and grow, onto the mapping at place, which they replace. */
bool os_remap_onto(void *base, size_t old_size, size_t new_size, void *place);
/* Apply the option thp to a mapping. */
void os_advise_huge(void *base, size_t size);

/* Each other thread of the process passes a full memory barrier before this returns
 * (membarrier(2)); false: the system has none. */
bool os_fence_threads(void);

/* Milliseconds of the coarse monotonic clock. */
uint64_t os_now_ms(void);
unsigned os_processors(void);
/* Has the process a library with that in its path? */
bool os_has_library(const char *part);

/* Is there a limit of the process (RLIMIT_AS)? *most: what it could raise it to, bytes. */
bool os_is_address_space_limited(size_t *most);

#endif
