/*
 * The arenas: at most options.narenas, made when they are first used. How many
 * are in use follows contention: one at first, one more each time that a thread
 * found locks taken in too large a share of its operations (tcache/ judges).
 *
 * Lock order, for the layers from here down (fork takes them so):
 *   arenas_lock, each arena's bins in order, page_heap_lock, whale_lock,
 *   page_map_lock, metadata_lock
 */
#ifndef HAK_ARENA_ARENA_H
#define HAK_ARENA_ARENA_H

#include "arena/bin.h"
#include "arena/inbox.h"
#include "base/options.h"

struct arena {
	unsigned id;   /* 1..narenas: 0 in the page map is nobody's */
	AO_t threads;  /* that use it now */
	struct inbox inbox;
	struct bin bins[CLASSES];
};

extern struct lock arenas_lock; /* making arenas; for fork */
/* How many are in use: threads compare it with what they saw. */
extern AO_t arenas_in_use;

/* narenas, after the options are known. */
void arenas_init(void);
unsigned arenas_max(void);
/* The arena of an id, 1..arenas_max(), or NULL where none was made. */
struct arena *arena_get(unsigned id);
/* The same, made if need be. NULL: no such id, or no memory. */
struct arena *arena_ensure(unsigned id);

/* An arena for the calling thread, among those in use: the one with the fewest
 * threads, from a place that the thread's hash picks. Counts the thread. NULL: no
 * memory. */
struct arena *arena_join(void);
void arena_leave(struct arena *arena);

/* One more arena in use, if in_use is how many there are. */
void arenas_grow(size_t in_use);

/* Free one object past all caches; result and misuse as of bin_return. */
bool arena_free(unsigned id, size_t class, void *object);
/* The class of an object that a parcel brought. One that is not the arena's any
 * more was freed twice: reported, abort. */
size_t arena_class_of(const struct arena *arena, const void *object);
/* Move what lies in the inbox into the bins. */
void arena_drain_inbox(struct arena *arena);
/* bin_purge over the arena; true while something is left to age. */
bool arena_purge(struct arena *arena, uint64_t now_ms, bool all);

void arenas_lock_all(void);
void arenas_unlock_all(void);
/* In the child of fork: locks and arenas are the only thread's. */
void arenas_after_fork_in_child(void);

#endif
