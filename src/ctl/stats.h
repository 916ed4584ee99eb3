/* Statistics: what the layers count, added up. */
#ifndef HAK_CTL_STATS_H
#define HAK_CTL_STATS_H

#include "arena/arena.h"
#include "page/page_heap.h"
#include "page/whale.h"
#include "tcache/tcache.h"

struct stats {
	size_t allocated;  /* bytes in live objects, by usable size */
	size_t active;     /* bytes of slabs, extents and whales in use */
	size_t metadata;
	size_t mapped;     /* address space for objects, cached whales too */
	size_t depot_bytes, remote_bytes;
	size_t arenas, arenas_in_use;
	size_t slabs, live[CLASSES];
	size_t remote_frees;
	size_t locks_acquired, locks_contended;
	struct page_heap_stats heap;
	struct whale_stats whales;
	struct tcache_stats tcaches;
};

/* A look at everything; exact while no other thread allocates. */
void stats_collect(struct stats *stats);
/* As hak_malloc_stats_print. Allocates nothing. */
void stats_print(void (*write_cb)(void *, const char *), void *opaque);

#endif
