/*
 * A bin: what an arena has of one class. Top to bottom:
 *
 *   depots  pointers that full thread caches gave up, as they were; a thread
 *           that misses takes them from here. No slab is touched. A thread has its
 *           side (page_map.h), and what it gave up comes back to it, not
 *           to the processor of another; from the other sides it takes where its own has
 *           none, but from one that allocates what it frees only when no slab has room.
 *   slabs   with room, in buckets by how much: the fullest serve first, so that
 *           the emptiest drain and go back to the page heap.
 *
 * The bin's lock guards all of it. Under it the page heap's lock may be taken.
 */
#ifndef HAK_ARENA_BIN_H
#define HAK_ARENA_BIN_H

#include <sys/types.h>

#include "arena/slab.h"
#include "base/lock.h"

/* count pointers at objects, with room for more. idle is the lowest count since the last
 * pass of the background thread. */
struct depot {
	unsigned count, room, idle;
	unsigned flushed_by; /* that cache was the last */
	unsigned own_use;    /* 0: who flushes here does not take from here, or is not alone */
	void **objects;
};

struct bin {
	struct lock lock;
	uint16_t arena;
	uint8_t class;
	struct depot depots[SIDES];
	struct link buckets[SLAB_SIDES][SLAB_BUCKETS]; /* 0: fewest free slots */
	struct link aligned;               /* slabs with room of ALIGNED_SIDE */
	struct link empty;                 /* slabs with no live slot */
	unsigned empties_max;              /* how many of these are kept */
	unsigned released;                 /* empty slabs that were not, lately */
	uint32_t released_ms;              /* when the last of those went */
	struct link to_purge;              /* slabs with free pages, oldest first */
	/* Counted in objects and slabs; for readers without the lock. */
	AO_t live;      /* not free in a slab: with the program, a cache, a depot */
	AO_t slabs, empties;
	AO_t slabs_made;
	AO_t purged_bytes; /* of slabs' pages that have no memory */
	AO_t refills, flushes;
	AO_t allocs;       /* ever, but for what the threads there are counted */
	size_t freed_bytes; /* flushed since the background thread was asked for */
};

void bin_init(struct bin *bin, unsigned arena, size_t class);

/* Objects for a thread's cache of that number: from a depot, else from slabs. Returns how many of
 * n; 0: no memory. *zeroed (may be NULL): do they read zero? */
unsigned bin_refill(struct bin *bin, unsigned cache, void **objects, unsigned n, bool *zeroed);
/* For a thread's first objects of a class smaller than a cache line: whole lines,
 * of which no other thread has part. 0: none at hand. n: as of slab_take_lines. */
unsigned bin_refill_lines(struct bin *bin, unsigned cache, void **objects, unsigned n);
/* An object aligned as the class's size is, also where slabs have colours. False: no
 * memory. cache: as for all of these, the number of the caller's. */
bool bin_refill_aligned(struct bin *bin, unsigned cache, void **object, bool *zeroed);
/* Objects of this bin back from a thread: to its depot while that has room, else
 * to their slabs. Reports misuse and aborts. True: enough became free to call
 * background_ask(), which may allocate, so it is for the caller to do last. */
bool bin_flush(struct bin *bin, unsigned cache, void **objects, unsigned n);
/* Is more than half of what the slabs hold free, and much? What rests in stacks and depots
 * then keeps slabs that would else be empty. By a look without the lock. */
bool bin_is_draining(const struct bin *bin);
/* Is much free in slabs that are in part used, for what lives? The same way. */
bool bin_is_sparse(const struct bin *bin);
/* The thread with the cache of that number had no use for the class for a while: what lay
 * idle in its depot since the last call or bin_purge goes to its slabs. */
void bin_rest(struct bin *bin, unsigned cache);
/* As bin_flush, past the depots. */
bool bin_return(struct bin *bin, void **objects, unsigned n);
/* The same, and all that lies in the depot of that cache: the next refills are of the fullest
 * slabs, and the emptiest may drain. */
bool bin_return_all(struct bin *bin, unsigned cache, void **objects, unsigned n);

/* Objects allocated by a thread that ends, or past all caches. */
void bin_count_allocs(struct bin *bin, size_t n);
/* So many objects of a class of one slot a slab, which were another bin's till now, or are
 * from now on (below 0). */
void bin_count_moved(struct bin *bin, int n);
/* Does the object lie in a depot? For classes of which these hold few. */
bool bin_holds(struct bin *bin, const void *object);
/* For arena_reset, while nobody uses the bin's objects: free all of the slab or
 * extent that starts at base; forget what lies in the depots. */
void bin_reset_slab(struct bin *bin, const void *base);
void bin_reset(struct bin *bin);

/* One pass of ageing, by that decay time: what lay idle in the depots goes to its slabs,
 * empty slabs to the page heap, the pages of slabs that no slot came back to for a while to
 * the system. all: without waiting. Returns true while something is left to age. */
bool bin_purge(struct bin *bin, uint64_t now_ms, ssize_t decay_ms, bool all);

/* Bytes free in slabs, by a look without the lock. */
size_t bin_free_bytes(const struct bin *bin);
/* Objects in the depots, the same way. */
static inline size_t bin_depot_objects(const struct bin *bin)
{
	size_t n = 0;

	for (unsigned i = 0; i < SIDES; i++)
		n += AO_int_load((const volatile unsigned *)&bin->depots[i].count);
	return n;
}

#endif
