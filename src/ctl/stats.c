#include "ctl/stats.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena/background.h"
#include "page/metadata.h"
#include "page/os.h"

static void add_lock(struct stats *stats, const struct lock *lock)
{
	stats->locks_acquired += counter_get(&lock->acquired);
	stats->locks_contended += lock_contended(lock);
}

static void add_arena(struct stats *stats, struct arena *arena)
{
	stats->arenas++;
	stats->remote_frees += counter_get(&arena->inbox.received);
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		const struct bin *bin = &arena->bins[c];
		size_t depot = bin_depot_bytes(bin);
		stats->live[c] += counter_get(&bin->live);
		stats->slabs += counter_get(&bin->slabs);
		stats->depot_bytes += depot;
		add_lock(stats, &bin->lock);
	}
}

void stats_collect(struct stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	for (unsigned id = 1; id <= arenas_max(); id++) {
		struct arena *arena = arena_get(id);
		if (arena)
			add_arena(stats, arena);
	}
	stats->arenas_in_use = flag_load(&arenas_in_use);
	page_heap_stats(&stats->heap);
	whale_stats(&stats->whales);
	tcache_stats(&stats->tcaches);
	add_lock(stats, &page_heap_lock);
	add_lock(stats, &whale_lock);
	add_lock(stats, &page_map_lock);
	add_lock(stats, &metadata_lock);
	size_t taken = stats->whales.live_bytes;
	for (size_t c = 1; c < CLASS_WHALE; c++)
		taken += stats->live[c] * size_class_size(c);
	size_t resting = stats->depot_bytes + stats->tcaches.bytes;
	stats->allocated = taken > resting ? taken - resting : 0;
	stats->active = stats->heap.active + stats->whales.live_bytes;
	stats->metadata = metadata_bytes() + page_map_bytes();
	stats->mapped = stats->heap.mapped + stats->whales.live_bytes +
	    stats->whales.cached_bytes;
}

struct printer {
	void (*write)(void *, const char *);
	void *opaque;
};

static void to_stderr(void *unused, const char *text)
{
	(void)unused;
	if (write(STDERR_FILENO, text, strlen(text)) < 0) {
		/* Nobody left to tell. */
	}
}

static void print(const struct printer *printer, const char *layer,
    const char *name, size_t value)
{
	char line[96];

	snprintf(line, sizeof(line), "%s%s%s: %zu\n", layer, *layer ? "." : "",
	    name, value);
	printer->write(printer->opaque, line);
}

void stats_print(void (*write_cb)(void *, const char *), void *opaque)
{
	static const char *const layers[] = { "tiny", "l2", "l25", "whale" };
	struct printer printer = { write_cb ? write_cb : to_stderr, opaque };
	struct stats s;

	stats_collect(&s);
	s.tcaches.hits[LAYER_WHALE] = s.whales.hits;
	s.tcaches.misses[LAYER_WHALE] = s.whales.misses;
	print(&printer, "", "allocated", s.allocated);
	print(&printer, "", "active", s.active);
	print(&printer, "", "dirty", s.heap.dirty + s.whales.cached_bytes);
	print(&printer, "", "muzzy", s.heap.muzzy);
	print(&printer, "", "mapped", s.mapped);
	print(&printer, "", "metadata", s.metadata);
	print(&printer, "", "purged", s.heap.purged);
	print(&printer, "", "tcache_bytes", s.tcaches.bytes);
	print(&printer, "", "tcache_capacity", s.tcaches.capacity_bytes);
	print(&printer, "", "depot_bytes", s.depot_bytes);
	print(&printer, "", "threads", s.tcaches.threads);
	print(&printer, "", "narenas", arenas_max());
	print(&printer, "", "arenas_in_use", s.arenas_in_use);
	print(&printer, "", "slabs", s.slabs);
	print(&printer, "", "remote_frees", s.remote_frees);
	for (int layer = 0; layer < LAYERS; layer++) {
		print(&printer, layers[layer], "hits", s.tcaches.hits[layer]);
		print(&printer, layers[layer], "misses", s.tcaches.misses[layer]);
	}
	print(&printer, "whale", "bytes", s.whales.live_bytes);
	print(&printer, "whale", "cached_bytes", s.whales.cached_bytes);
	print(&printer, "locks", "acquired", s.locks_acquired);
	print(&printer, "locks", "contended", s.locks_contended);
	print(&printer, "", "background_threads", background_is_running());
}
