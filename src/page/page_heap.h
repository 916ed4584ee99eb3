/*
 * The page heap: runs of granules (16 KiB) out of chunks of 2 MiB, shared by
 * all arenas. A chunk's state is three masks of 128 bits:
 *
 *   free   nobody uses the granule
 *   dirty  free, and its pages hold old contents
 *   muzzy  free, and the system may take its pages (MADV_FREE)
 *
 * dirty and muzzy are subsets of free and disjoint; a free granule in neither
 * reads zero and has no memory. Runs freed last are kept aside, whole, for who asks for
 * as many granules, of the same side first; they go into the masks, where they join their
 * neighbours, before anything else looks there. One lock guards all of it; under it only
 * the page map's and the metadata's may be taken.
 */
#ifndef HAK_PAGE_PAGE_HEAP_H
#define HAK_PAGE_PAGE_HEAP_H

#include "page/page_map.h"

#define LG_CHUNK 21
#define CHUNK ((size_t)1 << LG_CHUNK)
#define CHUNK_GRANULES (CHUNK / GRANULE)

struct page_heap_stats {
	size_t mapped;   /* bytes of address space */
	size_t active;   /* bytes handed out */
	size_t dirty;
	size_t muzzy;
	size_t purged;   /* bytes ever given back */
	size_t npurges;  /* in so many goes */
};

extern struct lock page_heap_lock; /* for fork */

/* Fills base, size and chunk of extent; then its arena and class, which are the
 * caller's as its side is, go into the page map. Prefers dirty memory, so that the heap
 * stays small, and of that what the side had. *zeroed: does it read zero? False: no memory. */
bool page_heap_alloc(struct extent *extent, size_t granules, bool *zeroed);
/* Make extent longer where it is; its class may be another by then. False: what follows
 * is not free. *zeroed: does what came read zero? */
bool page_heap_grow(struct extent *extent, size_t granules, bool *zeroed);
/* Shorter; the rest is as if freed. */
void page_heap_shrink(struct extent *extent, size_t granules);
/* The granules become dirty and the page map forgets them. */
void page_heap_free(struct extent *extent);

/* Give back what has decayed. all: everything. Returns bytes given back. */
size_t page_heap_purge(bool all);

/* Unmap the chunks that nobody uses: for when address space ran out. */
void page_heap_release(void);

/* Bytes handed out, without a lock. */
size_t page_heap_active(void);

void page_heap_stats(struct page_heap_stats *stats);
/* Where they are kept, for who reads this process's memory from outside. */
extern const struct page_heap_places {
	const AO_t *mapped, *active, *purged, *npurges;
	const size_t *granules; /* dirty, muzzy */
} page_heap_places;

/* What is known of one chunk; a bit a granule, low half first. */
struct chunk_view {
	char *base;
	uint64_t free[2], dirty[2], muzzy[2];
};
/* The chunk of that index, in the order in which they were made; false: that was
 * all. Indexes shift where page_heap_release ran in between. */
bool page_heap_view(size_t index, struct chunk_view *view);

#endif
