/*
 * The arenas: options.narenas that threads are spread over, made when they are
 * first used, and those that the program makes (arena_create). How many of the
 * first are in use follows contention: one at first, one more each time that a thread
 * found locks taken in too large a share of its operations (tcache/ judges).
 *
 * Lock order, for the layers from here down (fork takes them so):
 *   arenas_lock, a drain_lock, each arena's bins in order, page_heap_lock, whale_lock,
 *   page_map_lock, metadata_lock
 */
#ifndef HAK_ARENA_ARENA_H
#define HAK_ARENA_ARENA_H

#include "arena/bin.h"
#include "arena/inbox.h"
#include "base/options.h"

#define ARENA_NAME 32
#define ARENA_INHERITS ((size_t)-2)

struct arena {
	unsigned id;   /* 1..narenas: 0 in the page map is nobody's */
	AO_t threads;  /* that use it now */
	AO_t dirty_decay_ms; /* ssize_t; ARENA_INHERITS: as settings say */
	AO_t soft_bytes;     /* live bytes above which it is purged; 0: no limit */
	AO_t rules;          /* site rules that lead here */
	AO_t is_destroyed;   /* and may be created again; written under arenas_lock */
	uint64_t made_ms;
	/* Under arenas_lock. */
	bool is_created;     /* by arena_create */
	bool is_site;        /* by a name: may be asked for again at any time */
	char name[ARENA_NAME];
	AO_t generation; /* how often it was reset: what was freed before is not there */
	struct inbox inbox;
	struct lock drain_lock; /* of who moves the inbox into the bins */
	struct bin bins[CLASSES];
};

extern struct lock arenas_lock; /* making arenas; for fork */
/* How many are in use: threads compare it with what they saw. */
extern AO_t arenas_in_use;

/* Where they are, for who reads this process's memory from outside. */
extern const struct arena_places {
	const AO_t *arenas;   /* struct arena *, by id */
	const AO_t *narenas;  /* arenas_max() */
} arena_places;

/* narenas, after the options are known. */
void arenas_init(void);
unsigned arenas_max(void);
/* Of those, how many threads may be spread over. */
unsigned arenas_automatic(void);
/* The arena of an id, 1..arenas_max(), or NULL where none was made. */
struct arena *arena_get(unsigned id);
/* The same, made if need be. NULL: no such id, or no memory. */
struct arena *arena_ensure(unsigned id);
/* Is there, or can be made, an arena of that id for a program to use? */
bool arena_exists(unsigned id);

/* One more, that no thread joins by itself; or the one of that name, if name is
 * not NULL. NULL: no memory, or ARENAS_LIMIT are there. */
struct arena *arena_create(const char *name);
void arena_set_name(struct arena *arena, const char *name);
void arena_get_name(struct arena *arena, char name[ARENA_NAME]);
/* Free all its objects. No thread may use the arena or its objects; what was freed
 * before may still be on its way home. */
void arena_reset(struct arena *arena);
/* Reset, and let arena_create have it again. Only what it made. */
void arena_destroy(struct arena *arena);

/* An arena for the calling thread, among those in use: the one with the fewest
 * others; of such, that which it had (NULL: none), or the first from a place that the
 * thread's hash picks. Counts the thread, which is to leave what it had. NULL: no memory. */
struct arena *arena_join(const struct arena *had);
/* Of its objects the thread's cache has none any more. */
void arena_leave(struct arena *arena);

/* One more arena in use, if in_use is how many there are. */
void arenas_grow(size_t in_use);

/* Free one object past all caches; result and misuse as of bin_return. */
bool arena_free(unsigned id, size_t class, void *object);
/* Make an L2.5 object, which is the caller's, one of another L2.5 class, where it is.
 * False: there is no room, nothing changed. *zeroed as of page_heap_grow. */
bool arena_resize(void *object, size_t class, bool *zeroed);
/* The class of an object that a parcel brought. One that is not the arena's any
 * more was freed twice: reported, abort. */
size_t arena_class_of(const struct arena *arena, const void *object);
/* How many objects of a parcel are the arena's: all, or none since it was reset. */
static inline size_t arena_parcel_objects(const struct arena *arena,
    const struct parcel *parcel)
{
	return parcel->generation == flag_load(&arena->generation) ? parcel->count : 0;
}
/* Move what lies in the inbox into the bins, unless another thread does. */
void arena_drain_inbox(struct arena *arena);
/* bin_purge over the arena; true while something is left to age. */
bool arena_purge(struct arena *arena, uint64_t now_ms, bool all);
/* Its own decay time, or that of all. */
ssize_t arena_decay_ms(const struct arena *arena);

void arenas_lock_all(void);
void arenas_unlock_all(void);
/* In the child of fork: locks and arenas are the only thread's. */
void arenas_after_fork_in_child(void);

#endif
