#include "arena/arena.h"

#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"

_Static_assert(CLASS_WHALE <= CLASSES, "a bin for each class of slabs");

#define ARENAS_PER_PROCESSOR 4

struct lock arenas_lock = LOCK_INITIALIZER;
AO_t arenas_in_use = 1;

static AO_t arenas[ARENAS_LIMIT + 1]; /* struct arena *, published once */
static unsigned narenas = 1;
static AO_t narenas_all = 1; /* grows under arenas_lock */

const struct arena_places arena_places = { arenas, &narenas_all };

void arenas_init(void)
{
	unsigned n = options.narenas ? options.narenas :
	    ARENAS_PER_PROCESSOR * os_processors();

	narenas = n < NARENAS_MAX ? n : NARENAS_MAX;
	flag_store(&narenas_all, narenas);
}

unsigned arenas_max(void)
{
	return (unsigned)flag_load(&narenas_all);
}

unsigned arenas_automatic(void)
{
	return narenas;
}

struct arena *arena_get(unsigned id)
{
	/* Pairs with the store in arena_make. */
	return id && id <= ARENAS_LIMIT ? pointer_load_acquire(&arenas[id]) : NULL;
}

/* Holds arenas_lock. */
static struct arena *arena_make(unsigned id)
{
	struct arena *arena = metadata_alloc(sizeof(*arena));

	if (!arena)
		return NULL;
	arena->id = id;
	arena->made_ms = os_now_ms();
	flag_store(&arena->dirty_decay_ms, ARENA_INHERITS);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		bin_init(&arena->bins[c], id, c);
	/* Pairs with the load in arena_get. */
	pointer_store_release(&arenas[id], arena);
	return arena;
}

static void copy_name(char *to, const char *from)
{
	size_t length = strnlen(from, ARENA_NAME - 1);

	memset(to, 0, ARENA_NAME);
	memcpy(to, from, length);
}

struct arena *arena_ensure(unsigned id)
{
	struct arena *arena = arena_get(id);

	if (arena || !id || id > narenas)
		return arena;
	lock_acquire(&arenas_lock);
	arena = arena_get(id);
	if (!arena)
		arena = arena_make(id);
	lock_release(&arenas_lock);
	return arena;
}

bool arena_exists(unsigned id)
{
	struct arena *arena = arena_get(id);

	return arena ? !flag_load(&arena->is_destroyed) : id >= 1 && id <= narenas;
}

/* Holds arenas_lock. */
static struct arena *find_named(const char *name)
{
	for (unsigned id = 1; id <= arenas_max(); id++) {
		struct arena *arena = arena_get(id);
		if (arena && !flag_load(&arena->is_destroyed) && strncmp(arena->name, name, ARENA_NAME - 1) == 0)
			return arena;
	}
	return NULL;
}

/* One that was destroyed, or a new one. Holds arenas_lock. */
static struct arena *take_id(void)
{
	unsigned all = arenas_max();
	struct arena *arena;

	for (unsigned id = narenas + 1; id <= all; id++)
		if ((arena = arena_get(id)) && flag_load(&arena->is_destroyed))
			return arena;
	if (all == ARENAS_LIMIT)
		return NULL;
	arena = arena_make(all + 1);
	if (arena)
		flag_store(&narenas_all, all + 1);
	return arena;
}

struct arena *arena_create(const char *name)
{
	lock_acquire(&arenas_lock);
	struct arena *arena = name ? find_named(name) : NULL;
	if (!arena && (arena = take_id())) {
		arena->is_created = true;
		arena->is_site = name != NULL;
		flag_store(&arena->is_destroyed, false);
		flag_store(&arena->dirty_decay_ms, ARENA_INHERITS);
		flag_store(&arena->soft_bytes, 0);
		copy_name(arena->name, name ? name : "");
	}
	lock_release(&arenas_lock);
	return arena;
}

void arena_set_name(struct arena *arena, const char *name)
{
	lock_acquire(&arenas_lock);
	copy_name(arena->name, name);
	lock_release(&arenas_lock);
}

void arena_get_name(struct arena *arena, char name[ARENA_NAME])
{
	lock_acquire(&arenas_lock);
	memcpy(name, arena->name, ARENA_NAME);
	lock_release(&arenas_lock);
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

/* Holds drain_lock. */
static void drain_inbox(struct arena *arena)
{
	struct parcel *next;

	for (struct parcel *p = inbox_take(&arena->inbox); p; p = next) {
		next = p->next;
		for (size_t i = 0; i < arena_parcel_objects(arena, p); i++)
			bin_flush(&arena->bins[arena_class_of(arena, p->objects[i])], 0,
			    &p->objects[i], 1);
		parcel_delete(p);
	}
}

void arena_drain_inbox(struct arena *arena)
{
	if (!lock_try(&arena->drain_lock))
		return;
	drain_inbox(arena);
	lock_release(&arena->drain_lock);
}

void arena_reset(struct arena *arena)
{
	struct chunk_view chunk;
	void *whale;

	/* To the end: what another thread took from the inbox must not come home after
	 * its slab went. */
	lock_acquire(&arena->drain_lock);
	drain_inbox(arena);
	counter_add(&arena->generation, 1);
	/* First: the background thread must not return to a slab what is in them. */
	for (size_t c = 1; c < CLASS_WHALE; c++)
		bin_reset(&arena->bins[c]);
	for (size_t i = 0; page_heap_view(i, &chunk); i++)
		for (size_t g = 0; g < CHUNK_GRANULES; g++) {
			const char *p = chunk.base + g * GRANULE;
			unsigned entry = page_map_get(p);
			size_t class = entry % CLASSES;
			if (entry >> LG_CLASSES == arena->id &&
			    class != CLASS_NONE && class < CLASS_WHALE)
				bin_reset_slab(&arena->bins[class], p);
		}
	while ((whale = whale_any_of(arena->id)))
		whale_free(whale, 0);
	lock_release(&arena->drain_lock);
}

void arena_destroy(struct arena *arena)
{
	arena_reset(arena);
	lock_acquire(&arenas_lock);
	flag_store(&arena->is_destroyed, true);
	arena->name[0] = '\0';
	lock_release(&arenas_lock);
}

static unsigned thread_hash(void)
{
	/* Thread descriptors lie a stack apart: the middle bits tell them apart. */
	return (unsigned)((uint64_t)(uintptr_t)pthread_self() *
	    0x9e3779b97f4a7c15u >> 40);
}

struct arena *arena_join(const struct arena *had)
{
	unsigned in_use = (unsigned)flag_load(&arenas_in_use);
	unsigned start = thread_hash() % in_use;
	struct arena *best = NULL;
	size_t fewest = 0;

	for (unsigned i = 0; i < in_use; i++) {
		struct arena *arena = arena_ensure(1 + (start + i) % in_use);
		size_t others = arena ? counter_get(&arena->threads) - (arena == had) : 0;
		if (arena && (!best || others < fewest || (others == fewest && arena == had))) {
			best = arena;
			fewest = others;
		}
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

bool arena_resize(void *object, size_t class, bool *zeroed)
{
	struct extent *extent = page_map_extent(object);
	struct arena *arena = extent ? arena_get(extent->arena) : NULL;
	size_t granules = size_classes[class].granules;
	uint8_t old;

	if (unlikely(!arena || extent->base != object))
		misuse_of_free(object);
	old = extent->class;
	if (unlikely(bin_holds(&arena->bins[old], object)))
		log_double_free(object);
	extent->class = (uint8_t)class;
	if (class < old) {
		page_heap_shrink(extent, granules);
	} else if (!page_heap_grow(extent, granules, zeroed)) {
		extent->class = old;
		return false;
	}
	bin_count_moved(&arena->bins[old], -1);
	bin_count_moved(&arena->bins[class], 1);
	return true;
}

static size_t live_bytes(const struct arena *arena)
{
	size_t bytes = whale_owner_stats(arena->id).live_bytes;

	for (size_t c = 1; c < CLASS_WHALE; c++)
		bytes += counter_get(&arena->bins[c].live) * size_class_size(c);
	return bytes;
}

/* Cheap where there is no limit. */
static bool is_over_limit(const struct arena *arena)
{
	size_t limit = flag_load(&arena->soft_bytes);

	return limit && live_bytes(arena) > limit;
}

ssize_t arena_decay_ms(const struct arena *arena)
{
	return setting_ms(flag_load(&arena->dirty_decay_ms) == ARENA_INHERITS ?
	    &settings.dirty_decay_ms : &arena->dirty_decay_ms);
}

bool arena_purge(struct arena *arena, uint64_t now_ms, bool all)
{
	bool left = false;
	ssize_t decay_ms = arena_decay_ms(arena);

	all |= is_over_limit(arena);
	arena_drain_inbox(arena);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		left |= bin_purge(&arena->bins[c], now_ms, decay_ms, all);
	return left;
}

static void each_bin_lock(void (*act)(struct lock *))
{
	struct arena *arena;

	for (unsigned id = 1; id <= arenas_max(); id++)
		if ((arena = arena_get(id)))
			for (size_t c = 1; c < CLASS_WHALE; c++)
				act(&arena->bins[c].lock);
}

void arenas_lock_all(void)
{
	lock_acquire(&arenas_lock);
	each_bin_lock(lock_acquire);
}

void arenas_unlock_all(void)
{
	each_bin_lock(lock_release);
	lock_release(&arenas_lock);
}

void arenas_after_fork_in_child(void)
{
	struct arena *arena;

	for (unsigned id = 1; id <= arenas_max(); id++)
		if ((arena = arena_get(id))) {
			counter_sub(&arena->threads, counter_get(&arena->threads));
			lock_init(&arena->drain_lock);
		}
	each_bin_lock(lock_init);
	lock_init(&arenas_lock);
}
