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

/* So much flushed from a bin with no allocation in between says that its thread
 * only frees: what rests on the stack then is of no use and holds pages. */
#define FREEING_BYTES (192 * KiB)
#define FREEING_OBJECTS 4096u
/* Caches of ended threads that are kept whole, for the next threads. */
#define PARKED_MAX 8u
/* What a thread's L2.5 stacks may hold in all. */
#define THREAD_L25_BYTES (2 * MiB)

/* A parcel goes when it holds so much, or is full; an inbox is emptied by whoever
 * finds more in it. */
#define PARCEL_BYTES (64 * KiB)
#define INBOX_BYTES (1 * MiB)

/* Slow events between two looks at one bin and at contention. */
#define COLLECT_EVENTS 64u
#define JUDGE_EVENTS 128u
/* Contention is judged over so many allocations, and too much if there was a wait
 * in more than one of WAIT_SHARE. Not by the share of lock acquisitions: where the
 * caches work these are so few that waits cost nothing, and a second arena costs
 * memory (16 producers, one consumer: 1.26 x live instead of 1.16). */
#define JUDGE_OPERATIONS 65536u
#define WAIT_SHARE 128u

static void *const no_room[] = { TCACHE_FULL, NULL };
#define NO_ROOM ((void **)&no_room[1])

const struct tcache tcache_none = {
	.heads = { [0 ... CLASSES - 1] = NO_ROOM },
	.tag = ~(size_t)0, /* nobody's: every free takes the slow path */
};
__thread struct tcache *tcache_self = (struct tcache *)&tcache_none;

struct lock tcaches_lock = LOCK_INITIALIZER;
/* Guarded by tcaches_lock: all tcaches, those parked among them, newest first, and
 * the counts of those that are gone. A parked tcache is nobody's: whoever holds the
 * lock may empty it. */
static struct link tcaches = { &tcaches, &tcaches };
static struct link parked = { &parked, &parked };
static unsigned parked_count;
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

	return b->slots && !b->is_aside ? (size_t)(&b->slots[b->capacity + 1] - t->heads[class]) : 0;
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

/* Empty the stack and do without one until the next allocation. */
static void lay_aside(struct tcache *t, size_t class)
{
	struct cache_bin *b = &t->bins[class];

	flush_oldest(t, class, count(t, class));
	b->freed = 0;
	if (class >= CLASS_L25) {
		/* One of these is worth pages in plenty: keep none. */
		resize(t, class, 0);
		return;
	}
	lock_acquire(&t->aside_lock);
	b->is_aside = true;
	b->aside = 0;
	t->heads[class] = NO_ROOM;
	lock_release(&t->aside_lock);
}

/* Give what lies aside to the arena. Holds aside_lock. True: ask the background
 * thread. */
static bool flush_aside(struct tcache *t, size_t class)
{
	struct cache_bin *b = &t->bins[class];
	unsigned n = b->aside;

	b->aside = 0;
	return n && bin_flush(&t->arena->bins[class], &b->slots[1], n);
}

static void push_aside(struct tcache *t, size_t class, void *object)
{
	struct cache_bin *b = &t->bins[class];

	lock_acquire(&t->aside_lock);
	if (unlikely(b->aside && b->slots[b->aside] == object))
		log_fatal("free(%p): double free", object);
	if (b->aside == b->capacity)
		t->ask_background |= flush_aside(t, class);
	b->slots[++b->aside] = object;
	t->aside_touched = true;
	lock_release(&t->aside_lock);
}

/* Make what lies aside the stack. */
static void pick_up(struct tcache *t, size_t class)
{
	struct cache_bin *b = &t->bins[class];
	void **bottom = &b->slots[b->capacity + 1];

	lock_acquire(&t->aside_lock);
	memmove(bottom - b->aside, &b->slots[1], b->aside * sizeof(*bottom));
	t->heads[class] = bottom - b->aside;
	b->slots[0] = TCACHE_FULL;
	*bottom = NULL;
	b->aside = 0;
	b->is_aside = false;
	lock_release(&t->aside_lock);
}

static void flush_all(struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++)
		if (t->bins[c].is_aside)
			pick_up(t, c);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		flush_oldest(t, c, count(t, c));
}

/* The background thread's share: what lies aside and nobody touched since the
 * last pass. True: something is left. */
static bool take_aside(bool all)
{
	bool left = false;

	lock_acquire(&tcaches_lock);
	for (struct link *l = tcaches.next; l != &tcaches; l = l->next) {
		struct tcache *t = container_of(l, struct tcache, link);
		lock_acquire(&t->aside_lock);
		for (size_t c = 1; c < CLASS_L25; c++) {
			if (!t->bins[c].is_aside)
				continue;
			if (all || !t->aside_touched)
				flush_aside(t, c);
			left |= t->bins[c].aside > 0;
		}
		t->aside_touched = false;
		lock_release(&t->aside_lock);
		if (!t->is_parked)
			continue;
		if (all || !t->parked_touched)
			flush_all(t);
		left |= t->parked_touched;
		t->parked_touched = false;
	}
	lock_release(&tcaches_lock);
	return left;
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

	b->freed = freeing ? b->freed + b->capacity / 2u + 1 : 0;
	b->last_event = (uint8_t)event;
	b->event_allocs = allocs;
	if (b->slots && (b->freed >= FREEING_OBJECTS ||
	    b->freed * size_class_size(class) >= FREEING_BYTES))
		lay_aside(t, class);
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
			resize(t, class, 0);
	}
	b->seen_head = t->heads[class];
}

/* Put an object of the thread's own arena on its stack, making room. */
static void push_slow(struct tcache *t, size_t class, void *object)
{
	struct cache_bin *b = &t->bins[class];

	if (b->is_aside) {
		push_aside(t, class, object);
		return;
	}
	if (tcache_push(t, class, object))
		return;
	if (unlikely(*t->heads[class] == object))
		log_fatal("free(%p): double free", object);
	if (layer_is_on(size_class_layer(class))) {
		adapt(t, class, EVENT_FLUSH);
		if (b->is_aside) {
			push_aside(t, class, object);
			return;
		}
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
			push_slow(t, arena_class_of(t->arena, p->objects[i]),
			    p->objects[i]);
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

static void judge_contention(struct tcache *t)
{
	size_t operations = t->slow_events;

	for (size_t c = 1; c < CLASS_WHALE; c++)
		operations += t->allocs[c];
	if (operations - t->judged_operations < JUDGE_OPERATIONS)
		return;
	if ((lock_waits - t->judged_waits) * WAIT_SHARE >
	    operations - t->judged_operations)
		arenas_grow(t->seen_in_use);
	t->judged_operations = operations;
	t->judged_waits = lock_waits;
}

static void slow_event(struct tcache *t)
{
	t->slow_events++;
	if (unlikely(t->slow_events % JUDGE_EVENTS == 0))
		judge_contention(t);
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
	if (t && t->bins[class].is_aside)
		pick_up(t, class);
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

static void send(struct tcache *t, struct parcel **slot)
{
	struct arena *arena = arena_get((*slot)->arena);

	inbox_push(&arena->inbox, *slot);
	*slot = NULL;
	/* Its threads may all be idle: nobody else would open it. */
	t->ask_background = true;
	if (counter_get(&arena->inbox.bytes) > INBOX_BYTES)
		arena_drain_inbox(arena);
}

/* An object of another arena: into the parcel that goes there. */
static void free_remote(struct tcache *t, void *object, unsigned entry)
{
	unsigned arena_id = entry >> LG_CLASSES;
	size_t class = entry % CLASSES;
	struct parcel **slot = &t->parcels[arena_id % OPEN_PARCELS];

	if (unlikely(!arena_get(arena_id)))
		misuse_of_free(object);
	if (*slot && (*slot)->arena != arena_id)
		send(t, slot);
	if (class >= CLASS_L25 || (!*slot && !(*slot = parcel_new()))) {
		t->ask_background |= arena_free(arena_id, class, object);
		return;
	}
	struct parcel *p = *slot;
	p->arena = (uint16_t)arena_id;
	p->objects[p->count++] = object;
	p->bytes += (uint32_t)size_class_size(class);
	if (p->count == PARCEL_OBJECTS || p->bytes >= PARCEL_BYTES)
		send(t, slot);
}

static void send_parcels(struct tcache *t)
{
	for (unsigned i = 0; i < OPEN_PARCELS; i++)
		if (t->parcels[i])
			send(t, &t->parcels[i]);
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

/* Keep a cache of an ended thread for the next one, as it is: a server that makes
 * a thread for each request would empty and fill it each time. False: enough are
 * kept. */
static bool park(struct tcache *t)
{
	lock_acquire(&tcaches_lock);
	bool room = parked_count < PARKED_MAX;
	if (room) {
		parked_count++;
		t->is_parked = t->parked_touched = true;
		list_push(&parked, &t->parked);
	}
	lock_release(&tcaches_lock);
	return room;
}

static struct tcache *take_over(void)
{
	struct tcache *t = NULL;

	lock_acquire(&tcaches_lock);
	if (!list_empty(&parked)) {
		t = container_of(parked.next, struct tcache, parked);
		list_remove(&t->parked);
		parked_count--;
		t->is_parked = false;
	}
	lock_release(&tcaches_lock);
	if (t) {
		t->judged_waits = lock_waits;
		counter_add(&t->arena->threads, 1);
	}
	return t;
}

static void tcache_delete(struct tcache *t)
{
	flush_all(t);
	lock_acquire(&tcaches_lock);
	list_remove(&t->link);
	count_ended(t);
	lock_release(&tcaches_lock);
	counter_sub(&process_capacity, t->capacity_bytes);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		if (t->bins[c].slots)
			metadata_free(t->bins[c].slots,
			    (t->bins[c].capacity + 2u) * sizeof(void *));
	metadata_free(t, sizeof(*t));
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
	bool ask = t->ask_background;
	t->ask_background = false;
	tcache_self = (struct tcache *)&tcache_none;
	arena_leave(t->arena);
	if (park(t))
		ask = true;
	else
		tcache_delete(t);
	if (ask)
		background_ask();
}

void tcache_init(bool disabled)
{
	no_caches = disabled || pthread_key_create(&exit_key, thread_exit) != 0;
	background_also(take_aside);
}

static struct tcache *tcache_create(void)
{
	struct tcache *t = metadata_alloc(sizeof(*t));

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
	list_init(&t->parked);
	use_arena(t, arena);
	lock_acquire(&tcaches_lock);
	list_push(&tcaches, &t->link);
	lock_release(&tcaches_lock);
	return t;
}

static SLOW_PATH struct tcache *tcache_new(void)
{
	struct tcache *t;

	if (thread_ended || no_caches)
		return NULL;
	t = take_over();
	if (!t)
		t = tcache_create();
	if (!t)
		return NULL;
	tcache_self = t;
	/* May allocate: by now this thread can. */
	pthread_setspecific(exit_key, t);
	return t;
}

struct tcache *tcache_get(void)
{
	return likely(tcache_self != &tcache_none) ? tcache_self : tcache_new();
}

void tcaches_after_fork_in_child(void)
{
	struct tcache *own = tcache_self;

	struct link *l = tcaches.next;

	lock_init(&tcaches_lock);
	while (l != &tcaches) {
		struct tcache *t = container_of(l, struct tcache, link);
		l = l->next;
		lock_init(&t->aside_lock);
		if (t == own || t->is_parked)
			continue;
		list_remove(&t->link);
		count_ended(t);
		counter_sub(&process_capacity, t->capacity_bytes);
	}
	if (own != &tcache_none)
		counter_add(&own->arena->threads, 1);
}

/* Readers of other threads' caches: what they see may be a moment old or half
 * changed, is bounded before it is used, and lies in metadata, which stays
 * mapped. */
#define RACY_READER __attribute__((no_sanitize("thread")))

RACY_READER static void add_objects(struct tcache_stats *stats, const struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		const struct cache_bin *b = &t->bins[c];
		uintptr_t head = (uintptr_t)*(void **const volatile *)&t->heads[c];
		uintptr_t bottom = b->slots ? (uintptr_t)&b->slots[b->capacity + 1] : 0;
		/* A stack that is being replaced right now counts as empty. */
		size_t n = (bottom - head) / sizeof(void *);
		if (b->is_aside)
			stats->objects[c] += b->aside;
		else if (b->slots && n <= b->capacity)
			stats->objects[c] += n;
	}
	for (unsigned i = 0; i < OPEN_PARCELS; i++) {
		const struct parcel *p = t->parcels[i];
		for (size_t k = 0; p && k < p->count && k < PARCEL_OBJECTS; k++)
			stats->objects[page_map_get(p->objects[k]) % CLASSES]++;
	}
}

RACY_READER void tcache_stats(struct tcache_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	lock_acquire(&tcaches_lock);
	memcpy(stats->hits, ended_hits, sizeof(ended_hits));
	memcpy(stats->misses, ended_misses, sizeof(ended_misses));
	for (struct link *l = tcaches.next; l != &tcaches; l = l->next) {
		const struct tcache *t = container_of(l, struct tcache, link);
		stats->threads += !t->is_parked;
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
