/*
 * Memory for the allocator's own structures, apart from the program's so that
 * no write through a user pointer reaches it by a small overrun. Never given
 * back to the system; freed pieces are reused for their size. One lock, a
 * leaf in the lock order.
 */
#ifndef HAK_PAGE_METADATA_H
#define HAK_PAGE_METADATA_H

#include <stddef.h>

#include "base/lock.h"

extern struct lock metadata_lock; /* for fork */

/* Zeroed; whole cache lines, but for 65 to 96 bytes, which may share one. NULL: no
 * memory. */
void *metadata_alloc(size_t size);
/* size: as asked for. */
void metadata_free(void *p, size_t size);
/* Bytes taken from the system for metadata, the page map's pages apart. */
size_t metadata_bytes(void);
/* Of that, what was used so far. */
size_t metadata_resident(void);
/* Where they are kept, for who reads this process's memory from outside: bytes
 * taken, and what of them was never used. */
extern const struct metadata_places {
	const AO_t *mapped;
	char *const *unused, *const *unused_end;
} metadata_places;

#endif
