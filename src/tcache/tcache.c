#include "tcache/tcache.h"

#include <pthread.h>
#include <string.h>

#include "arena/background.h"
#include "base/log.h"
#include "page/metadata.h"

/* A stack starts at START objects and doubles, while its thread comes here more
 * often than once in RARE_ALLOCS, to what BASE_* allow, and where refills and
 * flushes alternate (so that a larger one would have saved them) to what
 * GROWN_* allow. */
#define START 6u
#define RARE_ALLOCS 1024u
#define BASE_OBJECTS 254u
#define BASE_BYTES (32 * KiB)
#define GROWN_OBJECTS 1022u
#define GROWN_BYTES (256 * KiB)
#define L25_BYTES (1 * MiB)
/* Growth beyond BASE_* ends at this much capacity, of a thread and of all. */
#define THREAD_BYTES (2 * MiB)
#define PROCESS_BYTES (64 * MiB)

/* So many flushes of a bin with no allocation in between say that its thread only
 * frees: what rests on the stack then is of no use and holds pages. */
#define FREEING_FLUSHES 4u
/* What a thread's L2.5 stacks may hold in all. */
#define THREAD_L25_BYTES (2 * MiB)

/* Slow events between two looks at one bin and at the arena's locks. */
#define COLLECT_EVENTS 64u
#define JUDGE_EVENTS 128u

static void *const no_room[] = { TCACHE_FULL, NULL };
#define NO_ROOM ((void **)&no_room[1])

const struct tcache tcache_none = {
	.heads = { [0 ... CLASSES - 1] = NO_ROOM },
	.tag = ~(size_t)0, /* nobody's: every free takes the slow path */
};
__thread struct tcache *tcache_self = (struct tcache *)&tcache_none;

struct lock tcaches_lock = LOCK_INITIALIZER;
/* Guarded by tcaches_lock: all tcaches, and the counts of those that ended. */
static struct link tcaches = { &tcaches, &tcaches };
static size_t ended_hits[LAYERS], ended_misses[LAYERS];

static __thread bool thread_ended;
static bool no_caches = true;
static pthread_key_t exit_key;
static AO_t process_capacity;

static bool layer_is_on(enum layer layer)
{
	return layer == LAYER_TINY ? HAK_TLS_TINY && options.tls_tiny :
	    layer == LAYER_L2 ? HAK_TLS_L2 && options.tls_l2 :
	    layer == LAYER_L25 && HAK_TLS_L25 && options.tls_l25;
}

static unsigned clamp(size_t n, unsigned low, unsigned high)
{
	return n < low ? low : n > high ? high : (unsigned)n;
}

static unsigned base_capacity(size_t class)
{
	size_t size = size_class_size(class);

	if (class >= CLASS_L25)
		return size <= L25_BYTES / 8 ? 2 : 1;
	return clamp(BASE_BYTES / size, 2, BASE_OBJECTS);
}

static unsigned grown_capacity(size_t class)
{
	size_t size = size_class_size(class);

	return class >= CLASS_L25 ? clamp(L25_BYTES / size, 1, BASE_OBJECTS) :
	    clamp(GROWN_BYTES / size, 2, GROWN_OBJECTS);
}

static size_t count(const struct tcache *t, size_t class)
{
	const struct cache_bin *b = &t->bins[class];

	return b->slots ? (size_t)(&b->slots[b->capacity + 1] - t->heads[class]) : 0;
}

static void ask_if_due(struct tcache *t)
{
	if (unlikely(t->ask_background)) {
		t->ask_background = false;
		background_ask();
	}
}

/* Give the n oldest objects of a stack to the arena. */
static void flush_oldest(struct tcache *t, size_t class, size_t n)
{
	struct cache_bin *b = &t->bins[class];
	void **head = t->heads[class], **bottom = &b->slots[b->capacity + 1];
	size_t kept = (size_t)(bottom - head) - n;

	if (n == 0)
		return;
	t->ask_background |= bin_flush(&t->arena->bins[class], bottom - n, (unsigned)n);
	memmove(bottom - kept, head, kept * sizeof(*head));
	t->heads[class] = bottom - kept;
}

static void flush_all(struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++)
		flush_oldest(t, c, count(t, c));
}

/* Give a bin a stack of that capacity and move its objects there. */
static bool resize(struct tcache *t, size_t class, unsigned capacity)
{
	struct cache_bin *b = &t->bins[class];
	size_t held = count(t, class);
	void **slots = metadata_alloc((capacity + 2) * sizeof(*slots));

	if (!slots)
		return false;
	hak_assert(held <= capacity);
	void **head = &slots[capacity + 1 - held];
	memcpy(head, t->heads[class], held * sizeof(*slots));
	slots[0] = TCACHE_FULL;
	size_t added = ((size_t)capacity - b->capacity) * size_class_size(class);
	t->capacity_bytes += added;
	if (class >= CLASS_L25)
		t->l25_bytes += added;
	counter_add(&process_capacity, added);
	t->heads[class] = head;
	if (b->slots)
		metadata_free(b->slots, (b->capacity + 2u) * sizeof(*slots));
	b->slots = slots;
	b->capacity = (uint16_t)capacity;
	return true;
}

/* Allocations that the stack served; 0 where they are not counted. */
static size_t allocs_seen(const struct tcache *t, size_t class)
{
	return HAK_STATS ? counter_get(&t->allocs[class]) : 0;
}

/* How many objects the stack may be made for after the event. */
static unsigned most_capacity(const struct tcache *t, size_t class,
    enum slow_event event)
{
	const struct cache_bin *b = &t->bins[class];
	bool alternates = b->last_event != EVENT_NONE && b->last_event != event;
	size_t size = size_class_size(class);

	if (class >= CLASS_L25 && t->l25_bytes + size > THREAD_L25_BYTES)
		return b->capacity;
	return alternates && t->capacity_bytes < THREAD_BYTES &&
	    counter_get(&process_capacity) < PROCESS_BYTES ?
	    grown_capacity(class) : base_capacity(class);
}

/* A thread that only frees: halve what may rest here, an L2.5 stack to nothing. */
static void shrink(struct tcache *t, size_t class)
{
	unsigned least = class >= CLASS_L25 ? 0 : class >= CLASS_L2 ? 1 : START;
	unsigned capacity = t->bins[class].capacity / 2;
	size_t held = count(t, class);

	if (capacity < least)
		capacity = least;
	if (capacity >= t->bins[class].capacity)
		return;
	flush_oldest(t, class, held - (held < capacity ? held : capacity));
	resize(t, class, capacity);
}

/* Take a refill or flush as what it says about the capacity. */
static void adapt(struct tcache *t, size_t class, enum slow_event event)
{
	struct cache_bin *b = &t->bins[class];
	size_t allocs = allocs_seen(t, class);
	bool rare = b->last_event != EVENT_NONE &&
	    allocs - b->event_allocs >= RARE_ALLOCS;
	bool freeing = event == EVENT_FLUSH && b->last_event != EVENT_REFILL &&
	    allocs == b->event_allocs;
	unsigned most = most_capacity(t, class, event);

	b->freeing = (uint8_t)(freeing ? b->freeing + (b->freeing < FREEING_FLUSHES) : 0);
	b->last_event = (uint8_t)event;
	b->event_allocs = allocs;
	if (b->freeing == FREEING_FLUSHES)
		shrink(t, class);
	else if (freeing && class >= CLASS_L25)
		return;
	else if (!b->slots)
		resize(t, class, most < START ? most : START);
	else if (!rare && b->capacity < most)
		resize(t, class, clamp(2u * b->capacity + 2, 1, most));
}

/* A bin whose stack did not move since the last visit is idle: empty it. */
static void collect_step(struct tcache *t)
{
	size_t class = t->next_collected;
	struct cache_bin *b = &t->bins[class];

	t->next_collected = class + 1 < CLASS_WHALE ? class + 1 : 1;
	if (b->slots && b->seen_head == t->heads[class]) {
		flush_oldest(t, class, count(t, class));
		if (class >= CLASS_L25)
			shrink(t, class);
	}
	b->seen_head = t->heads[class];
}

/* Put an object of the thread's own arena on its stack, making room. */
static void push_slow(struct tcache *t, size_t class, void *object)
{
	struct cache_bin *b = &t->bins[class];

	if (tcache_push(t, class, object))
		return;
	if (unlikely(*t->heads[class] == object))
		log_fatal("free(%p): double free", object);
	if (layer_is_on(size_class_layer(class))) {
		adapt(t, class, EVENT_FLUSH);
		if (b->slots && t->heads[class][-1] == TCACHE_FULL)
			flush_oldest(t, class, (count(t, class) + 1) / 2);
		if (tcache_push(t, class, object))
			return;
	}
	t->ask_background |= bin_return(&t->arena->bins[class], &object, 1);
}

/* Objects that others freed: onto the stacks. */
static void open_inbox(struct tcache *t)
{
	struct parcel *next;

	for (struct parcel *p = inbox_take(&t->arena->inbox); p; p = next) {
		next = p->next;
		for (size_t i = 0; i < p->count; i++)
			push_slow(t, page_map_get(p->objects[i]) % CLASSES, p->objects[i]);
		parcel_delete(p);
	}
}

static void use_arena(struct tcache *t, struct arena *arena)
{
	t->arena = arena;
	t->tag = page_map_entry(arena->id, 0);
}

/* More arenas are in use than when this thread picked: pick again. */
static void rejoin(struct tcache *t)
{
	struct arena *old = t->arena;

	t->seen_in_use = flag_load(&arenas_in_use);
	arena_leave(old);
	struct arena *arena = arena_join();
	if (arena != old) {
		flush_all(t);
		use_arena(t, arena ? arena : old);
	}
}

static void slow_event(struct tcache *t)
{
	t->slow_events++;
	if (unlikely(t->slow_events % JUDGE_EVENTS == 0))
		arena_judge(t->arena);
	if (unlikely(flag_load(&arenas_in_use) != t->seen_in_use))
		rejoin(t);
	if (t->slow_events % COLLECT_EVENTS == 0)
		collect_step(t);
	if (unlikely(!inbox_is_empty(&t->arena->inbox)))
		open_inbox(t);
}

/* An object and, on the stack, half a capacity more. */
static void *refill(struct tcache *t, size_t class, bool *zeroed)
{
	struct cache_bin *b = &t->bins[class];
	unsigned n = b->capacity / 2 > 1 ? b->capacity / 2 : 1;
	void **bottom = &b->slots[b->capacity + 1], **top = bottom - n;

	unsigned got = bin_refill(&t->arena->bins[class], top, n, zeroed);
	if (got == 0)
		return NULL;
	memmove(bottom - got, top, got * sizeof(*top));
	t->heads[class] = bottom - got + 1;
	return bottom[-(ptrdiff_t)got];
}

NO_INLINE void *tcache_alloc_slow(size_t class, bool *zeroed)
{
	struct tcache *t = tcache_get();
	void *object = NULL;

	if (t)
		slow_event(t);
	if (t && layer_is_on(size_class_layer(class))) {
		object = tcache_pop(t, class);
		if (!object) {
			counter_add_owned(&t->bins[class].misses, 1);
			adapt(t, class, EVENT_REFILL);
			if (t->bins[class].capacity)
				object = refill(t, class, zeroed);
		}
		ask_if_due(t);
		if (object)
			return object;
	}
	struct arena *arena = t ? t->arena : arena_ensure(1);
	if (arena)
		bin_refill(&arena->bins[class], &object, 1, zeroed);
	return object;
}

static void send(struct tcache *t, struct parcel **slot, unsigned arena_id)
{
	struct arena *arena = arena_get(arena_id);

	inbox_push(&arena->inbox, *slot);
	*slot = NULL;
	/* Its threads may all be idle: nobody else would open it. */
	if (counter_get(&arena->inbox.objects) > 64 * PARCEL_OBJECTS) {
		arena_drain_inbox(arena);
		t->ask_background = true;
	}
}

/* An object of another arena: into the parcel that goes there. */
static void free_remote(struct tcache *t, void *object, unsigned entry)
{
	unsigned arena_id = entry >> LG_CLASSES;
	struct parcel **slot = &t->parcels[arena_id % OPEN_PARCELS];

	if (unlikely(!arena_get(arena_id)))
		misuse_of_free(object);
	if (*slot) {
		unsigned open = page_map_get((*slot)->objects[0]) >> LG_CLASSES;
		if (open != arena_id)
			send(t, slot, open);
	}
	if (!*slot && !(*slot = parcel_new())) {
		t->ask_background |= arena_free(arena_id, entry % CLASSES, object);
		return;
	}
	(*slot)->objects[(*slot)->count++] = object;
	if ((*slot)->count == PARCEL_OBJECTS)
		send(t, slot, arena_id);
}

static void send_parcels(struct tcache *t)
{
	for (unsigned i = 0; i < OPEN_PARCELS; i++)
		if (t->parcels[i])
			send(t, &t->parcels[i],
			    page_map_get(t->parcels[i]->objects[0]) >> LG_CLASSES);
}

NO_INLINE void tcache_free_slow(void *object, unsigned entry)
{
	struct tcache *t = tcache_get();

	if (!t) {
		if (arena_free(entry >> LG_CLASSES, entry % CLASSES, object))
			background_ask();
		return;
	}
	if (entry >> LG_CLASSES == t->arena->id) {
		if (++t->slow_events % COLLECT_EVENTS == 0)
			collect_step(t);
		push_slow(t, entry % CLASSES, object);
	} else {
		free_remote(t, object, entry);
	}
	ask_if_due(t);
}

void tcache_flush(void)
{
	struct tcache *t = tcache_self;

	if (t == &tcache_none)
		return;
	send_parcels(t);
	flush_all(t);
	ask_if_due(t);
}

static void count_ended(const struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		ended_hits[size_class_layer(c)] += t->allocs[c];
		ended_misses[size_class_layer(c)] += t->bins[c].misses;
	}
}

/* The thread ends. What it still frees in later destructors goes past the
 * caches. */
static void thread_exit(void *unused)
{
	struct tcache *t = tcache_self;

	(void)unused;
	if (t == &tcache_none)
		return;
	thread_ended = true;
	send_parcels(t);
	flush_all(t);
	tcache_self = (struct tcache *)&tcache_none;
	lock_acquire(&tcaches_lock);
	list_remove(&t->link);
	count_ended(t);
	lock_release(&tcaches_lock);
	arena_leave(t->arena);
	counter_sub(&process_capacity, t->capacity_bytes);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		if (t->bins[c].slots)
			metadata_free(t->bins[c].slots,
			    (t->bins[c].capacity + 2u) * sizeof(void *));
	bool ask = t->ask_background;
	metadata_free(t, sizeof(*t));
	if (ask)
		background_ask();
}

void tcache_init(bool disabled)
{
	no_caches = disabled || pthread_key_create(&exit_key, thread_exit) != 0;
}

static SLOW_PATH struct tcache *tcache_new(void)
{
	struct tcache *t;

	if (thread_ended || no_caches)
		return NULL;
	t = metadata_alloc(sizeof(*t));
	if (!t)
		return NULL;
	struct arena *arena = arena_join();
	if (!arena) {
		metadata_free(t, sizeof(*t));
		return NULL;
	}
	for (size_t c = 0; c < CLASSES; c++)
		t->heads[c] = NO_ROOM;
	memcpy(t->class_of, size_class_tiny, sizeof(t->class_of));
	t->map = page_map.map;
	t->map_limit = page_map.limit;
	t->next_collected = 1;
	t->seen_in_use = flag_load(&arenas_in_use);
	use_arena(t, arena);
	lock_acquire(&tcaches_lock);
	list_push(&tcaches, &t->link);
	lock_release(&tcaches_lock);
	tcache_self = t;
	/* May allocate: by now this thread can. */
	pthread_setspecific(exit_key, t);
	return t;
}

struct tcache *tcache_get(void)
{
	return likely(tcache_self != &tcache_none) ? tcache_self : tcache_new();
}

static void add_objects(struct tcache_stats *stats, const struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		const struct cache_bin *b = &t->bins[c];
		AO_t head = AO_load((const volatile AO_t *)&t->heads[c]);
		AO_t bottom = b->slots ? (AO_t)&b->slots[b->capacity + 1] : 0;
		/* A stack that is being replaced right now counts as empty. */
		size_t n = (bottom - head) / sizeof(void *);
		if (b->slots && n <= b->capacity)
			stats->objects[c] += n;
	}
	for (unsigned i = 0; i < OPEN_PARCELS; i++) {
		const struct parcel *p = t->parcels[i];
		for (size_t k = 0; p && k < p->count && k < PARCEL_OBJECTS; k++)
			stats->objects[page_map_get(p->objects[k]) % CLASSES]++;
	}
}

void tcache_stats(struct tcache_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	lock_acquire(&tcaches_lock);
	memcpy(stats->hits, ended_hits, sizeof(ended_hits));
	memcpy(stats->misses, ended_misses, sizeof(ended_misses));
	for (struct link *l = tcaches.next; l != &tcaches; l = l->next) {
		const struct tcache *t = container_of(l, struct tcache, link);
		stats->threads++;
		stats->capacity_bytes += t->capacity_bytes;
		for (size_t c = 1; c < CLASS_WHALE; c++) {
			enum layer layer = size_class_layer(c);
			stats->hits[layer] += counter_get(&t->allocs[c]);
			stats->misses[layer] += counter_get(&t->bins[c].misses);
		}
		add_objects(stats, t);
	}
	lock_release(&tcaches_lock);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		stats->bytes += stats->objects[c] * size_class_size(c);
}
