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
 * and for what rests; all objects in it belong to arena, whose tag is in tag.
 *
 * What rests on the stacks of a thread that sleeps would hold pages for good, so the
 * background thread takes it (rest.h). The fast paths know nothing of it but their order:
 * pop moves the head before it loads the object, push stores the object before it moves
 * the head. All else that touches a stack happens between tcache_enter and tcache_leave,
 * which keep the background thread out.
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
 * own cache nothing is of a size that its stacks serve. Frees stay fast.
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
	uint8_t grow_events;  /* that asked for a larger stack, modulo GROW_EVENTS */
	uint16_t only_frees;  /* flushes in a row, no allocation seen between */
	uint16_t cut;         /* from that slot on all was taken; 0: nothing was */
	AO_t misses;          /* allocations that the stack did not serve */
	AO_t moved;           /* objects to the arena less those from it */
	size_t counted;       /* of all allocations, those that arena knows of */
	size_t event_allocs;  /* allocs at the last slow event */
	void **seen_head;     /* at the last visit of the collector, */
	size_t seen_allocs;   /* and all allocations till then */
};

/* Where a caller of malloc was led by that generation of site rules. */
struct caller {
	const void *address;  /* its return address */
	size_t generation;
	struct tcache *cache;
};
#define CALLERS 32u

struct tcache {
	/* The fast paths read the first part; what each of them reads comes first,
	 * where an instruction needs one byte to say so. */
	AO_t map_limit;       /* page_map's; 0, by any thread: settings changed */
	const uint16_t *map;  /* page_map's, next to the rest */
	size_t tag;           /* of arena, as page map entries have it */
	size_t ends[3];       /* Tiny, L2, L2.5: the stacks serve sizes below; 0: none */
	void **heads[CLASSES];
	uint8_t class_of[TINY_MAX + 1], class_of_l2[L2_MAX / L2_STEP];

	AO_t allocs[CLASSES]; /* served by the fast path: hits */
	struct cache_bin bins[CLASSES];
	struct arena *arena;
	unsigned number;      /* of all caches made; its side (page_map.h) by that */
	bool is_bound;        /* to arena: the program chose it */
	bool is_off;          /* thread.tcache.enabled is false */
	size_t class_max;     /* the largest class that is cached */
	size_t seen_layers;   /* settings.layers when last looked at */
	bool is_sited;        /* as above */
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
		/* other_allocated less other_freed then: what comes on top since. */
		size_t other;
	} bytes;
	size_t seen_in_use;   /* arenas_in_use when arena was picked */
	unsigned slow_events, looked_events; /* all; when contention was last looked at */
	size_t flushed;       /* objects */
	uint64_t judged_ms;   /* when contention was last judged, */
	size_t judged_operations;
	struct lock_waits judged_waits; /* and what was so far */
	size_t next_collected;
	size_t capacity_bytes, l25_bytes; /* that all stacks, L2.5's may hold */
	unsigned l25_stacks;  /* of L2.5 classes */
	bool ask_background;
	AO_t is_entered, is_visited; /* rest.h */
	void **rested[CLASSES]; /* heads, at the background thread's last visit */
	size_t visited_by;    /* that pass of it */
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
	/* Moved first, or what was loaded could be taken meanwhile. */
	void *object = *pointer_step(&t->heads[class]);

	if (likely(object)) {
		keep_apart(class, object);
#if HAK_STATS
		counter_bump(&t->allocs[class]);
#endif
	} else {
		keep_apart(class, object);
		pointer_advance(&t->heads[class], -1);
	}
	return object;
}

/* The same, if what is on top is so aligned: not every object of a Tiny class is, by the
 * colour of its slab. */
ALWAYS_INLINE void *tcache_pop_aligned(struct tcache *t, size_t class, size_t alignment)
{
	uintptr_t top = (uintptr_t)*t->heads[class];

	return top && !(top & (alignment - 1)) ? tcache_pop(t, class) : NULL;
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
	keep_two_uses(class);
	pointer_advance(&t->heads[class], -1);
	return true;
}

/* The calling thread's, for what goes past the arenas. */
static inline unsigned tcache_side(void)
{
	return tcache_self->number % SIDES;
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

/* What free does when the stack did not serve. class < CLASS_WHALE; entry: the object's in
 * the page map. */
void tcache_free_slow(void *object, unsigned entry);
/* The same by a cache of the caller's choice, which is the calling thread's or
 * used by no other now. */
void *tcache_alloc(struct tcache *t, size_t class, bool *zeroed);
/* The same of a Tiny class, aligned, to a power of two that its size is a multiple of. */
void *tcache_alloc_aligned(struct tcache *t, size_t class, size_t alignment, bool *zeroed);
void tcache_free_to(struct tcache *t, void *object, unsigned entry);

/* Does an object of that entry, not a Tiny one, lie on a stack of the calling thread? */
bool tcache_holds(const void *object, unsigned entry);

/* Give all that the cache holds to the arenas. */
void tcache_flush(struct tcache *t);
/* The same for the calling thread's. */
void tcache_flush_own(void);
/* The calling thread has no cache: what it found in its storage was another's. */
void tcache_forget(void);
/* Use that arena from now on, whatever others do. */
void tcache_bind(struct tcache *t, struct arena *arena);
/* Switch layers (SETTING_SITES is one) off and on in all threads. Each gives up what is
 * not cached any more at its next free, refill or flush; the calling one does at once. */
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

/* The background thread's part: take what rests on the stacks (all: what is on any that
 * is not just being used), if the caller may_fence (rest.h), and what ended threads left.
 * True: something is left. */
bool tcaches_take_resting(bool all, bool may_fence);

/* In the child of fork, after the arenas: the other threads' caches are left as
 * they are, since nobody can tell what those threads were doing; what lay in them
 * stays allocated. was_alone: there were none, and nobody held a lock. */
void tcaches_after_fork_in_child(bool was_alone);

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
