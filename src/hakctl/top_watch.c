#define _GNU_SOURCE
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "hakctl/stats.h"
#include "hakctl/top.h"

#define PROCESSES 4096
/* All of them are to fit in the interval, those that hang, too. */
#define WAIT_TOP_MS 100
#define WAIT_SILENT_MS 5
/* Looks for which an ended process stays in the list. */
#define TICKS_ENDED 5
/* Looks after which a process that says nothing may be another program by now. */
#define TICKS_SILENT 5

/* ---- Numbers ---- */

double watch_rate(const struct watch *w, uint64_t now, uint64_t before)
{
	return w->seconds > 0 ? (double)stats_grown(now, before) / w->seconds : 0;
}

void watch_layer(const struct watch *w, unsigned layer, uint64_t *hits,
    uint64_t *misses)
{
	const struct snapshot_layer *now = &w->target.snapshot->layers[layer];

	*hits = *misses = 0;
	if (!w->before || w->seconds <= 0)
		return;
	*hits = stats_grown(now->hits, w->before->layers[layer].hits);
	*misses = stats_grown(now->misses, w->before->layers[layer].misses);
}

void watch_hits(const struct watch *w, uint64_t *hits, uint64_t *misses)
{
	uint64_t h, m;

	*hits = *misses = 0;
	for (unsigned layer = 0; layer < LAYERS; layer++) {
		watch_layer(w, layer, &h, &m);
		*hits += h;
		*misses += m;
	}
}

double watch_class_rate(const struct watch *w, unsigned class)
{
	const struct snapshot *now = w->target.snapshot;

	return w->before ? watch_rate(w, now->arenas[0].bins[class].nmalloc,
	    w->before->arenas[0].bins[class].nmalloc) : 0;
}

uint64_t watch_remote_frees(const struct watch *w, uint32_t row)
{
	if (!w->before || row >= w->before->arena_rows)
		return 0;
	return stats_grown(w->target.snapshot->arenas[row].remote_frees,
	    w->before->arenas[row].remote_frees);
}

/* ---- The past ---- */

static void push(const struct watch *w, struct series *series, double value)
{
	series->values[w->samples % TOP_HISTORY] = (float)value;
}

/* A series for each arena that there is by now. */
static bool have_arenas(struct watch *w, uint32_t rows)
{
	if (rows <= w->arena_rows)
		return true;
	struct series *arenas = realloc(w->arenas, rows * sizeof(*arenas));
	if (!arenas)
		return false;
	memset(arenas + w->arena_rows, 0, (rows - w->arena_rows) * sizeof(*arenas));
	w->arenas = arenas;
	w->arena_rows = rows;
	return true;
}

static void record_arenas(struct watch *w)
{
	const struct snapshot *s = w->target.snapshot;

	if (!have_arenas(w, s->arena_rows))
		return;
	for (uint32_t row = 1; row < s->arena_rows; row++)
		push(w, &w->arenas[row], s->arenas[row].is_made ?
		    (double)stats_of_arena(s, CTL_ROW_arena_allocated, row - 1) : 0);
}

static void record(struct watch *w)
{
	const struct snapshot *s = w->target.snapshot;
	uint64_t hits, misses;

	push(w, &w->allocated, (double)s->allocated);
	push(w, &w->resident, (double)s->resident);
	watch_hits(w, &hits, &misses);
	push(w, &w->allocations, watch_rate(w, hits + misses, 0));
	for (unsigned layer = 0; layer < LAYERS; layer++) {
		watch_layer(w, layer, &hits, &misses);
		push(w, &w->hits[layer], watch_rate(w, hits, 0));
	}
	for (unsigned class = 1; class < CLASS_WHALE; class++)
		push(w, &w->classes[class], watch_class_rate(w, class));
	record_arenas(w);
	w->samples++;
}

/* ---- One process ---- */

static void watch_free(struct watch *w)
{
	target_close(&w->target);
	free(w->before);
	free(w->arenas);
	free(w);
}

static struct snapshot *copy_of(const struct target *target)
{
	struct snapshot *copy = malloc(target->snapshot_bytes);

	if (copy)
		memcpy(copy, target->snapshot, target->snapshot_bytes);
	return copy;
}

static void end(struct watch *w, const char *why)
{
	w->has_ended = true;
	w->seconds = 0;
	w->trouble = why;
}

/* It execs, and what it is then has a segment of its own, or none. */
static void attach_anew(struct watch *w)
{
	struct target next;
	enum target_result result = target_open(&next, w->target.pid);

	if (result == TARGET_NOT_HAKMEM)
		end(w, "no longer runs on hakmem");
	if (result != TARGET_OK)
		return;
	if (target_refresh(&next, WAIT_SILENT_MS) != TARGET_OK) {
		target_close(&next);
		return;
	}
	target_close(&w->target);
	w->target = next;
	free(w->before);
	w->before = NULL;
}

static void renew_watch(struct watch *w)
{
	struct snapshot *before = copy_of(&w->target);
	enum target_result result = target_refresh(&w->target,
	    w->ticks_silent ? WAIT_SILENT_MS : WAIT_TOP_MS);
	bool is_new = result == TARGET_OK && before &&
	    w->target.snapshot->taken_ns > before->taken_ns;

	w->seconds = is_new ?
	    (double)(w->target.snapshot->taken_ns - before->taken_ns) / 1e9 : 0;
	free(w->before);
	w->before = before;
	w->trouble = result == TARGET_OK ? NULL : target_explain(result);
	if (result == TARGET_NO_PROCESS)
		end(w, "ended");
	else if (result == TARGET_NOT_HAKMEM)
		end(w, "no longer runs on hakmem");
	else if (result == TARGET_OK && !w->target.is_fresh)
		w->trouble = target_silence(&w->target);
}

static void update(struct watch *w)
{
	if (w->has_ended) {
		w->ticks_ended++;
		return;
	}
	renew_watch(w);
	w->ticks_silent = w->trouble ? w->ticks_silent + 1 : 0;
	if (!w->has_ended && w->ticks_silent && w->ticks_silent % TICKS_SILENT == 0 &&
	    !target_is_stopped(&w->target))
		attach_anew(w);
	record(w);
}

/* ---- All of them ---- */

struct watch *watches_find(const struct watches *all, pid_t pid)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i]->target.pid == pid && !all->list[i]->has_ended)
			return all->list[i];
	return NULL;
}

static bool have_room(struct watches *all)
{
	if (all->count < all->capacity)
		return true;
	size_t capacity = all->capacity ? 2 * all->capacity : 16;
	struct watch **list = realloc(all->list, capacity * sizeof(*list));
	if (!list)
		return false;
	all->list = list;
	all->capacity = capacity;
	return true;
}

/* What may not be looked at, or ended meanwhile, is not listed. */
static void add(struct watches *all, pid_t pid)
{
	struct watch *w = have_room(all) ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return;
	if (target_open(&w->target, pid) != TARGET_OK) {
		free(w);
		return;
	}
	if (target_refresh(&w->target, WAIT_TOP_MS) != TARGET_OK) {
		watch_free(w);
		return;
	}
	if (!w->target.is_fresh)
		w->trouble = target_silence(&w->target);
	record(w);
	all->list[all->count++] = w;
}

static void drop_ended(struct watches *all, const struct watch *keep)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct watch *w = all->list[i];
		if (w->ticks_ended > TICKS_ENDED && w != keep)
			watch_free(w);
		else
			all->list[kept++] = w;
	}
	all->count = kept;
}

bool watches_update(struct watches *all, const struct watch *keep)
{
	static pid_t pids[PROCESSES];
	int n = target_find(NULL, false, pids, PROCESSES);

	for (size_t i = 0; i < all->count; i++)
		update(all->list[i]);
	drop_ended(all, keep);
	for (int i = 0; i < n; i++)
		if (!watches_find(all, pids[i]))
			add(all, pids[i]);
	if (all->named && !watches_find(all, all->named))
		add(all, all->named);
	return n >= 0;
}

void watches_free(struct watches *all)
{
	for (size_t i = 0; i < all->count; i++)
		watch_free(all->list[i]);
	free(all->list);
	*all = (struct watches) { 0 };
}
