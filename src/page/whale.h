/*
 * Whales: objects over 1 MiB, a mapping each. Freed ones are cached a while, bounded in
 * bytes and time, and serve others whole, cut or (their pages) moved together. One lock
 * guards the cache and the counters; under it only the page map's and the metadata's may be
 * taken.
 */
#ifndef HAK_PAGE_WHALE_H
#define HAK_PAGE_WHALE_H

#include "base/options.h"
#include "page/page_map.h"

struct whale_stats {
	size_t live, live_bytes;
	size_t cached, cached_bytes;
	size_t hits, misses;
};

/* What an arena has of them; index 0: no arena's. */
struct whale_owner {
	size_t live, live_bytes; /* by usable size */
	size_t nmalloc;
};

extern struct lock whale_lock; /* for fork */

/* Bytes that the cache may hold: what it wants, which follows regret, but no more than
 * WHALE_SPARE and what was live at most (peak) within a decay time and is not now; nor
 * than settings.whale_max_bytes. */
#define WHALE_SPARE (16 * MiB)
static inline size_t whale_room(size_t live, size_t peak, size_t wanted)
{
	size_t room = WHALE_SPARE + peak - live;
	size_t most = flag_load(&settings.whale_max_bytes);

	room = room < wanted ? room : wanted;
	return room < most ? room : most;
}

/* size: any over 0; alignment: a power of two, GRANULE at least; arena: whose it
 * counts as, 0: nobody's; side: the caller's (struct extent). *zeroed: does it read zero?
 * NULL: no memory. */
void *whale_alloc(size_t size, size_t alignment, unsigned arena, unsigned side,
    bool *zeroed);
/* p must be what whale_alloc gave; anything else is reported and aborts. */
void whale_free(void *p, unsigned side);
/* Usable bytes; 0 where no whale starts at p. */
size_t whale_size(const void *p);
/* Grow or shrink, in place or (may_move) by moving pages; NULL: not possible
 * without copying. zero: usable bytes that are new read zero. */
void *whale_resize(void *p, size_t size, bool may_move, bool zero);

/* Let go of cached whales that have decayed; all: of all. Returns bytes. */
size_t whale_purge(bool all);

/* The page heap grew by so many bytes: what rests in the cache makes room for it. */
void whale_yield(size_t bytes);

void whale_stats(struct whale_stats *stats);
/* whale_room, now. */
size_t whale_cache_room(void);
struct whale_owner whale_owner_stats(unsigned arena);
/* Where they are kept, for who reads this process's memory from outside. */
extern const struct whale_places {
	const struct whale_stats *stats;
	const struct whale_owner *owners; /* by arena */
	const size_t *peak_bytes, *wanted_bytes; /* whale_room's */
} whale_places;
/* A live whale of that arena, or NULL. */
void *whale_any_of(unsigned arena);

#endif
