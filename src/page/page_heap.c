#include "page/page_heap.h"

#include "base/list.h"
#include "base/log.h"
#include "base/options.h"
#include "page/decay.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/whale.h"

__extension__ typedef unsigned __int128 mask;

#define ALL_GRANULES (~(mask)0)
_Static_assert(CHUNK_GRANULES == 128, "a mask has a bit for each granule");

/* What is passed where somebody else's mapping lies below the heap. */
#define PASSED (64 * MiB)
/* Runs that are kept as they were freed. */
#define RECENT 255u
/* A run that is longer by no more than this share is split while those stay; else they
 * join their neighbours first. (With any of up to twice the length vectors that grow take
 * 1.07 x the memory.) */
#define FIT_SHARE 4u
/* Runs given back in one go, so long as they are taken out of the heap. */
#define PURGE_BATCH 32

enum state { DIRTY, MUZZY, STATES };

struct chunk {
	/* In the list of by_run[free_run], its longest run of free granules, and
	 * of dirty_by_run[dirty_run], the longest dirty one; in none at 0. */
	struct link by_run, dirty_by_run;
	struct link all;
	/* By when a granule last came into the state (joined, if dirty), oldest first. */
	struct link order[STATES];
	char *base;
	mask free;
	mask state[STATES];
	uint8_t free_run, dirty_run;
};

/* A run that was freed lately. To the masks it is in use. */
struct recent {
	struct chunk *chunk;
	uint8_t first, next; /* next: of the same length, or unused; 0: none */
};

struct run_index {
	struct link lists[CHUNK_GRANULES + 1];
	uint64_t nonempty[CHUNK_GRANULES / 64 + 1];
};

struct lock page_heap_lock = LOCK_INITIALIZER;

/* All guarded by page_heap_lock. */
static struct {
	bool initialized;
	struct run_index by_run, dirty_by_run;
	struct link order[STATES];
	struct link all;
	size_t granules[STATES]; /* with those of recent */
	/* Entries by number, from 1: to recent_made they were used. Lists: the last run of
	 * each side and length first, and what is unused. recent_lengths: a bit a length,
	 * from 1, of which there is one. */
	struct recent recent[RECENT + 1];
	uint8_t recent_of[SIDES][CHUNK_GRANULES + 1], recent_unused, recent_made;
	mask recent_lengths[SIDES];
	struct decay decay[STATES];
	char *lowest; /* chunk: the next goes below */
	AO_t mapped, active, purged, npurges;
} heap;

static unsigned mask_lowest(mask m)
{
	uint64_t low = (uint64_t)m;

	return low ? (unsigned)__builtin_ctzl(low) :
	    64 + (unsigned)__builtin_ctzl((uint64_t)(m >> 64));
}

static unsigned mask_highest(mask m)
{
	uint64_t high = (uint64_t)(m >> 64);

	return high ? 127 - (unsigned)__builtin_clzl(high) :
	    63 - (unsigned)__builtin_clzl((uint64_t)m);
}

static size_t mask_count(mask m)
{
	return m ? (size_t)(__builtin_popcountl((uint64_t)m) +
	    __builtin_popcountl((uint64_t)(m >> 64))) : 0;
}

static mask mask_run(unsigned first, size_t n)
{
	return (n == CHUNK_GRANULES ? ALL_GRANULES : ((mask)1 << n) - 1) << first;
}

/* Bits at which n consecutive ones start. */
static mask run_starts(mask m, size_t n)
{
	for (size_t have = 1; have < n && m;) {
		size_t step = have < n - have ? have : n - have;
		m &= m >> step;
		have += step;
	}
	return m;
}

/* The run of ones in m, from that bit upwards. */
static unsigned run_length(mask m, unsigned first)
{
	mask gaps = ~(m >> first);

	return gaps ? mask_lowest(gaps) : CHUNK_GRANULES;
}

/* The whole of it. */
static unsigned run_around(mask m, unsigned bit)
{
	mask gaps_below = ~m & (((mask)1 << bit) - 1);

	return run_length(m, gaps_below ? mask_highest(gaps_below) + 1 : 0);
}

static unsigned longest_run(mask m)
{
	unsigned longest = 0, left = CHUNK_GRANULES;

	while (m && longest < left) {
		unsigned first = mask_lowest(m), length = run_length(m, first);
		if (length > longest)
			longest = length;
		left = CHUNK_GRANULES - first - length;
		m &= ~mask_run(first, length);
	}
	return longest;
}

static void index_init(struct run_index *index)
{
	for (size_t i = 0; i <= CHUNK_GRANULES; i++)
		list_init(&index->lists[i]);
}

/* Of m, where old had that one. What a chunk gains at a time is one run, or it had none. */
static unsigned longest_after(unsigned longest, mask old, mask m)
{
	if (old == m)
		return longest;
	if (longest == 0 || old & ~m)
		return longest_run(m);
	unsigned grown = run_around(m, mask_lowest(m & ~old));
	return grown > longest ? grown : longest;
}

static void index_move(struct run_index *index, struct link *link, uint8_t *run, unsigned to)
{
	unsigned from = *run;

	if (from == to)
		return;
	*run = (uint8_t)to;
	list_remove(link);
	if (from && list_empty(&index->lists[from]))
		index->nonempty[from / 64] &= ~((uint64_t)1 << from % 64);
	if (to) {
		list_push(&index->lists[to], link);
		index->nonempty[to / 64] |= (uint64_t)1 << to % 64;
	}
}

/* A chunk whose longest run is the shortest that has n granules: the densest
 * that will do. */
static struct link *index_find(struct run_index *index, size_t n)
{
	size_t word = n / 64;
	uint64_t bits = index->nonempty[word] & ~(uint64_t)0 << n % 64;

	while (!bits) {
		if (++word > CHUNK_GRANULES / 64)
			return NULL;
		bits = index->nonempty[word];
	}
	return index->lists[word * 64 + (size_t)__builtin_ctzl(bits)].next;
}

/* Change a chunk's masks; the only place that does, so that the lists follow. */
static void chunk_update(struct chunk *chunk, mask free, mask dirty, mask muzzy)
{
	mask state[STATES] = { dirty, muzzy };

	hak_assert(!(dirty & muzzy) && !((dirty | muzzy) & ~free));
	unsigned free_run = longest_after(chunk->free_run, chunk->free, free);
	unsigned dirty_run = dirty == free ? free_run :
	    longest_after(chunk->dirty_run, chunk->state[DIRTY], dirty);
	hak_assert(free_run == longest_run(free) && dirty_run == longest_run(dirty));
	index_move(&heap.by_run, &chunk->by_run, &chunk->free_run, free_run);
	index_move(&heap.dirty_by_run, &chunk->dirty_by_run, &chunk->dirty_run, dirty_run);
	for (int s = 0; s < STATES; s++) {
		mask old = chunk->state[s];
		if (state[s] == old)
			continue;
		heap.granules[s] += mask_count(state[s] & ~old) - mask_count(old & ~state[s]);
		if (!state[s] || state[s] & ~old)
			list_remove(&chunk->order[s]);
		if (state[s] & ~old)
			list_append(&heap.order[s], &chunk->order[s]);
		chunk->state[s] = state[s];
	}
	chunk->free = free;
}

static void heap_init(void)
{
	index_init(&heap.by_run);
	index_init(&heap.dirty_by_run);
	for (int s = 0; s < STATES; s++)
		list_init(&heap.order[s]);
	list_init(&heap.all);
	heap.initialized = true;
}

/* The side that is to serve one of that: its own, or the next that has any; or SIDES. */
static unsigned recent_side(unsigned side, size_t granules)
{
	for (unsigned i = 0; i < SIDES; i++)
		if (heap.recent_of[(side + i) % SIDES][granules])
			return (side + i) % SIDES;
	return SIDES;
}

/* The last of that, which there is, is not kept any more. */
static void recent_take(unsigned side, size_t granules)
{
	unsigned i = heap.recent_of[side][granules];
	struct recent *recent = &heap.recent[i];

	heap.recent_of[side][granules] = recent->next;
	if (!recent->next)
		heap.recent_lengths[side] &= ~mask_run((unsigned)granules - 1, 1);
	recent->next = heap.recent_unused;
	heap.recent_unused = (uint8_t)i;
	heap.granules[DIRTY] -= granules;
}

/* Make them free in the masks, where they join their neighbours. */
static void recent_join(void)
{
	for (unsigned side = 0; side < SIDES; side++) {
		while (heap.recent_lengths[side]) {
			size_t n = mask_lowest(heap.recent_lengths[side]) + 1;
			struct recent *recent = &heap.recent[heap.recent_of[side][n]];
			struct chunk *chunk = recent->chunk;
			mask run = mask_run(recent->first, n);
			recent_take(side, n);
			chunk_update(chunk, chunk->free | run,
			    chunk->state[DIRTY] | run, chunk->state[MUZZY]);
		}
	}
}

/* Of its chunk's granules. */
static unsigned first_of(const struct extent *extent)
{
	return (unsigned)((size_t)(extent->base - extent->chunk->base) / GRANULE);
}

static void recent_add(const struct extent *extent)
{
	size_t granules = extent->size / GRANULE;
	uint8_t *list = &heap.recent_of[extent->side][granules];

	if (!heap.recent_unused && heap.recent_made < RECENT)
		heap.recent_unused = ++heap.recent_made;
	else if (!heap.recent_unused)
		recent_join();
	unsigned i = heap.recent_unused;
	struct recent *recent = &heap.recent[i];
	heap.recent_unused = recent->next;
	*recent = (struct recent) { extent->chunk, (uint8_t)first_of(extent), *list };
	*list = (uint8_t)i;
	heap.recent_lengths[extent->side] |= mask_run((unsigned)granules - 1, 1);
	heap.granules[DIRTY] += granules;
}

static char *map_below(char *above)
{
	return os_map_aligned((uintptr_t)above > CHUNK ? above - CHUNK : NULL, CHUNK, CHUNK);
}

/* Below the last one, so that the system merges them. No more at a time: address space
 * may be limited (RLIMIT_AS) or charged (overcommit mode 2), and a call each 2 MiB is
 * nothing to the 512 page faults that follow. */
static char *chunk_map(void)
{
	char *above = heap.lowest ? heap.lowest : page_map_place(FOR_HEAP);
	char *base = map_below(above);

	if (base && above && base > above) {
		/* Something lies there: pass it, or all that follows would go astray. */
		os_unmap(base, CHUNK);
		base = map_below(above - PASSED);
	}
	if (!base)
		return NULL;
	os_advise_huge(base, CHUNK);
	if (!above || base < above)
		heap.lowest = base;
	counter_add_owned(&heap.mapped, CHUNK);
	return base;
}

static struct chunk *chunk_new(void)
{
	struct chunk *chunk = metadata_alloc(sizeof(*chunk));

	if (!chunk)
		return NULL;
	chunk->base = chunk_map();
	if (!chunk->base) {
		metadata_free(chunk, sizeof(*chunk));
		return NULL;
	}
	list_append(&heap.all, &chunk->all);
	list_init(&chunk->by_run);
	list_init(&chunk->dirty_by_run);
	for (int s = 0; s < STATES; s++)
		list_init(&chunk->order[s]);
	chunk_update(chunk, ALL_GRANULES, 0, 0);
	return chunk;
}

/* Not much longer than what is to be taken out of it? */
static bool fits(const struct link *by_run, size_t granules)
{
	const struct chunk *chunk = container_of(by_run, struct chunk, dirty_by_run);

	return chunk->dirty_run <= granules + granules / FIT_SHARE;
}

/* Holds the lock. *first: of such a run in the chunk's masks. NULL: no memory. */
static struct chunk *find(size_t granules, unsigned *first)
{
	struct link *link = index_find(&heap.dirty_by_run, granules);
	struct chunk *chunk;
	mask free;

	if (!link || !fits(link, granules)) {
		recent_join();
		link = index_find(&heap.dirty_by_run, granules);
	}
	if (link) {
		chunk = container_of(link, struct chunk, dirty_by_run);
		free = chunk->state[DIRTY];
	} else {
		link = index_find(&heap.by_run, granules);
		chunk = link ? container_of(link, struct chunk, by_run) : chunk_new();
		if (!chunk)
			return NULL;
		free = chunk->free;
	}
	*first = mask_lowest(run_starts(free, granules));
	return chunk;
}

/* Holds the lock. */
static bool take(struct extent *extent, size_t granules, bool *zeroed)
{
	unsigned side = recent_side(extent->side, granules), first;
	bool is_recent = side != SIDES;
	struct chunk *chunk;

	if (is_recent) {
		const struct recent *recent = &heap.recent[heap.recent_of[side][granules]];
		chunk = recent->chunk;
		first = recent->first;
	} else if (!(chunk = find(granules, &first))) {
		return false;
	}
	mask run = mask_run(first, granules);
	*zeroed = !is_recent && !(run & (chunk->state[DIRTY] | chunk->state[MUZZY]));
	extent->base = chunk->base + first * GRANULE;
	extent->size = granules * GRANULE;
	extent->chunk = chunk;
	if (!page_map_set(extent))
		return false;
	if (is_recent)
		recent_take(side, granules);
	else
		chunk_update(chunk, chunk->free & ~run, chunk->state[DIRTY] & ~run,
		    chunk->state[MUZZY] & ~run);
	counter_add_owned(&heap.active, extent->size);
	return true;
}

bool page_heap_alloc(struct extent *extent, size_t granules, bool *zeroed)
{
	lock_acquire(&page_heap_lock);
	if (unlikely(!heap.initialized))
		heap_init();
	size_t before = counter_get(&heap.mapped);
	bool done = take(extent, granules, zeroed);
	bool grew = counter_get(&heap.mapped) != before;
	lock_release(&page_heap_lock);
	if (unlikely(grew))
		whale_yield(CHUNK);
	return done;
}

/* Are the granules that run has free in the masks? Holds the lock. */
static bool run_is_free(const struct chunk *chunk, mask run)
{
	if ((chunk->free & run) != run)
		recent_join();
	return (chunk->free & run) == run;
}

bool page_heap_grow(struct extent *extent, size_t granules, bool *zeroed)
{
	struct chunk *chunk = extent->chunk;
	size_t old_size = extent->size, end = first_of(extent) + old_size / GRANULE;
	size_t more = granules - old_size / GRANULE;
	mask run;

	/* Most often somebody is there: no need to lock and join for that. */
	if (end + more > CHUNK_GRANULES || page_map_get(extent->base + old_size))
		return false;
	run = mask_run((unsigned)end, more);
	lock_acquire(&page_heap_lock);
	bool done = run_is_free(chunk, run);
	if (done) {
		extent->size = granules * GRANULE;
		done = page_map_set(extent);
	}
	if (done) {
		*zeroed = !(run & (chunk->state[DIRTY] | chunk->state[MUZZY]));
		chunk_update(chunk, chunk->free & ~run, chunk->state[DIRTY] & ~run,
		    chunk->state[MUZZY] & ~run);
		counter_add_owned(&heap.active, more * GRANULE);
	} else {
		extent->size = old_size;
	}
	lock_release(&page_heap_lock);
	return done;
}

/* Take up to PURGE_BATCH runs, the oldest, out of the heap. Holds the lock. */
static size_t collect(enum state state, size_t want, struct extent *runs)
{
	size_t n = 0, got = 0;

	recent_join();
	while (n < PURGE_BATCH && got < want && !list_empty(&heap.order[state])) {
		struct chunk *chunk = container_of(heap.order[state].next,
		    struct chunk, order[state]);
		unsigned first = mask_lowest(chunk->state[state]);
		size_t length = run_length(chunk->state[state], first);
		mask run = mask_run(first, length);
		runs[n].base = chunk->base + first * GRANULE;
		runs[n].size = length * GRANULE;
		runs[n++].chunk = chunk;
		got += length;
		chunk_update(chunk, chunk->free & ~run, chunk->state[DIRTY] & ~run,
		    chunk->state[MUZZY] & ~run);
	}
	return n;
}

/* Give back at least n granules of the state, if there are. Holds the lock and
 * drops it while the system works. */
static size_t purge(enum state state, size_t n)
{
	bool lazily = state == DIRTY && setting_ms(&settings.muzzy_decay_ms) != 0;
	size_t total = 0;

	while (total < n) {
		struct extent runs[PURGE_BATCH];
		size_t count = collect(state, n - total, runs);
		if (count == 0)
			break;
		lock_release(&page_heap_lock);
		for (size_t i = 0; i < count; i++)
			(lazily ? os_purge_lazily : os_purge)(runs[i].base, runs[i].size);
		lock_acquire(&page_heap_lock);
		for (size_t i = 0; i < count; i++) {
			struct chunk *chunk = runs[i].chunk;
			mask run = mask_run(first_of(&runs[i]), runs[i].size / GRANULE);
			chunk_update(chunk, chunk->free | run, chunk->state[DIRTY],
			    chunk->state[MUZZY] | (lazily ? run : 0));
			total += runs[i].size / GRANULE;
		}
	}
	if (!lazily)
		counter_add_owned(&heap.purged, total * GRANULE);
	if (total)
		counter_add_owned(&heap.npurges, 1);
	return total;
}

/* Holds the lock. */
static size_t purge_decayed(uint64_t now)
{
	const ssize_t decay_ms[STATES] = {
		setting_ms(&settings.dirty_decay_ms),
		setting_ms(&settings.muzzy_decay_ms) };
	size_t total = 0;

	for (int s = 0; s < STATES; s++) {
		size_t limit = decay_limit(&heap.decay[s], decay_ms[s], now,
		    heap.granules[s]);
		if (heap.granules[s] > limit)
			total += purge((enum state)s, heap.granules[s] - limit);
	}
	return total;
}

/* Holds the lock. */
static void give(const struct extent *extent, uint64_t now)
{
	page_map_clear(extent);
	recent_add(extent);
	counter_add_owned(&heap.active, (size_t)0 - extent->size);
	if (decay_is_due(&heap.decay[DIRTY], now) || setting_ms(&settings.dirty_decay_ms) == 0)
		purge_decayed(now);
}

void page_heap_free(struct extent *extent)
{
	uint64_t now = os_now_ms();

	lock_acquire(&page_heap_lock);
	give(extent, now);
	lock_release(&page_heap_lock);
}

void page_heap_shrink(struct extent *extent, size_t granules)
{
	struct extent rest = *extent;
	uint64_t now = os_now_ms();

	rest.base += granules * GRANULE;
	rest.size -= granules * GRANULE;
	lock_acquire(&page_heap_lock);
	extent->size = granules * GRANULE;
	/* It was there, longer: no memory is needed. */
	page_map_set(extent);
	give(&rest, now);
	lock_release(&page_heap_lock);
}

size_t page_heap_purge(bool all)
{
	size_t total = 0;

	lock_acquire(&page_heap_lock);
	if (!heap.initialized)
		heap_init();
	if (!all) {
		total = purge_decayed(os_now_ms());
	} else {
		total = purge(DIRTY, heap.granules[DIRTY]);
		total += purge(MUZZY, heap.granules[MUZZY]);
	}
	lock_release(&page_heap_lock);
	return total * GRANULE;
}

void page_heap_release(void)
{
	struct link *free_chunks = &heap.by_run.lists[CHUNK_GRANULES];
	bool more = true;

	lock_acquire(&page_heap_lock);
	recent_join();
	while (heap.initialized && more && !list_empty(free_chunks)) {
		struct chunk *chunk = container_of(free_chunks->next, struct chunk, by_run);
		mask dirty = chunk->state[DIRTY], muzzy = chunk->state[MUZZY];
		chunk_update(chunk, 0, 0, 0);
		more = os_unmap(chunk->base, CHUNK);
		if (more) {
			counter_add_owned(&heap.mapped, (size_t)0 - CHUNK);
			list_remove(&chunk->all);
			metadata_free(chunk, sizeof(*chunk));
		} else {
			chunk_update(chunk, ALL_GRANULES, dirty, muzzy);
		}
	}
	lock_release(&page_heap_lock);
}

size_t page_heap_active(void)
{
	return counter_get(&heap.active);
}

void page_heap_stats(struct page_heap_stats *stats)
{
	stats->mapped = counter_get(&heap.mapped);
	stats->active = counter_get(&heap.active);
	stats->purged = counter_get(&heap.purged);
	stats->npurges = counter_get(&heap.npurges);
	lock_acquire(&page_heap_lock);
	stats->dirty = heap.granules[DIRTY] * GRANULE;
	stats->muzzy = heap.granules[MUZZY] * GRANULE;
	lock_release(&page_heap_lock);
}

const struct page_heap_places page_heap_places = {
	&heap.mapped, &heap.active, &heap.purged, &heap.npurges, heap.granules
};

static void split(mask m, uint64_t out[2])
{
	out[0] = (uint64_t)m;
	out[1] = (uint64_t)(m >> 64);
}

bool page_heap_view(size_t index, struct chunk_view *view)
{
	struct chunk *chunk = NULL;

	lock_acquire(&page_heap_lock);
	recent_join();
	if (heap.initialized)
		for (struct link *l = heap.all.next; l != &heap.all && !chunk; l = l->next)
			if (index-- == 0)
				chunk = container_of(l, struct chunk, all);
	if (chunk) {
		view->base = chunk->base;
		split(chunk->free, view->free);
		split(chunk->state[DIRTY], view->dirty);
		split(chunk->state[MUZZY], view->muzzy);
	}
	lock_release(&page_heap_lock);
	return chunk != NULL;
}
