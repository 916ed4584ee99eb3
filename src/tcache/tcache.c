#include "tcache/tcache.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena/background.h"
#include "base/log.h"
#include "page/metadata.h"
#include "page/os.h"
#include "tcache/rest.h"
#include "tcache/view.h"

/* A stack starts at START objects and doubles at every GROW_EVENTS-th refill or flush that
 * comes within RARE_ALLOCS of the one before, to what BASE_* allow (not sooner: threads that
 * do little and sleep, if many, would hold much); from there, to what GROWN_* allow, where
 * refills and flushes alternate, so that a larger one would have saved them. */
#define START 5u
#define GROW_EVENTS 16u
#define RARE_ALLOCS 1024u
#define BASE_OBJECTS 253u
#define BASE_BYTES (32 * KiB)
#define GROWN_OBJECTS 2045u
#define GROWN_BYTES (1 * MiB)
/* What moves between a stack and the arena at a time: half a stack, but no more than that.
 * A batch of larger objects that just fits the stack would else miss each time. */
#define MOVED_BYTES (64 * KiB)
/* Growth beyond BASE_* ends at this much capacity, of a thread (but for L2.5) and of all. */
#define THREAD_BYTES (1 * MiB)
#define PROCESS_BYTES (64 * MiB)

/* So many frees of a class that the thread never allocated may be of what it was
 * handed at its start; after more it is a consumer. */
#define HANDED_OBJECTS 16u
/* Caches of ended threads that are kept whole, for the next threads. */
#define PARKED_MAX 8u
/* What a thread's L2.5 stacks may hold in all. A class has none before so many misses:
 * what is used once, as by a buffer that doubles, serves any class in the page heap. */
#define THREAD_L25_BYTES (1 * MiB)
#define L25_MISSES 4u
/* Among so many classes that one's share of that is less objects, shares serve nobody, but
 * take memory. */
#define L25_SHARE_MIN 4u

/* A parcel goes when it holds so much, or is full; an inbox is emptied by whoever
 * finds more in it. */
#define PARCEL_BYTES (64 * KiB)
#define INBOX_BYTES (1 * MiB)

/* Slow events between two looks at one bin, */
#define COLLECT_EVENTS 8u
/* and at contention and the peak. */
#define LOOK_EVENTS 64u
/* How far past the stacks a thread's peak may be missed between two such. */
#define PEAK_BYTES (64 * KiB)
/* Contention is judged over so many milliseconds and operations at least, and too much if
 * the thread waited for more than one in WAITED_SHARE of the former, or in more than one
 * in WAITS_SHARE of the latter (many threads, few processors, no caches: those that wait
 * do so for who does not run). Not by the share of lock acquisitions: where the
 * caches work these are so few that waits cost nothing, and a second arena costs
 * memory (16 producers, one consumer: 1.26 x live instead of 1.16). */
#define JUDGE_MS 20u
#define JUDGE_OPERATIONS 65536u
#define WAITED_SHARE 8u
#define WAITS_SHARE 128u

static void *const no_room[TCACHE_MARKS] = { TCACHE_FULL };
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
static unsigned caches_made;

static __thread bool thread_ended;
static bool no_caches = true;
static pthread_key_t exit_key;
static AO_t process_capacity;
static AO_t threads_made;

static bool is_cached(const struct tcache *t, size_t class)
{
	return t->seen_layers >> size_class_layer(class) & 1 && !t->is_off &&
	    class <= t->class_max;
}

static unsigned clamp(size_t n, unsigned low, unsigned high)
{
	return n < low ? low : n > high ? high : (unsigned)n;
}

static unsigned base_capacity(size_t class)
{
	size_t size = size_class_size(class);

	if (class >= CLASS_L25)
		return size <= GROWN_BYTES / 8 ? 2 : 1;
	return clamp(BASE_BYTES / size, 2, BASE_OBJECTS);
}

static unsigned grown_capacity(size_t class)
{
	return clamp(GROWN_BYTES / size_class_size(class), 1, GROWN_OBJECTS);
}

static size_t count(const struct tcache *t, size_t class)
{
	const struct cache_bin *b = &t->bins[class];

	return b->slots ? (size_t)(&b->slots[b->capacity + 1] - t->heads[class]) : 0;
}

/* To all that the fast paths do not do with the stacks. */
static void tcache_enter(struct tcache *t)
{
	flag_store(&t->is_entered, 1);
	/* Both the background thread fences for us: rest.h, 1. */
	AO_compiler_barrier();
	if (unlikely(flag_load(&t->is_visited)))
		rest_mend(t);
}

/* Before anything that may allocate. */
static void tcache_leave(struct tcache *t)
{
	/* Pairs with the load in rest.c. */
	AO_store_release(&t->is_entered, 0);
}

static void ask_if_due(struct tcache *t)
{
	if (unlikely(t->ask_background)) {
		t->ask_background = false;
		background_ask();
	}
}

/* Give the n oldest objects of a stack to the arena, by bin_flush or bin_return_all. */
static void give_oldest(struct tcache *t, size_t class, size_t n,
    bool (*give)(struct bin *, unsigned, void **, unsigned))
{
	struct cache_bin *b = &t->bins[class];
	void **head = t->heads[class], **bottom = &b->slots[b->capacity + 1];
	size_t kept = (size_t)(bottom - head) - n;

	t->ask_background |= give(&t->arena->bins[class], t->number, bottom - n, (unsigned)n);
	counter_add_owned(&b->moved, n);
	t->flushed += n;
	memmove(bottom - kept, head, kept * sizeof(*head));
	t->heads[class] = bottom - kept;
}

static void flush_oldest(struct tcache *t, size_t class, size_t n)
{
	if (n > 0)
		give_oldest(t, class, n, bin_flush);
}

/* Whole cache lines: no other thread may write beside it. */
static size_t slots_bytes(unsigned capacity)
{
	return round_up((capacity + TCACHE_MARKS) * sizeof(void *), CACHE_LINE);
}

/* Give a bin a stack of that capacity, which may be 0, and move its objects there. */
static bool resize(struct tcache *t, size_t class, unsigned capacity)
{
	struct cache_bin *b = &t->bins[class];
	size_t held = count(t, class);
	void **slots = metadata_alloc(slots_bytes(capacity));

	if (!slots)
		return false;
	hak_assert(held <= capacity);
	void **head = &slots[capacity + 1 - held];
	memcpy(head, t->heads[class], held * sizeof(*slots));
	slots[0] = TCACHE_FULL;
	size_t added = ((size_t)capacity - b->capacity) * size_class_size(class);
	t->capacity_bytes += added;
	if (class >= CLASS_L25) {
		t->l25_bytes += added;
		t->l25_stacks += (capacity > 0) - (b->capacity > 0u);
	}
	counter_add(&process_capacity, added);
	t->heads[class] = head;
	if (b->slots)
		metadata_free(b->slots, slots_bytes(b->capacity));
	b->slots = slots;
	b->capacity = (uint16_t)capacity;
	return true;
}

/* Allocations that the stack served; 0 where they are not counted. */
static size_t allocs_seen(const struct tcache *t, size_t class)
{
	return HAK_STATS ? counter_get(&t->allocs[class]) : 0;
}

/* Half of it, which a refill takes, is a cache line of objects at least: two threads
 * that start side by side must not share one for good. */
static unsigned start_capacity(size_t class)
{
	unsigned line = (unsigned)(2 * CACHE_LINE / size_class_size(class));

	return line > START ? line : START;
}

/* Of a class whose objects share cache lines the thread has none of its own so far:
 * what it frees was another's, and beside it lies what others still write to. */
static bool is_handed(const struct tcache *t, size_t class)
{
	const struct cache_bin *b = &t->bins[class];

	return counter_get(&b->misses) == 0 && counter_get(&b->moved) < HANDED_OBJECTS &&
	    size_class_size(class) < CACHE_LINE;
}

/* How many objects the stack may be made for after the event. */
static unsigned most_capacity(const struct tcache *t, size_t class,
    enum slow_event event)
{
	const struct cache_bin *b = &t->bins[class];
	bool alternates = b->last_event != EVENT_NONE && b->last_event != event;
	unsigned most = alternates && t->capacity_bytes - t->l25_bytes < THREAD_BYTES &&
	    counter_get(&process_capacity) < PROCESS_BYTES ?
	    grown_capacity(class) : base_capacity(class);

	if (class >= CLASS_L25) {
		size_t left = (THREAD_L25_BYTES - t->l25_bytes) / size_class_size(class);
		most = clamp(most, 0, (unsigned)(b->capacity + left));
	}
	return most;
}

static void flush_all(struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++)
		flush_oldest(t, c, count(t, c));
}

static struct tcache *first_cache(void)
{
	return list_empty(&tcaches) ? NULL : container_of(tcaches.next, struct tcache, link);
}

/* The caches that the pass did not visit yet, as many as rest has room for: each goes to
 * the end. Holds the lock. True: something is left. */
static bool look_at_caches(struct rest *rest, size_t pass, bool all, bool may_fence)
{
	bool left = false;
	struct tcache *t;

	while (rest->count + CLASSES <= REST_MAX && (t = first_cache()) && t->visited_by != pass) {
		t->visited_by = pass;
		list_remove(&t->link);
		list_append(&tcaches, &t->link);
		if (!t->is_parked) {
			left |= may_fence && rest_look(rest, t, all);
			continue;
		}
		if (all || !t->parked_touched)
			flush_all(t);
		left |= t->parked_touched;
		t->parked_touched = false;
	}
	return left;
}

bool tcaches_take_resting(bool all, bool may_fence)
{
	static size_t passes;
	bool left = false, done;

	may_fence = may_fence && os_fence_threads();
	lock_acquire(&tcaches_lock);
	size_t pass = ++passes;
	do {
		struct rest rest = { .count = 0 };
		left |= look_at_caches(&rest, pass, all, may_fence);
		rest_take(&rest);
		struct tcache *t = first_cache();
		done = !t || t->visited_by == pass;
		/* Who waits to enter goes first. */
		lock_release(&tcaches_lock);
		lock_acquire(&tcaches_lock);
	} while (!done);
	lock_release(&tcaches_lock);
	return left;
}

/* Give up the stack and what is on it. */
static void drop(struct tcache *t, size_t class)
{
	flush_oldest(t, class, count(t, class));
	resize(t, class, 0);
}

static unsigned moved_at_once(const struct cache_bin *b, size_t class)
{
	unsigned half = (b->capacity + 1u) / 2;
	size_t n = MOVED_BYTES / size_class_size(class);

	return n < 1 ? 1 : n < half ? (unsigned)n : half;
}

/* What one of so many stacks may hold of all that those of L2.5 do, in objects. */
static unsigned l25_share(size_t class, unsigned stacks)
{
	return (unsigned)(THREAD_L25_BYTES / stacks / size_class_size(class));
}

/* Those that came first must not have it all: for a class of less than its share the
 * largest, if of more, makes room for one more object. */
static void make_l25_room(struct tcache *t, size_t class)
{
	unsigned stacks = t->l25_stacks + !t->bins[class].capacity;
	unsigned own = l25_share(class, stacks);
	size_t most = CLASS_L25;

	if (own < L25_SHARE_MIN || t->bins[class].capacity >= own)
		return;
	for (size_t c = CLASS_L25; c < CLASS_WHALE; c++)
		if (t->bins[c].capacity * size_class_size(c) >
		    t->bins[most].capacity * size_class_size(most))
			most = c;
	unsigned capacity = t->bins[most].capacity, share = l25_share(most, stacks);
	size_t size = size_class_size(most);
	unsigned less = (unsigned)((size_class_size(class) + size - 1) / size);
	if (capacity <= share)
		return;
	capacity = capacity > share + less ? capacity - less : share;
	size_t held = count(t, most);
	flush_oldest(t, most, held > capacity ? held - capacity : 0);
	resize(t, most, capacity);
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

	b->only_frees = !freeing ? 0 : b->only_frees < UINT16_MAX ? b->only_frees + 1u : UINT16_MAX;
	b->last_event = (uint8_t)event;
	b->event_allocs = allocs;
	if (class >= CLASS_L25 && (b->only_frees > grown_capacity(class) ||
	    counter_get(&b->misses) < L25_MISSES)) {
		/* One of these is worth pages in plenty: keep none, if more went by than any
		 * stack of them could hold. */
		if (b->only_frees && b->capacity)
			drop(t, class);
	} else if (!b->capacity && most > 0) {
		resize(t, class, clamp(start_capacity(class), 1, most));
	} else if (!rare && b->capacity < most) {
		b->grow_events = (b->grow_events + 1u) % GROW_EVENTS;
		if (b->grow_events == 0 || b->capacity >= base_capacity(class))
			resize(t, class, clamp(2u * b->capacity + TCACHE_MARKS, 1, most));
	} else if (class >= CLASS_L25 && !rare) {
		make_l25_room(t, class);
	}
}

/* A bin that served nothing since the last visit, and whose stack did not move, is idle:
 * empty it, and leave what it grew to others. (A visit may be in step with what the thread
 * does, so that a stack is where it was.) A sparse one that is in use would stay so, as what
 * the stack serves again and again lies in any of its slabs: give all of it back for once. */
static void collect_step(struct tcache *t)
{
	size_t class = t->next_collected;
	struct cache_bin *b = &t->bins[class];
	struct bin *bin = &t->arena->bins[class];
	size_t allocs = allocs_seen(t, class) + counter_get(&b->misses);

	t->next_collected = class + 1 < CLASS_WHALE ? class + 1 : 1;
	if (b->slots && b->seen_head == t->heads[class] && b->seen_allocs == allocs) {
		if (class >= CLASS_L25 || b->capacity > base_capacity(class))
			drop(t, class);
		else
			flush_oldest(t, class, count(t, class));
		bin_rest(bin, t->number);
	} else if (b->slots && class < CLASS_L25 && bin_is_sparse(bin)) {
		give_oldest(t, class, count(t, class), bin_return_all);
	}
	b->seen_head = t->heads[class];
	b->seen_allocs = allocs;
}

/* Put an object of the thread's own arena on its stack, making room. */
static void push_slow(struct tcache *t, size_t class, void *object)
{
	struct cache_bin *b = &t->bins[class];
	struct bin *bin = &t->arena->bins[class];

	if (tcache_push(t, class, object))
		return;
	if (unlikely(tcache_is_on_top(t->heads[class], object)))
		log_double_free(object);
	if (is_cached(t, class) && !is_handed(t, class)) {
		adapt(t, class, EVENT_FLUSH);
		/* All of it goes where the thread never allocates such, or hardly does now. */
		if (b->capacity && t->heads[class][-1] == TCACHE_FULL)
			flush_oldest(t, class, b->misses && !bin_is_draining(bin) ?
			    moved_at_once(b, class) : b->capacity);
		if (tcache_push(t, class, object))
			return;
	}
	t->ask_background |= bin_return(bin, &object, 1);
	counter_add_owned(&b->moved, 1);
}

/* Objects that others freed: onto the stacks. */
static void open_inbox(struct tcache *t)
{
	struct parcel *next;

	for (struct parcel *p = inbox_take(&t->arena->inbox); p; p = next) {
		next = p->next;
		for (size_t i = 0; i < arena_parcel_objects(t->arena, p); i++) {
			size_t class = arena_class_of(t->arena, p->objects[i]);
			/* Its free was counted where it was made. */
			counter_add_owned(&t->bins[class].moved, (size_t)-1);
			push_slow(t, class, p->objects[i]);
		}
		parcel_delete(p);
	}
}

/* Tell the arena of the allocations that it does not know of yet. */
static void count_allocs(struct tcache *t)
{
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		struct cache_bin *b = &t->bins[c];
		size_t now = allocs_seen(t, c) + b->misses;
		if (now == b->counted)
			continue;
		bin_count_allocs(&t->arena->bins[c], now - b->counted);
		b->counted = now;
	}
}

static void use_arena(struct tcache *t, struct arena *arena)
{
	t->arena = arena;
	t->tag = page_map_entry(arena->id, 0);
}

/* From one arena, which it left, to another. */
static void change_arena(struct tcache *t, struct arena *arena)
{
	flush_all(t);
	count_allocs(t);
	use_arena(t, arena);
	memset(t->callers, 0, sizeof(t->callers));
}

static size_t operations_of(const struct tcache *t)
{
	size_t operations = t->slow_events + t->flushed;

	for (size_t c = 1; c < CLASS_WHALE; c++)
		operations += t->allocs[c];
	return operations;
}

static void judge_from_now(struct tcache *t)
{
	t->judged_ms = os_now_ms();
	t->judged_operations = operations_of(t);
	t->judged_waits = lock_waits;
}

/* More arenas are in use than when this thread picked: pick again. */
static void rejoin(struct tcache *t)
{
	struct arena *old = t->arena;

	t->seen_in_use = flag_load(&arenas_in_use);
	/* What was waited before says nothing about so many. */
	judge_from_now(t);
	if (t->is_bound)
		return;
	struct arena *arena = arena_join(old);
	if (!arena)
		return;
	if (arena != old)
		change_arena(t, arena);
	arena_leave(old);
}

/* Which sizes the stacks serve. */
static void set_ends(struct tcache *t)
{
	static const size_t ends[] = { TINY_MAX + 1, L2_MAX + 1, L25_MAX + 1 };

	for (int i = 0; i < 3; i++)
		t->ends[i] = t->is_sited ? 0 : ends[i];
}

/* Rules came or went. */
static void see_sites(struct tcache *t)
{
	bool sited = t->seen_layers & SETTING_SITES;

	if (sited == t->is_sited || t->is_site || t->is_explicit)
		return;
	t->is_sited = sited;
	set_ends(t);
}

/* Give up the stacks of what is not cached any more. */
static SLOW_PATH void drop_stacks(struct tcache *t)
{
	t->seen_layers = flag_load(&settings.layers);
	see_sites(t);
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		if (!t->bins[c].slots || is_cached(t, c))
			continue;
		drop(t, c);
	}
}

/* Settings changed: of the thread's caches. */
static SLOW_PATH void follow(struct tcache *t)
{
	/* Exchanged: whose 0 is taken away, the layers of that are seen. */
	AO_compare_and_swap_full(&t->map_limit, 0, page_map.limit);
	for (struct tcache *c = t; c; c = c == t ? t->sites : c->next_site) {
		tcache_enter(c);
		if (flag_load(&settings.layers) != c->seen_layers)
			drop_stacks(c);
		tcache_leave(c);
	}
}

void tcaches_set_layers(size_t off, size_t on)
{
	size_t old;

	do
		old = flag_load(&settings.layers);
	while (!AO_compare_and_swap(&settings.layers, old, (old & ~off) | on));
	lock_acquire(&tcaches_lock);
	for (struct link *l = tcaches.next; l != &tcaches; l = l->next)
		/* Pairs with the exchange in follow. */
		AO_store_release(&container_of(l, struct tcache, link)->map_limit, 0);
	lock_release(&tcaches_lock);
	if (tcache_self != &tcache_none)
		follow(tcache_self);
}

static void judge_contention(struct tcache *t)
{
	uint64_t ms = os_now_ms() - t->judged_ms;

	if (ms < JUDGE_MS)
		return;
	size_t operations = operations_of(t) - t->judged_operations;
	if (operations < JUDGE_OPERATIONS)
		return;
	if (lock_waits.ns - t->judged_waits.ns > ms * 1000000 / WAITED_SHARE ||
	    (lock_waits.count - t->judged_waits.count) * WAITS_SHARE > operations)
		arenas_grow(t->seen_in_use);
	judge_from_now(t);
}

static size_t other_held(const struct tcache *t)
{
	return counter_get(&t->other_allocated) - counter_get(&t->other_freed);
}

/* What the thread holds since thread.peak.reset, as far as is known without a look at the
 * stacks. */
static int64_t bytes_held(const struct tcache *t)
{
	const struct thread_bytes *bytes = &t->bytes;

	return (int64_t)(bytes->allocated - bytes->freed - bytes->peak_base +
	    (other_held(t) - bytes->other));
}

/* t is entered. */
static void count_bytes(struct tcache *t)
{
	struct thread_bytes *bytes = &t->bytes;
	uint64_t allocated, freed, more, less;

	tcache_sum_bytes(t, &allocated, &freed);
	for (struct tcache *site = t->sites; site; site = site->next_site) {
		tcache_enter(site);
		tcache_sum_bytes(site, &more, &less);
		tcache_leave(site);
		allocated += more;
		freed += less;
	}
	bytes->allocated = allocated - bytes->allocated_base;
	bytes->freed = freed - bytes->freed_base;
	bytes->other = other_held(t);
	int64_t held = bytes_held(t);
	if (held > (int64_t)bytes->peak)
		bytes->peak = (uint64_t)held;
}

void tcache_count(struct tcache *t)
{
	tcache_enter(t);
	count_bytes(t);
	tcache_leave(t);
}

static void slow_event(struct tcache *t)
{
	if (++t->slow_events % COLLECT_EVENTS == 0)
		collect_step(t);
	if (unlikely(flag_load(&settings.layers) != t->seen_layers))
		drop_stacks(t);
}

static void slow_alloc_event(struct tcache *t)
{
	slow_event(t);
	/* By the distance: of frees and allocations in turn all multiples could be frees. */
	if (unlikely(t->slow_events - t->looked_events >= LOOK_EVENTS)) {
		t->looked_events = t->slow_events;
		/* Waits are counted by the thread: another cache than its own says nothing. */
		if (t == tcache_self)
			judge_contention(t);
		count_bytes(t);
	}
	if (unlikely(flag_load(&arenas_in_use) != t->seen_in_use))
		rejoin(t);
	if (unlikely(!inbox_is_empty(&t->arena->inbox)))
		open_inbox(t);
}

/* An object and, on the stack, what else moves at once. */
static void *refill(struct tcache *t, size_t class, bool *zeroed)
{
	struct cache_bin *b = &t->bins[class];
	struct bin *bin = &t->arena->bins[class];
	unsigned n = moved_at_once(b, class), got = 0;
	void **bottom = &b->slots[b->capacity + 1];

	if (size_class_size(class) < CACHE_LINE && counter_get(&b->misses) == 0) {
		n = (unsigned)round_up(n, size_class_line_group(class));
		hak_assert(n <= b->capacity);
		got = bin_refill_lines(bin, t->number, bottom - n, n);
		if (zeroed)
			*zeroed = false;
	}
	if (got == 0)
		got = bin_refill(bin, t->number, bottom - n, n, zeroed);
	void **top = bottom - n;
	if (got == 0)
		return NULL;
	memmove(bottom - got, top, got * sizeof(*top));
	counter_add_owned(&b->moved, (size_t)1 - got);
	t->heads[class] = bottom - got + 1;
	return bottom[-(ptrdiff_t)got];
}

/* Leaves t, whose stack did not serve. */
static void *end_miss(struct tcache *t, size_t class, void *object)
{
	counter_add_owned(&t->bins[class].misses, object != NULL);
	tcache_leave(t);
	ask_if_due(t);
	background_start(false);
	return object;
}

static SLOW_PATH void *alloc_slow(struct tcache *t, size_t class, bool *zeroed)
{
	void *object;

	tcache_enter(t);
	slow_alloc_event(t);
	object = tcache_pop(t, class);
	if (unlikely(object != NULL)) {
		tcache_leave(t);
		return object;
	}
	if (is_cached(t, class)) {
		adapt(t, class, EVENT_REFILL);
		if (t->bins[class].capacity)
			object = refill(t, class, zeroed);
	}
	if (!object)
		bin_refill(&t->arena->bins[class], t->number, &object, 1, zeroed);
	return end_miss(t, class, object);
}

void *tcache_alloc(struct tcache *t, size_t class, bool *zeroed)
{
	void *object = tcache_pop(t, class);
	return likely(object) ? object : alloc_slow(t, class, zeroed);
}

void *tcache_alloc_aligned(struct tcache *t, size_t class, size_t alignment, bool *zeroed)
{
	void *object = tcache_pop_aligned(t, class, alignment);

	if (object)
		return object;
	tcache_enter(t);
	slow_alloc_event(t);
	bin_refill_aligned(&t->arena->bins[class], t->number, &object, zeroed);
	return end_miss(t, class, object);
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

	struct arena *arena = arena_get(arena_id);
	if (unlikely(!arena))
		misuse_of_free(object);
	if (*slot && (*slot)->arena != arena_id)
		send(t, slot);
	counter_add_owned(&t->other_freed, size_class_size(class));
	if (class >= CLASS_L25 || (!*slot && !(*slot = parcel_new()))) {
		t->ask_background |= arena_free(arena_id, class, object);
		return;
	}
	struct parcel *p = *slot;
	size_t generation = flag_load(&arena->generation);
	if (p->generation != generation) {
		p->count = 0;
		p->bytes = 0;
	}
	p->generation = generation;
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

void tcache_free_to(struct tcache *t, void *object, unsigned entry)
{
	if (entry >> LG_CLASSES != t->arena->id) {
		free_remote(t, object, entry);
	} else {
		tcache_enter(t);
		/* First: a double free shows by what is on top, and the event may empty
		 * the stack. */
		push_slow(t, entry % CLASSES, object);
		slow_event(t);
		tcache_leave(t);
	}
	ask_if_due(t);
}

/* The thread's cache for what it frees: what a site's cache gave goes back there. */
static struct tcache *cache_for_free(struct tcache *t, unsigned entry)
{
	struct tcache *site = t->sites;

	if (entry >> LG_CLASSES == t->arena->id)
		return t;
	while (site && entry >> LG_CLASSES != site->arena->id)
		site = site->next_site;
	return site ? site : t;
}

NO_INLINE void tcache_free_slow(void *object, unsigned entry)
{
	struct tcache *t = tcache_get();

	if (!t) {
		if (arena_free(entry >> LG_CLASSES, entry % CLASSES, object))
			background_ask();
		return;
	}
	/* Where the map is a window its limit is 0, and each free comes here. */
	if (unlikely(flag_load(&t->map_limit) != page_map.limit ||
	    flag_load(&settings.layers) != t->seen_layers))
		follow(t);
	if (unlikely(t->sites != NULL)) {
		t = cache_for_free(t, entry);
		if (tcache_self != t && entry >> LG_CLASSES == t->arena->id &&
		    tcache_push(t, entry % CLASSES, object))
			return;
	}
	tcache_free_to(t, object, entry);
}

bool tcache_holds(const void *object, unsigned entry)
{
	struct tcache *t = tcache_self != &tcache_none ? cache_for_free(tcache_self, entry) : NULL;
	size_t class = entry % CLASSES;
	bool found = false;

	if (!t || entry >> LG_CLASSES != t->arena->id)
		return false;
	tcache_enter(t);
	for (size_t i = 0, n = count(t, class); i < n; i++)
		found |= t->heads[class][i] == object;
	tcache_leave(t);
	return found;
}

void tcache_flush(struct tcache *t)
{
	for (struct tcache *site = t->sites; site; site = site->next_site)
		tcache_flush(site);
	send_parcels(t);
	tcache_enter(t);
	flush_all(t);
	tcache_leave(t);
	ask_if_due(t);
}

void tcache_forget(void)
{
	tcache_self = (struct tcache *)&tcache_none;
	thread_ended = false;
}

void tcache_flush_own(void)
{
	if (tcache_self != &tcache_none)
		tcache_flush(tcache_self);
}

void tcache_bind(struct tcache *t, struct arena *arena)
{
	t->is_bound = true;
	struct arena *old = t->arena;
	if (arena == old)
		return;
	counter_add(&arena->threads, 1);
	tcache_enter(t);
	change_arena(t, arena);
	tcache_leave(t);
	arena_leave(old);
}

/* What is cached changed by the thread's own wish. */
static void drop_uncached(struct tcache *t)
{
	tcache_enter(t);
	drop_stacks(t);
	tcache_leave(t);
}

void tcache_enable(struct tcache *t, bool on)
{
	for (struct tcache *site = t->sites; site; site = site->next_site)
		tcache_enable(site, on);
	t->is_off = !on;
	drop_uncached(t);
	send_parcels(t);
}

/* The largest class that is not over size; 0: none. */
static size_t class_within(size_t size)
{
	size_t class = size_class_of(size < L25_MAX ? size : L25_MAX);

	return size == 0 ? 0 : size_class_size(class) > size ? class - 1 : class;
}

void tcache_set_max(struct tcache *t, size_t size)
{
	for (struct tcache *site = t->sites; site; site = site->next_site)
		tcache_set_max(site, size);
	t->class_max = class_within(size);
	drop_uncached(t);
}

void tcache_count_allocated(size_t bytes)
{
	if (tcache_self == &tcache_none)
		return;
	counter_add_owned(&tcache_self->other_allocated, bytes);
	if (unlikely(bytes_held(tcache_self) > (int64_t)(tcache_self->bytes.peak + PEAK_BYTES)))
		tcache_count(tcache_self);
}

void tcache_count_freed(size_t bytes)
{
	if (tcache_self != &tcache_none)
		counter_add_owned(&tcache_self->other_freed, bytes);
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
		tcache_leave(t);
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
		/* Full, and the background thread may sleep for good. */
		flag_store(&t->is_visited, 1);
		counter_add(&t->arena->threads, 1);
		/* Another thread's bytes start at 0. */
		memset(&t->bytes, 0, sizeof(t->bytes));
		tcache_sum_bytes(t, &t->bytes.allocated_base, &t->bytes.freed_base);
		t->bytes.other = other_held(t);
	}
	return t;
}

static void tcache_delete(struct tcache *t)
{
	tcache_enter(t);
	flush_all(t);
	count_allocs(t);
	arena_leave(t->arena);
	lock_acquire(&tcaches_lock);
	list_remove(&t->link);
	count_ended(t);
	lock_release(&tcaches_lock);
	counter_sub(&process_capacity, t->capacity_bytes);
	for (size_t c = 1; c < CLASS_WHALE; c++)
		if (t->bins[c].slots)
			metadata_free(t->bins[c].slots, slots_bytes(t->bins[c].capacity));
	metadata_free(t, sizeof(*t));
}

static void delete_sites(struct tcache *t)
{
	struct tcache *site;

	if (!t->sites)
		return;
	memset(t->callers, 0, sizeof(t->callers));
	while ((site = t->sites)) {
		t->sites = site->next_site;
		send_parcels(site);
		t->ask_background |= site->ask_background;
		tcache_delete(site);
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
	/* The main thread's end, not the process's. */
	if (t->tid == 0 && !t->is_explicit)
		background_end();
	send_parcels(t);
	delete_sites(t);
	bool ask = t->ask_background;
	t->ask_background = false;
	tcache_self = (struct tcache *)&tcache_none;
	struct arena *arena = t->arena;
	/* What the program set for the thread is not for the next one. */
	bool as_made = !t->is_bound && t->is_off == !options.tcache &&
	    t->class_max == class_within(options.tcache_max);
	/* Until it is parked or gone. */
	tcache_enter(t);
	if (as_made && park(t)) {
		ask = true;
		arena_leave(arena);
	} else {
		tcache_delete(t);
	}
	if (ask)
		background_ask();
}

void tcache_init(bool disabled)
{
	no_caches = disabled || pthread_key_create(&exit_key, thread_exit) != 0;
	background_also(tcaches_take_resting);
}

/* For arena, which counts its threads; NULL: one of those that threads join. */
static struct tcache *tcache_create(struct arena *arena, bool is_explicit)
{
	struct tcache *t = metadata_alloc(sizeof(*t));

	if (!t)
		return NULL;
	t->is_explicit = is_explicit;
	t->is_bound = arena != NULL;
	if (arena)
		counter_add(&arena->threads, 1);
	else if (!(arena = arena_join(NULL))) {
		metadata_free(t, sizeof(*t));
		return NULL;
	}
	for (size_t c = 0; c < CLASSES; c++)
		t->heads[c] = NO_ROOM;
	set_ends(t);
	memcpy(t->class_of, size_class_tiny, sizeof(t->class_of));
	memcpy(t->class_of_l2, size_class_l2, sizeof(t->class_of_l2));
	t->map = page_map.map;
	t->map_limit = page_map.limit;
	t->next_collected = 1;
	t->seen_in_use = flag_load(&arenas_in_use);
	t->seen_layers = flag_load(&settings.layers);
	t->class_max = class_within(options.tcache_max);
	t->is_off = !options.tcache;
	t->is_visited = 1; /* its first slow path tells the background thread */
	list_init(&t->parked);
	use_arena(t, arena);
	lock_acquire(&tcaches_lock);
	t->number = caches_made++;
	list_push(&tcaches, &t->link);
	lock_release(&tcaches_lock);
	return t;
}

static struct tcache *add_site(struct tcache *own, struct arena *arena)
{
	struct tcache *t = tcache_create(arena, false);

	if (t) {
		t->is_site = true;
		t->tid = own->tid;
		t->is_off = own->is_off;
		t->class_max = own->class_max;
		t->next_site = own->sites;
		own->sites = t;
	}
	return t;
}

struct tcache *tcache_for(struct arena *arena)
{
	struct tcache *own = tcache_get(), *t;

	if (!own || own->arena == arena)
		return own;
	for (t = own->sites; t; t = t->next_site)
		if (t->arena == arena)
			return t;
	return add_site(own, arena);
}

struct tcache *tcache_create_explicit(void)
{
	struct tcache *own = tcache_get(), *t = NULL;

	if (own && (t = tcache_create(own->arena, true)))
		t->is_off = false;
	return t;
}

void tcache_destroy_explicit(struct tcache *t)
{
	send_parcels(t);
	tcache_delete(t);
}

static SLOW_PATH struct tcache *tcache_new(void)
{
	struct tcache *t;

	if (thread_ended || no_caches)
		return NULL;
	t = take_over();
	if (!t)
		t = tcache_create(NULL, false);
	if (!t)
		return NULL;
	/* Not of the first thread: its id is the process's. */
	t->tid = AO_fetch_and_add(&threads_made, 1) ? syscall(SYS_gettid) : 0;
	t->is_sited = false;
	set_ends(t);
	tcache_self = t;
	if (flag_load(&settings.layers) != t->seen_layers || t->seen_layers & SETTING_SITES)
		drop_uncached(t);
	/* May allocate: by now this thread can. */
	pthread_setspecific(exit_key, t);
	return t;
}

struct tcache *tcache_get(void)
{
	return likely(tcache_self != &tcache_none) ? tcache_self : tcache_new();
}

static bool is_site_of(const struct tcache *own, const struct tcache *t)
{
	const struct tcache *site = own->sites;

	while (site && site != t)
		site = site->next_site;
	return site != NULL;
}

/* An explicit cache in a child of fork, whose user may have been another thread, at any
 * point. Inside tcache_enter its stacks can be half changed: what lies in them is lost.
 * On a fast path its head can be one beyond the end. */
static void repair(struct tcache *t)
{
	bool was_entered = flag_load(&t->is_entered);

	for (size_t c = 1; c < CLASS_WHALE; c++) {
		struct cache_bin *b = &t->bins[c];
		if (was_entered) {
			*b = (struct cache_bin) { .misses = b->misses, .moved = b->moved,
				.counted = b->counted };
			t->heads[c] = NO_ROOM;
		} else if (b->slots && t->heads[c] > rest_end(b)) {
			t->heads[c] = rest_end(b);
		}
	}
	if (was_entered) {
		memset(t->parcels, 0, sizeof(t->parcels));
		counter_sub(&process_capacity, t->capacity_bytes);
		t->capacity_bytes = t->l25_bytes = 0;
		t->l25_stacks = 0;
	}
	flag_store(&t->is_entered, 0);
}

/* The only thread is the first. A page that need not be written stays shared. */
static void be_first(struct tcache *own)
{
	for (struct tcache *t = own; t; t = t == own ? own->sites : t->next_site)
		if (t->tid)
			t->tid = 0;
}

void tcaches_after_fork_in_child(bool was_alone)
{
	struct tcache *own = tcache_self;
	struct link *l = tcaches.next;

	if (was_alone) {
		if (own != &tcache_none)
			be_first(own);
		return;
	}
	lock_init(&tcaches_lock);
	while (l != &tcaches) {
		struct tcache *t = container_of(l, struct tcache, link);
		l = l->next;
		if (t->is_explicit) {
			counter_add(&t->arena->threads, 1);
			repair(t);
		}
		/* Its own, and what belongs to no thread. */
		if (t == own || t->is_parked || t->is_explicit ||
		    (t->is_bound && is_site_of(own, t)))
			continue;
		list_remove(&t->link);
		count_ended(t);
		counter_sub(&process_capacity, t->capacity_bytes);
	}
	if (own == &tcache_none)
		return;
	counter_add(&own->arena->threads, 1);
	be_first(own);
	for (struct tcache *site = own->sites; site; site = site->next_site)
		counter_add(&site->arena->threads, 1);
}

/* What is on its way home in the thread's parcels. */
RACY_READER static void look_at_parcels(const struct tcache *t, struct tcache_view *view)
{
	for (unsigned i = 0; i < OPEN_PARCELS; i++) {
		const struct parcel *p = t->parcels[i];
		/* It may be in the making, or another piece of memory by now. */
		const struct arena *arena = p ? arena_get(p->arena) : NULL;
		/* As arena_parcel_objects, but racy. */
		bool is_void = !arena || p->generation != flag_load(&arena->generation);
		for (size_t k = 0; !is_void && k < p->count && k < PARCEL_OBJECTS; k++)
			view->entries[view->remote++] =
			    (uint16_t)page_map_get(p->objects[k]);
	}
}

RACY_READER void tcaches_visit(void (*visit)(const struct tcache_view *, void *),
    void *context, size_t hits[LAYERS], size_t misses[LAYERS])
{
	struct tcache_view view;

	lock_acquire(&tcaches_lock);
	memcpy(hits, ended_hits, sizeof(ended_hits));
	memcpy(misses, ended_misses, sizeof(ended_misses));
	for (struct link *l = tcaches.next; l != &tcaches; l = l->next) {
		const struct tcache *t = container_of(l, struct tcache, link);
		tcache_look(t, getpid(), &view);
		look_at_parcels(t, &view);
		visit(&view, context);
	}
	lock_release(&tcaches_lock);
}

const struct tcache_places tcache_places = { &tcaches, ended_hits, ended_misses };
