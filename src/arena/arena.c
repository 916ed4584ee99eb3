#include "arena/arena.h"

#include <pthread.h>

#include "page/metadata.h"
#include "page/os.h"

_Static_assert(CLASS_WHALE <= CLASSES, "a bin for each class of slabs");

#define ARENAS_PER_PROCESSOR 4

struct lock arenas_lock = LOCK_INITIALIZER;
AO_t arenas_in_use = 1;

static AO_t arenas[NARENAS_MAX + 1]; /* struct arena *, published once */
static unsigned narenas = 1;

void arenas_init(void)
{
	unsigned n = options.narenas ? options.narenas :
	    ARENAS_PER_PROCESSOR * os_processors();

	narenas = n < NARENAS_MAX ? n : NARENAS_MAX;
}

unsigned arenas_max(void)
{
	return narenas;
}

struct arena *arena_get(unsigned id)
{
	/* Pairs with the store in arena_ensure. */
	return id && id <= narenas ? pointer_load_acquire(&arenas[id]) : NULL;
}

struct arena *arena_ensure(unsigned id)
{
	struct arena *arena = arena_get(id);

	if (arena || !id || id > narenas)
		return arena;
	lock_acquire(&arenas_lock);
	arena = arena_get(id);
	if (!arena && (arena = metadata_alloc(sizeof(*arena)))) {
		arena->id = id;
		for (size_t c = 1; c < CLASS_WHALE; c++)
			bin_init(&arena->bins[c], id, c);
		/* Pairs with the load in arena_get. */
		pointer_store_release(&arenas[id], arena);
	}
	lock_release(&arenas_lock);
	return arena;
}

static unsigned thread_hash(void)
{
	/* Thread descriptors lie a stack apart: the middle bits tell them apart. */
	return (unsigned)((uint64_t)(uintptr_t)pthread_self() *
	    0x9e3779b97f4a7c15u >> 40);
}

struct arena *arena_join(void)
{
	unsigned in_use = (unsigned)flag_load(&arenas_in_use);
	unsigned start = thread_hash() % in_use;
	struct arena *best = NULL;

	for (unsigned i = 0; i < in_use; i++) {
		struct arena *arena = arena_ensure(1 + (start + i) % in_use);
		if (arena && (!best ||
		    counter_get(&arena->threads) < counter_get(&best->threads)))
			best = arena;
	}
	if (best)
		counter_add(&best->threads, 1);
	return best;
}

void arena_leave(struct arena *arena)
{
	counter_sub(&arena->threads, 1);
}

void arenas_grow(size_t in_use)
{
	if (in_use < narenas)
		AO_compare_and_swap(&arenas_in_use, in_use, in_use + 1);
}

bool arena_free(unsigned id, size_t class, void *object)
{
	struct arena *arena = arena_get(id);

	if (unlikely(!arena))
		misuse_of_free(object);
	return bin_return(&arena->bins[class], &object, 1);
}

size_t arena_class_of(const struct arena *arena, const void *object)
{
	unsigned entry = page_map_get(object);
	size_t class = entry % CLASSES;

	if (unlikely(entry >> LG_CLASSES != arena->id || class == CLASS_NONE ||
	    class >= CLASS_WHALE))
		misuse_of_free(object);
	return class;
}

void arena_drain_inbox(struct arena *arena)
{
	struct parcel *next;

	for (struct parcel *p = inbox_take(&arena->inbox); p; p = next) {
		next = p->next;
		for (size_t i = 0; i < p->count; i++)
			bin_flush(&arena->bins[arena_class_of(arena, p->objects[i])],
			    &p->objects[i], 1);
		parcel_delete(p);
	}
}

bool arena_purge(struct arena *arena, uint64_t now_ms, bool all)
{
	bool left = false;

	arena_drain_inbox(arena);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		left |= bin_purge(&arena->bins[c], now_ms, all);
	return left;
}

static void each_bin_lock(void (*act)(struct lock *))
{
	struct arena *arena;

	for (unsigned id = 1; id <= narenas; id++)
		if ((arena = arena_get(id)))
			for (size_t c = 1; c < CLASS_WHALE; c++)
				act(&arena->bins[c].lock);
}

static void acquire(struct lock *lock)
{
	lock_acquire(lock);
}

static void release(struct lock *lock)
{
	lock_release(lock);
}

void arenas_lock_all(void)
{
	lock_acquire(&arenas_lock);
	each_bin_lock(acquire);
}

void arenas_unlock_all(void)
{
	each_bin_lock(release);
	lock_release(&arenas_lock);
}

void arenas_after_fork_in_child(void)
{
	struct arena *arena;

	for (unsigned id = 1; id <= narenas; id++)
		if ((arena = arena_get(id)))
			counter_sub(&arena->threads, counter_get(&arena->threads));
	each_bin_lock(lock_init);
	lock_init(&arenas_lock);
}
