/*
 * A look at a cache from any thread, or at a copy of one: it follows no pointer that
 * it finds there.
 */
#ifndef HAK_TCACHE_VIEW_H
#define HAK_TCACHE_VIEW_H

#include "tcache/tcache.h"

/* Readers of other threads' caches: what they see may be a moment old or half
 * changed, is bounded before it is used, and lies in metadata, which stays
 * mapped. */
#define RACY_READER __attribute__((no_sanitize("thread")))

struct tcache_view {
	unsigned arena_id;
	bool is_thread, is_site;   /* a thread's own; another of it */
	long tid;                  /* 0: not known */
	size_t objects[CLASSES];  /* in the stacks */
	size_t allocs[CLASSES];   /* that arena's bins do not know of */
	size_t capacity[LAYERS], capacity_bytes, hits[LAYERS], misses[LAYERS];
	uint64_t allocated, freed; /* bytes, by its thread */
	/* Objects of other arenas on their way: page-map entry of each. */
	size_t remote;
	uint16_t entries[OPEN_PARCELS * PARCEL_OBJECTS];
};

/* Objects in a stack. One that is being replaced right now counts as empty. */
size_t tcache_count_racy(const struct tcache *t, size_t class);
/* All of a view but what is remote. first_tid: the first thread's. */
void tcache_look(const struct tcache *t, long first_tid, struct tcache_view *view);
/* Bytes that passed through the cache ever, by its thread's calls. Frees are not
 * counted one by one: what was pushed is what is there, was taken or moved on. */
void tcache_sum_bytes(const struct tcache *t, uint64_t *allocated, uint64_t *freed);

#endif
