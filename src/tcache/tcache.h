/*
 * Per-thread caches. For each class a stack of pointers:
 *
 *     slots[0]   slots[1] ...            head ...             slots[capacity + 1]
 *     FULL       (room for frees)        the objects          NULL        NULL
 *                <-- free pushes here    --> malloc pops
 *
 * The marks bound the stack, so that head is all that the fast paths need:
 * *head == NULL is empty, head[-1] == FULL is full. The second NULL is there because
 * free looks at the two objects on top, also where there are none. A class without a stack (its
 * layer is off, or it was never used) points at a stack without room, which is
 * empty and full at once; so does everything in tcache_none, which a thread has
 * before its first slow path and after its end.
 *
 * Invariants: only its thread touches a tcache, but for counters read by stats
 * and for what lies aside; all objects in it belong to arena, whose tag is in
 * tag.
 *
 * A thread that only frees needs no stack, and what rests there when it falls
 * asleep would hold pages for good. Its stacks are laid aside instead: as they are,
 * but the head has no room, so that the fast paths leave the slots alone. The
 * background thread takes what lies aside untouched, under aside_lock; the thread
 * adds to it without: it alone stores aside_to, and stores aside_from or makes the
 * slots anew only under the lock. The next allocation of a class makes a stack of it
 * again.
 *
 * A thread has one cache for its own arena and one more for each site's arena
 * that it allocates from (tcache_for); the program may make more
 * (tcache_create_explicit), which are used by one thread at a time.
 *
 * What a thread's cache serves does not meet the slow path, where changed settings are
 * seen; so who changes them (tcaches_set_layers) stores 0 to map_limit of each cache,
 * and the thread's next free takes the slow path, which sees them and puts the limit
 * back.
 *
 * While there are site rules every allocation must ask who calls, and no
 * instruction of the fast path may be spent on that question. So in a thread's
 * own cache class_of leads to class 0, which is always empty, and what is larger
 * than class_of tells has no stack there but in another cache, large. Frees stay
 * fast.
 */
#ifndef HAK_TCACHE_TCACHE_H
#define HAK_TCACHE_TCACHE_H

#include "arena/arena.h"

#define TCACHE_FULL ((void *)1)
#define TCACHE_MARKS 3u
/* Open parcels of a thread, by arena. */
#define OPEN_PARCELS 8u

enum slow_event { EVENT_NONE, EVENT_REFILL, EVENT_FLUSH };

struct cache_bin {
	void **slots;         /* NULL: no stack yet */
	uint16_t capacity;    /* objects; slots has TCACHE_MARKS more */
	uint8_t last_event;
	uint32_t freed;       /* objects flushed with no allocation between */
	bool is_aside;        /* changed under aside_lock */
	uint16_t aside_seen;  /* aside_to at the background thread's last visit */
	unsigned aside_from;  /* objects lie in slots[aside_to .. aside_from - 1] */
	unsigned aside_to;
	size_t aside_allocs;  /* allocs when stacks were last laid aside */
	AO_t misses;          /* allocations that the stack did not serve */
	AO_t moved;           /* objects to the arena less those from it */
	size_t counted;       /* of all allocations, those that arena knows of */
	size_t event_allocs;  /* allocs at the last slow event */
	void **seen_head;     /* at the last visit of the collector */
};

/* Where a caller of malloc was led by that generation of site rules: to the caches
 * for what is small and for what is large. */
struct caller {
	const void *address;  /* its return address */
	size_t generation;
	struct tcache *small, *large;
};
#define CALLERS 32u

struct tcache {
	/* The fast paths read the first part; what each of them reads comes first,
	 * where an instruction needs one byte to say so. */
	AO_t map_limit;       /* page_map's; 0, by any thread: settings changed */
	const uint16_t *map;  /* page_map's, next to the rest */
	size_t tag;           /* of arena, as page map entries have it */
	void **heads[CLASSES];
	uint8_t class_of[TINY_MAX + 1], class_of_l2[L2_MAX / L2_STEP];

	AO_t allocs[CLASSES]; /* served by the fast path: hits */
	struct cache_bin bins[CLASSES];
	struct arena *arena;
	bool is_bound;        /* to arena: the program chose it */
	bool is_off;          /* thread.tcache.enabled is false */
	size_t class_max;     /* the largest class that is cached */
	size_t seen_layers;   /* settings.layers when last looked at */
	bool is_sited;        /* as above */
	struct tcache *large; /* for L2 and L2.5, where is_sited; among sites */
	struct tcache *sites; /* of the same thread, for sites' arenas, by next_site */
	struct tcache *next_site;
	struct caller callers[CALLERS]; /* by address */
	bool is_explicit, is_site; /* no thread's; not its first */
	long tid;             /* 0: the first thread's, whose start is to be cheap */
	/* Of whales and what went past the stacks: bytes. */
	AO_t other_allocated, other_freed;
	/* Brought up to date by tcache_count; bases: what the thread found. */
	struct thread_bytes {
		uint64_t allocated, freed, peak;
		uint64_t allocated_base, freed_base, peak_base;
	} bytes;
	size_t seen_in_use;   /* arenas_in_use when arena was picked */
	unsigned slow_events;
	size_t laid_aside;    /* objects that went on from there */
	size_t judged_operations, judged_waits; /* when contention was last judged */
	size_t next_collected;
	size_t capacity_bytes, l25_bytes; /* that all stacks, L2.5's may hold */
	bool ask_background;
	struct lock aside_lock; /* before a bin's in the order */
	struct parcel *parcels[OPEN_PARCELS];
	struct link link;     /* among all tcaches */
	struct link parked;   /* its thread ended: among those to take over */
	bool is_parked;
	bool parked_touched;  /* since the background thread looked */
};

/* What a thread without a tcache has; also the value to compare with. */
extern const struct tcache tcache_none;
extern __thread struct tcache *tcache_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
extern struct lock tcaches_lock; /* for its counters */

/* An object of the class, or NULL: none here. */
ALWAYS_INLINE void *tcache_pop(struct tcache *t, size_t class)
{
	void *object = *t->heads[class];

	if (likely(object)) {
		pointer_advance(&t->heads[class], 1);
		keep_apart(class, object);
#if HAK_STATS
		counter_bump(&t->allocs[class]);
#endif
	}
	return object;
}

/* Freed twice, in a row or with one other object in between: the order in which a list
 * through the objects would be led in a circle. */
ALWAYS_INLINE bool tcache_is_on_top(void *const *head, const void *object)
{
	return head[0] == object || head[1] == object;
}

/* False: not for this stack; the slow path finds out why. */
ALWAYS_INLINE bool tcache_push(struct tcache *t, size_t class, void *object)
{
	void **head = t->heads[class];

	if (unlikely(tcache_is_on_top(head, object) || head[-1] == TCACHE_FULL))
		return false;
	head[-1] = object;
	/* Whoever gets it next will want its first line, and it may be long out of the
	 * processor's caches: one that links free objects brings it here by that. */
	__builtin_prefetch(object, 1);
	pointer_advance(&t->heads[class], -1);
	return true;
}

/* Where a caller is remembered, if it is. */
ALWAYS_INLINE struct caller *tcache_caller(struct tcache *t, const void *address)
{
	uintptr_t n = (uintptr_t)address;

	return &t->callers[(n >> 3 ^ n >> 9) % CALLERS];
}

/* Once, after the options are known. disabled: no thread gets a cache. */
void tcache_init(bool disabled);
/* The calling thread's, made if need be; NULL: it can have none. */
struct tcache *tcache_get(void);
/* The calling thread's for that arena, made if need be; NULL: none. */
struct tcache *tcache_for(struct arena *arena);

/* What free does when the stack did not serve. class < CLASS_WHALE; entry: the object's in the page map. */
void tcache_free_slow(void *object, unsigned entry);
/* The first thing to ask for an object of t's arena that its stack refused: is it a
 * class whose objects are laid aside? Then do so. */
ALWAYS_INLINE bool tcache_is_aside(const struct tcache *t, size_t class)
{
	return t->bins[class].is_aside;
}
void tcache_lay_aside(struct tcache *t, size_t class, void *object);
/* The same by a cache of the caller's choice, which is the calling thread's or
 * used by no other now. */
void *tcache_alloc(struct tcache *t, size_t class, bool *zeroed);
void tcache_free_to(struct tcache *t, void *object, unsigned entry);

/* Give all that the cache holds to the arenas. */
void tcache_flush(struct tcache *t);
/* The same for the calling thread's. */
void tcache_flush_own(void);
/* The calling thread has no cache: what it found in its storage was another's. */
void tcache_forget(void);
/* Use that arena from now on, whatever others do. */
void tcache_bind(struct tcache *t, struct arena *arena);
/* Switch layers (SETTING_SITES is one) off and on in all threads. Each gives up what is
 * not cached any more at its next free, refill or flush. */
void tcaches_set_layers(size_t off, size_t on);
/* Cache nothing, or up to that size. */
void tcache_enable(struct tcache *t, bool on);
void tcache_set_max(struct tcache *t, size_t size);

/* A cache that belongs to no thread. NULL: no memory. */
struct tcache *tcache_create_explicit(void);
void tcache_destroy_explicit(struct tcache *t);

/* Bytes that went past the stacks of the calling thread. */
void tcache_count_allocated(size_t bytes);
void tcache_count_freed(size_t bytes);
/* Bring t->bytes up to date. */
void tcache_count(struct tcache *t);

/* In the child of fork, after the arenas: the other threads' caches are left as
 * they are, since nobody can tell what those threads were doing; what lay in them
 * stays allocated. */
void tcaches_after_fork_in_child(void);
/* For fork: what comes before arenas_lock in the order. */
void tcaches_lock_all(void);
void tcaches_unlock_all(void);

/* visit is called with tcaches_lock held. hits, misses: of caches that are gone. */
struct tcache_view;
void tcaches_visit(void (*visit)(const struct tcache_view *view, void *context),
    void *context, size_t hits[LAYERS], size_t misses[LAYERS]);
/* Where they are, for who reads this process's memory from outside: all tcaches, by
 * link, and the hits and misses of those that are gone. */
extern const struct tcache_places {
	const struct link *tcaches;
	const size_t *ended_hits, *ended_misses;
} tcache_places;

#endif
