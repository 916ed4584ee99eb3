#include "ctl/collect.h"

#include <string.h>
#include <time.h>

#include "arena/background.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"
#include "tcache/view.h"

_Static_assert(SNAPSHOT_NAME == ARENA_NAME, "a name fits");

AO_t collect_zero_reallocs;
AO_t collect_soft_purges;
AO_t collect_pressure_reads, collect_pressure_some, collect_pressure_purges;

struct lock *const collect_locks[MUTEXES] = {
	[MUTEX_ARENAS] = &arenas_lock, [MUTEX_TCACHES] = &tcaches_lock,
	[MUTEX_PAGE_HEAP] = &page_heap_lock, [MUTEX_WHALE] = &whale_lock,
	[MUTEX_PAGE_MAP] = &page_map_lock, [MUTEX_METADATA] = &metadata_lock,
};

uint64_t collect_started_ns;

uint64_t collect_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void collect_init(void)
{
	collect_started_ns = collect_now_ns();
}

unsigned collect_rows(void)
{
	return arenas_max() + 1;
}

static struct snapshot_lock lock_view(const struct lock *lock)
{
	return (struct snapshot_lock) {
		.acquired = counter_get(&lock->acquired),
		.contended = lock_contended(lock),
		.waited_ns = counter_get(&lock->waited_ns),
	};
}

static void lock_add(struct snapshot_lock *sum, const struct snapshot_lock *lock)
{
	sum->acquired += lock->acquired;
	sum->contended += lock->contended;
	sum->waited_ns += lock->waited_ns;
}

/* How far s is filled is not read from there: a segment is open to others. */
struct collection {
	struct snapshot *s;
	unsigned rows, thread_rows;
};

/* The row of an arena's id; NULL: there is no room for it. */
static struct snapshot_arena *row_of(const struct collection *c, unsigned id)
{
	return id < c->rows ? &c->s->arenas[id] : NULL;
}

/* The row of a thread's cache; NULL: it is none, or there is no room. */
static struct snapshot_thread *thread_row(struct collection *c,
    const struct tcache_view *view)
{
	if (!view->is_thread && !view->is_site)
		return NULL;
	for (unsigned i = 0; i < c->thread_rows; i++)
		if (c->s->threads[i].tid == view->tid)
			return &c->s->threads[i];
	if (c->thread_rows == SNAPSHOT_THREADS)
		return NULL;
	struct snapshot_thread *row = &c->s->threads[c->thread_rows++];
	*row = (struct snapshot_thread) { .tid = view->tid };
	return row;
}

static void visit_tcache(const struct tcache_view *view, void *context)
{
	struct collection *c = context;
	struct snapshot *s = c->s;
	struct snapshot_arena *row = row_of(c, view->arena_id);
	struct snapshot_thread *thread = thread_row(c, view);
	size_t bytes = 0, hits = 0, misses = 0;

	for (size_t k = 1; k < CLASS_WHALE; k++) {
		s->arenas[0].bins[k].cached += view->objects[k];
		s->arenas[0].bins[k].nmalloc += view->allocs[k];
		bytes += view->objects[k] * size_class_size(k);
		if (row) {
			row->bins[k].cached += view->objects[k];
			row->bins[k].nmalloc += view->allocs[k];
		}
	}
	for (size_t k = 0; k < view->remote; k++) {
		size_t class = view->entries[k] % CLASSES;
		struct snapshot_arena *owner = row_of(c, view->entries[k] >> LG_CLASSES);
		if (class == CLASS_NONE || class >= CLASS_WHALE)
			continue;
		s->arenas[0].bins[class].cached++;
		bytes += size_class_size(class);
		if (owner && owner != s->arenas)
			owner->bins[class].cached++;
	}
	for (int layer = 0; layer < LAYER_WHALE; layer++) {
		s->layers[layer].hits += view->hits[layer];
		s->layers[layer].misses += view->misses[layer];
		s->layers[layer].capacity += view->capacity[layer];
		hits += view->hits[layer];
		misses += view->misses[layer];
	}
	s->nthreads += view->is_thread;
	s->arenas[0].nthreads += view->is_thread;
	if (row && row != s->arenas)
		row->nthreads += view->is_thread || view->is_site;
	if (!thread)
		return;
	if (view->is_thread)
		thread->arena = view->arena_id - 1;
	thread->allocated += view->allocated;
	thread->deallocated += view->freed;
	thread->cached += bytes;
	thread->capacity += view->capacity_bytes;
	thread->hits += hits;
	thread->misses += misses;
}

static void add_tcaches(struct collection *c)
{
	size_t hits[LAYERS], misses[LAYERS];

	tcaches_visit(visit_tcache, c, hits, misses);
	for (int layer = 0; layer < LAYER_WHALE; layer++) {
		c->s->layers[layer].hits += hits[layer];
		c->s->layers[layer].misses += misses[layer];
	}
}

/* One class of an arena: what its bin counts. The bin's live is what is not free
 * in a slab; what of it lies in caches is taken off in the end. */
static void add_bin(const struct bin *bin, struct snapshot_bin *row)
{
	struct snapshot_lock lock = lock_view(&bin->lock);

	row->nmalloc += counter_get(&bin->allocs);
	row->live += counter_get(&bin->live);
	row->depot += bin_depot_objects(bin);
	row->nfills += counter_get(&bin->refills);
	row->nflushes += counter_get(&bin->flushes);
	row->nslabs += counter_get(&bin->slabs_made);
	row->curslabs += counter_get(&bin->slabs);
	row->empty_slabs += counter_get(&bin->empties);
	lock_add(&row->lock, &lock);
}

static void add_arena(struct collection *c, struct arena *arena)
{
	struct snapshot *s = c->s;
	struct snapshot_arena *sum = &s->arenas[0], *row = row_of(c, arena->id);
	struct whale_owner whales = whale_owner_stats(arena->id);
	size_t own_decay = flag_load(&arena->dirty_decay_ms);

	for (size_t k = 1; k < CLASS_WHALE; k++) {
		const struct bin *bin = &arena->bins[k];
		sum->purged_bytes += counter_get(&bin->purged_bytes);
		add_bin(bin, &sum->bins[k]);
		if (!row)
			continue;
		row->purged_bytes += counter_get(&bin->purged_bytes);
		add_bin(bin, &row->bins[k]);
	}
	sum->remote_frees += counter_get(&arena->inbox.received);
	if (!row)
		return;
	row->is_made = 1;
	row->remote_frees = counter_get(&arena->inbox.received);
	row->soft_bytes = flag_load(&arena->soft_bytes);
	row->uptime_ns = (os_now_ms() - arena->made_ms) * 1000000;
	row->dirty_decay_ms = own_decay == ARENA_INHERITS ? s->dirty_decay_ms :
	    (int64_t)own_decay;
	row->muzzy_decay_ms = s->muzzy_decay_ms;
	row->whales = whales.live;
	row->whale_bytes = whales.live_bytes;
	row->whale_nmalloc = whales.nmalloc;
	arena_get_name(arena, row->name);
	row->rules = counter_get(&arena->rules);
}

/* Take off what lies in caches; what is left is the program's. */
static void finish_arena(struct snapshot_arena *a)
{
	for (size_t k = 1; k < CLASS_WHALE; k++) {
		struct snapshot_bin *b = &a->bins[k];
		uint64_t resting = b->cached + b->depot;
		b->live = b->live > resting ? b->live - resting : 0;
		b->ndalloc = b->nmalloc > b->live ? b->nmalloc - b->live : 0;
	}
}

static void add_classes(struct snapshot *s)
{
	for (size_t k = 1; k < CLASS_WHALE; k++)
		s->classes[k] = (struct snapshot_class) {
			.size = size_classes[k].size,
			.slots = size_classes[k].slots,
			.slab_bytes = size_classes[k].granules * (uint32_t)GRANULE,
			.layer = size_class_layer(k),
		};
}

static void add_mutexes(struct snapshot *s)
{
	struct snapshot_lock all = { 0, 0, 0 };

	for (int i = 0; i < MUTEXES; i++) {
		s->mutexes[i] = lock_view(collect_locks[i]);
		lock_add(&all, &s->mutexes[i]);
	}
	for (size_t k = 1; k < CLASS_WHALE; k++)
		lock_add(&all, &s->arenas[0].bins[k].lock);
	s->locks_acquired = all.acquired;
	s->locks_contended = all.contended;
	s->locks_waited_ns = all.waited_ns;
}

/* The sums over everything, from what is in the rows by now. */
static void add_totals(struct snapshot *s)
{
	struct snapshot_arena *a = &s->arenas[0];
	struct whale_stats whales;
	struct page_heap_stats heap;
	uint64_t taken = 0, slabs = 0;

	page_heap_stats(&heap);
	whale_stats(&whales);
	for (size_t k = 1; k < CLASS_WHALE; k++) {
		uint64_t size = s->classes[k].size;
		enum layer layer = size_class_layer(k);
		s->tcache_bytes += a->bins[k].cached * size;
		s->depot_bytes += a->bins[k].depot * size;
		s->layers[layer].bytes += a->bins[k].cached * size;
		taken += (a->bins[k].live + a->bins[k].cached + a->bins[k].depot) * size;
		slabs += a->bins[k].curslabs * s->classes[k].slab_bytes;
		s->allocated += a->bins[k].live * size;
	}
	s->whales = whales.live;
	s->whale_bytes = a->whale_bytes;
	s->whale_cached = whales.cached_bytes;
	s->whale_slack_bytes = whales.live_bytes > a->whale_bytes ?
	    whales.live_bytes - a->whale_bytes : 0;
	s->layers[LAYER_WHALE].hits = whales.hits;
	s->layers[LAYER_WHALE].misses = whales.misses;
	s->layers[LAYER_WHALE].bytes = whales.cached_bytes;
	s->layers[LAYER_WHALE].capacity = whale_cache_room();
	s->allocated += s->whale_bytes;
	/* Slabs that come or go between two looks must not turn the order over. */
	uint64_t in_slabs = slabs > a->purged_bytes ? slabs - a->purged_bytes : 0;
	if (in_slabs < taken)
		in_slabs = taken;
	s->slab_free_bytes = in_slabs - taken;
	s->active = in_slabs + whales.live_bytes;
	if (s->active < s->allocated)
		s->active = s->allocated;
	s->dirty = heap.dirty + whales.cached_bytes;
	s->muzzy = heap.muzzy;
	s->metadata = metadata_resident() + page_map_resident();
	s->resident = s->active + s->dirty + s->muzzy + s->metadata;
	s->mapped = heap.mapped + whales.live_bytes + whales.cached_bytes +
	    metadata_bytes() + page_map_bytes();
	if (s->mapped < s->resident)
		s->mapped = s->resident;
	s->retained = s->mapped - s->resident;
	s->purged = heap.purged;
	s->npurges = heap.npurges;
}

static void add_settings(struct snapshot *s)
{
	struct background_stats background = background_stats();
	size_t layers = flag_load(&settings.layers);

	for (int layer = 0; layer < LAYERS; layer++)
		s->layers[layer].enabled = layers >> layer & 1;
	s->narenas = arenas_max();
	s->arenas_in_use = flag_load(&arenas_in_use);
	s->dirty_decay_ms = setting_ms(&settings.dirty_decay_ms);
	s->muzzy_decay_ms = setting_ms(&settings.muzzy_decay_ms);
	s->whale_max_bytes = flag_load(&settings.whale_max_bytes);
	s->soft_bytes = flag_load(&settings.soft_bytes);
	s->background_threads = background.threads;
	s->background_runs = background.runs;
	s->background_interval_ns = background.interval_ns;
	s->zero_reallocs = counter_get(&collect_zero_reallocs);
	s->soft_purges = counter_get(&collect_soft_purges);
	s->pressure_reads = counter_get(&collect_pressure_reads);
	s->pressure_some = counter_get(&collect_pressure_some);
	s->pressure_purges = counter_get(&collect_pressure_purges);
	s->pressure_enabled = flag_load(&settings.pressure);
	s->pressure_threshold = flag_load(&settings.pressure_threshold);
}

void collect(struct snapshot *s, unsigned rows)
{
	struct collection c = { s, rows < collect_rows() ? rows : collect_rows(), 0 };
	uint64_t epoch = s->epoch;

	/* Rows of arenas that were never made stay zero, and are not looked at: so
	 * they stay without memory. */
	memset(s, 0, offsetof(struct snapshot, threads));
	for (unsigned id = 0; id < c.rows; id++)
		if (id == 0 || arena_get(id))
			memset(&s->arenas[id], 0, sizeof(s->arenas[id]));
	s->epoch = epoch + 1;
	s->arena_rows = c.rows;
	s->taken_ns = collect_now_ns();
	s->uptime_ns = s->taken_ns - collect_started_ns;
	add_settings(s);
	add_classes(s);
	/* What waits in an inbox is nobody's: home with it first. */
	for (unsigned id = 1; id <= arenas_max(); id++)
		if (arena_get(id))
			arena_drain_inbox(arena_get(id));
	add_tcaches(&c);
	s->thread_rows = c.thread_rows;
	for (unsigned id = 1; id <= arenas_max(); id++)
		if (arena_get(id))
			add_arena(&c, arena_get(id));
	struct snapshot_arena *sum = &s->arenas[0];
	sum->is_made = 1;
	sum->uptime_ns = s->uptime_ns;
	sum->dirty_decay_ms = s->dirty_decay_ms;
	sum->muzzy_decay_ms = s->muzzy_decay_ms;
	for (unsigned id = 0; id <= arenas_max(); id++) {
		struct whale_owner whales = whale_owner_stats(id);
		sum->whales += whales.live;
		sum->whale_bytes += whales.live_bytes;
		sum->whale_nmalloc += whales.nmalloc;
	}
	for (unsigned id = 0; id < c.rows; id++)
		if (id == 0 || arena_get(id))
			finish_arena(&s->arenas[id]);
	add_totals(s);
	add_mutexes(s);
}
