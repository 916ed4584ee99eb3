#define _GNU_SOURCE
#include "config.h"


#include "hakctl/stats.h"

static void put(json_t *object, const char *name, uint64_t n)
{
	json_object_set_new(object, name, stats_json_number(n));
}

json_t *stats_json_number(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

/* A share or a rate, where there is something to divide by. */
static void put_quotient(json_t *object, const char *name, double a, double b)
{
	json_object_set_new(object, name, b > 0 ? json_real(a / b) : json_null());
}

static void put_lock(json_t *object, const char *name, const struct snapshot_lock *l)
{
	json_t *lock = json_object();

	put(lock, "acquired", l->acquired);
	put(lock, "contended", l->contended);
	put(lock, "waited_ns", l->waited_ns);
	json_object_set_new(object, name, lock);
}

static void put_totals(json_t *object, const struct snapshot *s)
{
	uint64_t hits, misses;

	for (size_t i = 0; i < stats_totals_count; i++) {
		uint64_t n = stats_total_of(s, &stats_totals[i]);
		/* Decay times alone have a sign. */
		json_object_set_new(object, stats_totals[i].name,
		    stats_totals[i].kind == STATS_MS ? json_integer((json_int_t)n) :
		    stats_json_number(n));
	}
	stats_hits(s, &hits, &misses);
	put_quotient(object, "hit_rate", (double)hits, (double)hits + (double)misses);
	put_quotient(object, "overhead", (double)stats_overhead(s),
	    (double)s->resident);
}

static json_t *layers_json(const struct snapshot *s)
{
	json_t *layers = json_object();

	for (unsigned i = 0; i < LAYERS; i++) {
		const struct snapshot_layer *l = &s->layers[i];
		json_t *layer = json_object();
		json_object_set_new(layer, "enabled", json_boolean(l->enabled));
		put(layer, "hits", l->hits);
		put(layer, "misses", l->misses);
		put(layer, "bytes", l->bytes);
		put(layer, "capacity", l->capacity);
		put_quotient(layer, "hit_rate", (double)l->hits,
		    (double)l->hits + (double)l->misses);
		json_object_set_new(layers, stats_layer_names[i], layer);
	}
	return layers;
}

static uint64_t count_of(const struct snapshot_arena *a, size_t field)
{
	return snapshot_count(a, field, 1, CLASS_WHALE);
}

static json_t *arena_json(const struct snapshot *s, uint32_t row)
{
	const struct snapshot_arena *a = &s->arenas[row];
	json_t *arena = json_object();

	put(arena, "index", row - 1);
	json_object_set_new(arena, "name", json_string(a->name));
	put(arena, "threads", a->nthreads);
	put(arena, "allocated", stats_of_arena(s, CTL_ROW_arena_allocated, row - 1));
	put(arena, "active", snapshot_active(s, a));
	put(arena, "tcache_bytes",
	    stats_of_arena(s, CTL_ROW_arena_tcache_bytes, row - 1));
	put(arena, "depot_bytes", stats_of_arena(s, CTL_ROW_arena_depot_bytes, row - 1));
	put(arena, "purged_bytes", a->purged_bytes);
	put(arena, "objects", count_of(a, offsetof(struct snapshot_bin, live)) + a->whales);
	put(arena, "nmalloc", count_of(a, offsetof(struct snapshot_bin, nmalloc)) +
	    a->whale_nmalloc);
	put(arena, "ndalloc", count_of(a, offsetof(struct snapshot_bin, ndalloc)) +
	    stats_grown(a->whale_nmalloc, a->whales));
	put(arena, "remote_frees", a->remote_frees);
	put(arena, "whales", a->whales);
	put(arena, "whale_allocated_bytes", a->whale_bytes);
	put(arena, "soft_bytes", a->soft_bytes);
	put(arena, "uptime_ns", a->uptime_ns);
	put(arena, "rules", a->rules);
	json_object_set_new(arena, "dirty_decay_ms", json_integer(a->dirty_decay_ms));
	json_object_set_new(arena, "muzzy_decay_ms", json_integer(a->muzzy_decay_ms));
	return arena;
}

/* Those that have a name are sites. */
static json_t *arenas_json(const struct snapshot *s, bool named)
{
	json_t *arenas = json_array();

	for (uint32_t row = 1; row < s->arena_rows; row++)
		if (s->arenas[row].is_made && (!named || s->arenas[row].name[0]))
			json_array_append_new(arenas, arena_json(s, row));
	return arenas;
}

static json_t *class_json(const struct snapshot *s, unsigned k)
{
	const struct snapshot_class *c = &s->classes[k];
	const struct snapshot_bin *b = &s->arenas[0].bins[k];
	json_t *class = json_object();

	put(class, "size", c->size);
	json_object_set_new(class, "layer", json_string(stats_layer_names[c->layer]));
	put(class, "slots", c->slots);
	put(class, "slab_bytes", c->slab_bytes);
	put(class, "live", b->live);
	put(class, "cached", b->cached);
	put(class, "depot", b->depot);
	put(class, "nmalloc", b->nmalloc);
	put(class, "ndalloc", b->ndalloc);
	put(class, "nfills", b->nfills);
	put(class, "nflushes", b->nflushes);
	put(class, "nslabs", b->nslabs);
	put(class, "curslabs", b->curslabs);
	put(class, "empty_slabs", b->empty_slabs);
	put_lock(class, "lock", &b->lock);
	return class;
}

static json_t *classes_json(const struct snapshot *s, unsigned first, unsigned end)
{
	json_t *classes = json_array();

	for (unsigned k = first; k < end; k++)
		json_array_append_new(classes, class_json(s, k));
	return classes;
}

static json_t *mutexes_json(const struct snapshot *s)
{
	json_t *mutexes = json_object();

	for (unsigned i = 0; i < MUTEXES; i++)
		put_lock(mutexes, stats_mutex_names[i], &s->mutexes[i]);
	return mutexes;
}

static json_t *threads_json(const struct stats_view *v)
{
	json_t *threads = json_array();

	for (uint32_t i = 0; i < v->now->thread_rows; i++) {
		const struct snapshot_thread *t = &v->now->threads[i];
		json_t *thread = json_object();
		char name[32];
		stats_thread_name(v->target, t->tid, name, sizeof(name));
		json_object_set_new(thread, "tid", json_integer(t->tid));
		json_object_set_new(thread, "name", json_string(name));
		put(thread, "arena", t->arena);
		put(thread, "allocated", t->allocated);
		put(thread, "deallocated", t->deallocated);
		put(thread, "cached", t->cached);
		put(thread, "capacity", t->capacity);
		put(thread, "hits", t->hits);
		put(thread, "misses", t->misses);
		json_array_append_new(threads, thread);
	}
	return threads;
}

static void put_rate(json_t *rates, const char *name, uint64_t now, uint64_t before,
    double seconds)
{
	put_quotient(rates, name, (double)stats_grown(now, before), seconds);
}

/* What each counter grew by a second. */
static json_t *rates_json(const struct stats_view *v)
{
	json_t *rates = json_object(), *layers = json_object();
	uint64_t hits, misses, hits_before, misses_before;

	stats_hits(v->now, &hits, &misses);
	stats_hits(v->before, &hits_before, &misses_before);
	json_object_set_new(rates, "seconds", json_real(v->seconds));
	put_rate(rates, "allocations", hits + misses, hits_before + misses_before,
	    v->seconds);
	for (size_t i = 0; i < stats_totals_count; i++)
		if (stats_totals[i].is_counter)
			put_rate(rates, stats_totals[i].name,
			    stats_total_of(v->now, &stats_totals[i]),
			    stats_total_of(v->before, &stats_totals[i]), v->seconds);
	for (unsigned i = 0; i < LAYERS; i++) {
		const struct snapshot_layer *now = &v->now->layers[i];
		const struct snapshot_layer *before = &v->before->layers[i];
		json_t *layer = json_object();
		put_rate(layer, "hits", now->hits, before->hits, v->seconds);
		put_rate(layer, "misses", now->misses, before->misses, v->seconds);
		json_object_set_new(layers, stats_layer_names[i], layer);
	}
	json_object_set_new(rates, "layers", layers);
	return rates;
}

static void put_sections(json_t *stats, const struct stats_view *v)
{
	const struct snapshot *s = v->now;

	if (v->sections & STATS_ARENAS)
		json_object_set_new(stats, "arenas", arenas_json(s, false));
	if (v->sections & STATS_BINS)
		json_object_set_new(stats, "bins", classes_json(s, 1, CLASS_L25));
	if (v->sections & STATS_LARGE)
		json_object_set_new(stats, "large", classes_json(s, CLASS_L25, CLASS_WHALE));
	if (v->sections & STATS_MUTEXES)
		json_object_set_new(stats, "mutexes", mutexes_json(s));
	if (v->sections & STATS_THREADS)
		json_object_set_new(stats, "threads", threads_json(v));
	if (v->sections & STATS_SITES)
		json_object_set_new(stats, "sites", arenas_json(s, true));
}

json_t *stats_json(const struct stats_view *v)
{
	json_t *stats = json_object();

	json_object_set_new(stats, "pid", json_integer(v->target->pid));
	json_object_set_new(stats, "command", json_string(v->target->command));
	json_object_set_new(stats, "is_fresh", json_boolean(v->target->is_fresh));
	json_object_set_new(stats, "is_stopped",
	    json_boolean(target_is_stopped(v->target)));
	put(stats, "age_ns", target_age_ns(v->target));
	put(stats, "taken_ns", v->now->taken_ns);
	put(stats, "uptime_ns", v->now->uptime_ns);
	put(stats, "epoch", v->now->epoch);
	put(stats, "rss", v->target->rss);
	put_totals(stats, v->now);
	json_object_set_new(stats, "layers", layers_json(v->now));
	put_sections(stats, v);
	if (v->before)
		json_object_set_new(stats, "rates", rates_json(v));
	return stats;
}
