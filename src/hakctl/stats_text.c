#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hakctl/format.h"
#include "hakctl/grid.h"
#include "hakctl/stats.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BAR 24

static const char *bytes(uint64_t n)
{
	/* Enough for the numbers of one line. */
	static char text[8][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 8;
	return format_bytes(text[next], FORMAT_SIZE, n);
}

/* ---- The head: what matters first ---- */

static void print_title(const struct stats_view *v)
{
	char up[FORMAT_SIZE];
	const struct snapshot *s = v->now;

	printf("%s (%d): up %s, %" PRIu64 " thread%s, %" PRIu64 " of %" PRIu64
	    " arenas in use\n", v->target->command, v->target->pid,
	    format_duration(up, sizeof(up), s->uptime_ns), s->nthreads,
	    s->nthreads == 1 ? "" : "s", s->arenas_in_use, s->narenas);
	if (!v->target->is_fresh)
		printf("It %s: these numbers are %s old.\n", target_silence(v->target),
		    format_duration(up, sizeof(up), target_age_ns(v->target)));
}

static void total_row(struct grid *g, const char *name, uint64_t n, const char *what)
{
	grid_text(g, "%s", name);
	grid_text(g, "%s", bytes(n));
	grid_text(g, "%s", what);
}

static void print_totals(const struct stats_view *v)
{
	const struct snapshot *s = v->now;
	static const char *const headings[] = { "<", "", "<" };
	struct grid g;

	grid_start(&g, headings, COUNT(headings));
	total_row(&g, "allocated", s->allocated, "what the program holds");
	total_row(&g, "active", s->active, "pages in use for it");
	total_row(&g, "resident", s->resident, "memory that hakmem takes, touched or not");
	total_row(&g, "mapped", s->mapped, "address space");
	total_row(&g, "RSS", v->target->rss,
	    "resident in the whole process, by the kernel's count");
	grid_finish(&g, "  ", false);
}

static const char *bar(uint64_t part, uint64_t whole)
{
	static const char full[] = "########################";
	double share = whole ? (double)part / (double)whole : 0;

	_Static_assert(sizeof(full) == BAR + 1, "a full bar");
	return full + BAR - (size_t)((share > 1 ? 1 : share) * BAR + 0.5);
}

/* Where what is resident and not allocated lies. */
static void print_overhead(const struct snapshot *s)
{
	static const char *const headings[] = { "<", "", "", "<" };
	const struct { const char *name; uint64_t n; } parts[] = {
		{ "thread caches", s->tcache_bytes },
		{ "depots", s->depot_bytes },
		{ "free slots in slabs", s->slab_free_bytes },
		{ "behind blocks over 1 MiB", s->whale_slack_bytes },
		{ "dirty pages", s->dirty },
		{ "muzzy pages", s->muzzy },
		{ "metadata", s->metadata },
	};
	char share[FORMAT_SIZE];
	uint64_t over = stats_overhead(s), sum = 0;
	struct grid g;

	printf("\n  overhead: %s (%s of resident) is not allocated, but lies in\n\n", bytes(over),
	    format_percent(share, sizeof(share), over, s->resident));
	grid_start(&g, headings, COUNT(headings));
	for (size_t i = 0; i < COUNT(parts); i++) {
		grid_text(&g, "%s", parts[i].name);
		grid_bytes(&g, parts[i].n);
		grid_percent(&g, parts[i].n, s->resident);
		grid_text(&g, "%s", bar(parts[i].n, over));
		sum += parts[i].n;
	}
	grid_finish(&g, "    ", false);
	/* Parts are counted one after the other while the process goes on. */
	if (over > sum && over - sum > over / 50)
		printf("    and %s that moved while it was counted\n", bytes(over - sum));
}

/* ---- Hit rates ---- */

static void layer_rates(struct grid *g, const struct stats_view *v, unsigned layer)
{
	const struct snapshot_layer *now = &v->now->layers[layer];

	if (v->before) {
		const struct snapshot_layer *before = &v->before->layers[layer];
		uint64_t hits = stats_grown(now->hits, before->hits);
		uint64_t misses = stats_grown(now->misses, before->misses);
		grid_percent(g, hits, hits + misses);
		grid_rate(g, v->seconds > 0 ? (double)hits / v->seconds : 0);
		grid_rate(g, v->seconds > 0 ? (double)misses / v->seconds : 0);
	} else {
		grid_percent(g, now->hits, now->hits + now->misses);
		grid_count(g, now->hits);
		grid_count(g, now->misses);
	}
}

static void layer_fill(struct grid *g, const struct snapshot_layer *l)
{
	grid_bytes(g, l->bytes);
	grid_bytes(g, l->capacity);
}

static void print_layers(const struct stats_view *v)
{
	static const char *const headings[] = { "<layer", "<objects", "<", "hit rate",
		"hits", "misses", "cached", "of at most" };
	struct grid g;

	putchar('\n');
	grid_start(&g, headings, COUNT(headings));
	for (unsigned i = 0; i < LAYERS; i++) {
		grid_text(&g, "%s", stats_layer_names[i]);
		grid_text(&g, "%s", stats_layer_sizes[i]);
		grid_text(&g, "%s", v->now->layers[i].enabled ? "on" : "off");
		layer_rates(&g, v, i);
		layer_fill(&g, &v->now->layers[i]);
	}
	grid_finish(&g, "  ", true);
}

/* ---- The rest of the first page ---- */

static const char *decay(int64_t ms)
{
	static char text[2][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 2;
	return format_duration(text[next], FORMAT_SIZE, (uint64_t)ms * 1000000);
}

static void print_decays(const struct snapshot *s)
{
	if (s->dirty_decay_ms < 0)
		printf("free pages stay\n");
	else if (s->muzzy_decay_ms == 0)
		printf("free pages go within %s\n", decay(s->dirty_decay_ms));
	else if (s->muzzy_decay_ms < 0)
		printf("free pages are muzzy within %s, and stay so\n",
		    decay(s->dirty_decay_ms));
	else
		printf("free pages are muzzy within %s, gone %s later\n",
		    decay(s->dirty_decay_ms), decay(s->muzzy_decay_ms));
}

static void print_activity(const struct snapshot *s)
{
	char a[FORMAT_SIZE], b[FORMAT_SIZE], c[FORMAT_SIZE];

	printf("\n  locks       taken %s times, waited for %s times, %s in all\n",
	    format_count(a, sizeof(a), s->locks_acquired),
	    format_count(b, sizeof(b), s->locks_contended),
	    format_duration(c, sizeof(c), s->locks_waited_ns));
	printf("  given back  %s in %s passes; ", bytes(s->purged),
	    format_count(a, sizeof(a), s->npurges));
	print_decays(s);
	if (s->soft_bytes)
		printf("  soft limit  %s, %s purges for it\n", bytes(s->soft_bytes),
		    format_count(a, sizeof(a), s->soft_purges));
	if (s->pressure_reads)
		printf("  pressure    some task stalled %.2f %% of the time, %s purges for it\n",
		    (double)s->pressure_some / 100,
		    format_count(a, sizeof(a), s->pressure_purges));
}

/* ---- Sections ---- */

static void title(const char *text)
{
	printf("\n%s\n\n", text);
}

/* A counter: how often ever, or a second. */
static void counter_cell(struct grid *g, const struct stats_view *v, uint64_t now,
    uint64_t before)
{
	if (!v->before)
		grid_count(g, now);
	else
		grid_rate(g, v->seconds > 0 ?
		    (double)stats_grown(now, before) / v->seconds : 0);
}

static const struct snapshot_arena *arena_before(const struct stats_view *v,
    uint32_t row)
{
	static const struct snapshot_arena none;

	return v->before && row < v->before->arena_rows ? &v->before->arenas[row] : &none;
}

static uint64_t nmalloc_of(const struct snapshot_arena *a)
{
	return snapshot_count(a, offsetof(struct snapshot_bin, nmalloc), 1,
	    CLASS_WHALE) + a->whale_nmalloc;
}

static void arena_row(struct grid *g, const struct stats_view *v, uint32_t row)
{
	const struct snapshot *s = v->now;
	const struct snapshot_arena *a = &s->arenas[row], *before = arena_before(v, row);
	uint64_t allocated = stats_of_arena(s, CTL_ROW_arena_allocated, row - 1);

	grid_text(g, "%" PRIu32, row - 1);
	grid_text(g, "%s", a->name);
	grid_count(g, a->nthreads);
	grid_bytes(g, allocated);
	grid_percent(g, allocated, s->allocated);
	grid_bytes(g, snapshot_active(s, a));
	grid_bytes(g, stats_of_arena(s, CTL_ROW_arena_tcache_bytes, row - 1));
	grid_bytes(g, stats_of_arena(s, CTL_ROW_arena_depot_bytes, row - 1));
	counter_cell(g, v, nmalloc_of(a), nmalloc_of(before));
	counter_cell(g, v, a->remote_frees, before->remote_frees);
	grid_bytes(g, a->soft_bytes);
}

static void print_arenas(const struct stats_view *v)
{
	static const char *const headings[] = { "arena", "<name", "threads", "allocated",
		"of all", "active", "caches", "depots", "allocations", "remote frees",
		"soft limit" };
	struct grid g;

	title("Arenas");
	grid_start(&g, headings, COUNT(headings));
	for (uint32_t row = 1; row < v->now->arena_rows; row++)
		if (v->now->arenas[row].is_made)
			arena_row(&g, v, row);
	grid_finish(&g, "  ", true);
}

static void class_row(struct grid *g, const struct stats_view *v, unsigned k)
{
	const struct snapshot *s = v->now;
	const struct snapshot_class *c = &s->classes[k];
	const struct snapshot_bin *b = &s->arenas[0].bins[k];
	const struct snapshot_bin *before = &arena_before(v, 0)->bins[k];

	grid_text(g, "%s", bytes(c->size));
	grid_text(g, "%s", stats_layer_names[c->layer]);
	grid_count(g, b->live);
	grid_bytes(g, b->live * c->size);
	grid_percent(g, b->live * c->size, s->allocated);
	grid_count(g, b->cached);
	grid_count(g, b->depot);
	grid_count(g, b->curslabs);
	grid_percent(g, b->live, b->curslabs * c->slots);
	counter_cell(g, v, b->nmalloc, before->nmalloc);
	counter_cell(g, v, b->nfills, before->nfills);
	counter_cell(g, v, b->lock.contended, before->lock.contended);
}

static bool class_matters(const struct stats_view *v, unsigned k)
{
	const struct snapshot_bin *b = &v->now->arenas[0].bins[k];

	return b->nmalloc || b->live || b->curslabs;
}

static void print_bins(const struct stats_view *v)
{
	static const char *const headings[] = { "size", "<layer", "objects", "bytes",
		"of all", "in caches", "in depots", "slabs", "in use", "allocations",
		"fills", "waits" };
	struct grid g;

	title("Classes with slabs (those never used are left out)");
	grid_start(&g, headings, COUNT(headings));
	for (unsigned k = 1; k < CLASS_L25; k++)
		if (class_matters(v, k))
			class_row(&g, v, k);
	grid_finish(&g, "  ", true);
}

static void large_row(struct grid *g, const struct stats_view *v, unsigned k)
{
	const struct snapshot *s = v->now;
	const struct snapshot_bin *b = &s->arenas[0].bins[k];
	uint64_t size = s->classes[k].size;

	grid_text(g, "%s", bytes(size));
	grid_count(g, b->live);
	grid_bytes(g, b->live * size);
	grid_percent(g, b->live * size, s->allocated);
	grid_bytes(g, b->cached * size);
	grid_bytes(g, b->depot * size);
	counter_cell(g, v, b->nmalloc, arena_before(v, 0)->bins[k].nmalloc);
}

static void whale_row(struct grid *g, const struct stats_view *v)
{
	const struct snapshot *s = v->now;

	grid_text(g, "above");
	grid_count(g, s->whales);
	grid_bytes(g, s->whale_bytes);
	grid_percent(g, s->whale_bytes, s->allocated);
	grid_bytes(g, s->whale_cached);
	grid_text(g, "-");
	counter_cell(g, v, s->arenas[0].whale_nmalloc, arena_before(v, 0)->whale_nmalloc);
}

static void print_large(const struct stats_view *v)
{
	static const char *const headings[] = { "size", "objects", "bytes", "of all",
		"in caches", "in depots", "allocations" };
	struct grid g;

	title("Classes above 32 KiB (those never used are left out)");
	grid_start(&g, headings, COUNT(headings));
	for (unsigned k = CLASS_L25; k < CLASS_WHALE; k++)
		if (class_matters(v, k))
			large_row(&g, v, k);
	if (v->now->arenas[0].whale_nmalloc || v->now->whales)
		whale_row(&g, v);
	grid_finish(&g, "  ", true);
}

static void lock_row(struct grid *g, const struct stats_view *v, const char *name,
    const struct snapshot_lock *now, const struct snapshot_lock *before)
{
	char text[FORMAT_SIZE];
	uint64_t waited = stats_grown(now->waited_ns, before->waited_ns);

	grid_text(g, "%s", name);
	counter_cell(g, v, now->acquired, before->acquired);
	counter_cell(g, v, now->contended, before->contended);
	grid_percent(g, stats_grown(now->contended, before->contended),
	    stats_grown(now->acquired, before->acquired));
	grid_text(g, "%s", waited ? format_duration(text, sizeof(text), waited) : "-");
}

static void print_mutexes(const struct stats_view *v)
{
	static const char *const headings[] = { "<lock", "taken", "waited for", "share",
		"waited in all" };
	static const struct snapshot_lock none;
	struct grid g;
	char name[64];

	title("Locks");
	grid_start(&g, headings, COUNT(headings));
	for (unsigned i = 0; i < MUTEXES; i++)
		lock_row(&g, v, stats_mutex_names[i], &v->now->mutexes[i],
		    v->before ? &v->before->mutexes[i] : &none);
	for (unsigned k = 1; k < CLASS_WHALE; k++) {
		const struct snapshot_lock *lock = &v->now->arenas[0].bins[k].lock;
		if (!lock->contended)
			continue;
		snprintf(name, sizeof(name), "bins of %s", bytes(v->now->classes[k].size));
		lock_row(&g, v, name, lock, &arena_before(v, 0)->bins[k].lock);
	}
	grid_finish(&g, "  ", true);
	printf("  Bins that nobody waited for are left out.\n");
}

void stats_thread_name(const struct target *target, int64_t tid, char *name,
    size_t size)
{
	char path[64];
	FILE *file = NULL;

	name[0] = '\0';
	/* In another pid namespace its numbers are not ours. */
	if (tid <= 0 || tid > INT32_MAX || target->header.pid != target->pid)
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%" PRId64 "/comm", target->pid, tid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(name, (int)size, file))
		name[0] = '\0';
	fclose(file);
	name[strcspn(name, "\n")] = '\0';
	format_printable(name);
}

/* Of all of a process's threads the row of the same one before. */
static const struct snapshot_thread *thread_before(const struct stats_view *v,
    const struct snapshot_thread *t)
{
	static const struct snapshot_thread none;

	for (uint32_t i = 0; v->before && i < v->before->thread_rows; i++)
		if (v->before->threads[i].tid == t->tid)
			return &v->before->threads[i];
	return v->before ? t : &none; /* a new one has no rate yet */
}

static void thread_row(struct grid *g, const struct stats_view *v,
    const struct snapshot_thread *t)
{
	const struct snapshot_thread *before = thread_before(v, t);
	uint64_t hits = stats_grown(t->hits, before->hits);
	uint64_t misses = stats_grown(t->misses, before->misses);
	char name[32], held[FORMAT_SIZE];

	stats_thread_name(v->target, t->tid, name, sizeof(name));
	if (t->tid)
		grid_text(g, "%" PRId64, t->tid);
	else
		grid_text(g, "none");
	grid_text(g, "%s", name);
	grid_text(g, "%" PRIu64, t->arena);
	grid_text(g, "%s", format_bytes_signed(held, sizeof(held),
	    (int64_t)(t->allocated - t->deallocated)));
	grid_bytes(g, t->cached);
	grid_bytes(g, t->capacity);
	grid_percent(g, hits, hits + misses);
	counter_cell(g, v, t->hits + t->misses, before->hits + before->misses);
}

static void print_threads(const struct stats_view *v)
{
	static const char *const headings[] = { "thread", "<name", "arena",
		"allocated - freed", "cached", "of at most", "hit rate", "allocations" };
	const struct snapshot *s = v->now;
	struct grid g;

	title("Threads");
	grid_start(&g, headings, COUNT(headings));
	for (uint32_t i = 0; i < s->thread_rows; i++)
		thread_row(&g, v, &s->threads[i]);
	grid_finish(&g, "  ", true);
	if (s->nthreads > s->thread_rows)
		printf("  and %" PRIu64 " more\n", s->nthreads - s->thread_rows);
}

static void site_row(struct grid *g, const struct stats_view *v, uint32_t row)
{
	const struct snapshot *s = v->now;
	const struct snapshot_arena *a = &s->arenas[row];
	uint64_t held = stats_of_arena(s, CTL_ROW_arena_allocated, row - 1);

	grid_text(g, "%s", a->name);
	grid_bytes(g, held);
	grid_percent(g, held, s->allocated);
	grid_count(g, snapshot_count(a, offsetof(struct snapshot_bin, live), 1,
	    CLASS_WHALE) + a->whales);
	grid_bytes(g, snapshot_active(s, a));
	grid_bytes(g, a->soft_bytes);
	counter_cell(g, v, nmalloc_of(a), nmalloc_of(arena_before(v, row)));
	grid_count(g, a->rules);
	grid_text(g, "%" PRIu32, row - 1);
	grid_text(g, "%s", bar(held, s->allocated));
}

static void print_sites(const struct stats_view *v)
{
	static const char *const headings[] = { "<site", "allocated", "of all", "objects",
		"active", "soft limit", "allocations", "rules", "arena", "<" };
	const struct snapshot *s = v->now;
	uint64_t named = 0;
	struct grid g;

	title("Sites");
	grid_start(&g, headings, COUNT(headings));
	for (uint32_t row = 1; row < s->arena_rows; row++)
		if (s->arenas[row].is_made && s->arenas[row].name[0]) {
			site_row(&g, v, row);
			named += stats_of_arena(s, CTL_ROW_arena_allocated, row - 1);
		}
	if (grid_rows(&g) == 0)
		printf("  No arena has a name: see hakctl site.\n");
	grid_finish(&g, "  ", grid_rows(&g) > 0);
	if (named < s->allocated)
		printf("  Everything else: %s.\n", bytes(s->allocated - named));
}

void stats_print_sections(const struct stats_view *v)
{
	static void (*const print[])(const struct stats_view *) = { print_arenas,
		print_bins, print_large, print_mutexes, print_threads, print_sites };

	/* Of a repetition the first page is one line; who asks for more wants rates. */
	if (v->sections && v->before)
		print_layers(v);
	for (size_t i = 0; i < COUNT(print); i++)
		if (v->sections & 1u << i)
			print[i](v);
	if (v->sections)
		putchar('\n');
}

void stats_print(const struct stats_view *v)
{
	print_title(v);
	putchar('\n');
	print_totals(v);
	print_overhead(v->now);
	print_layers(v);
	print_activity(v->now);
	stats_print_sections(v);
}

/* ---- --interval: a line each time ---- */

static double per_second(const struct stats_view *v, uint64_t now, uint64_t before)
{
	return v->seconds > 0 ? (double)stats_grown(now, before) / v->seconds : 0;
}

static const char *rate(double n)
{
	static char text[8][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 8;
	return n > 0 ? format_rate(text[next], FORMAT_SIZE, n) : "-";
}

static void print_line_rates(const struct stats_view *v)
{
	const struct snapshot *now = v->now, *before = v->before;
	uint64_t hits, misses, hits_before, misses_before;
	char share[FORMAT_SIZE], given[FORMAT_SIZE];

	stats_hits(now, &hits, &misses);
	stats_hits(before, &hits_before, &misses_before);
	hits = stats_grown(hits, hits_before);
	misses = stats_grown(misses, misses_before);
	printf(" %10s %9s %10s %10s %11s\n", rate(per_second(v, hits + misses, 0)),
	    format_percent(share, sizeof(share), hits, hits + misses),
	    rate(per_second(v, misses, 0)),
	    rate(per_second(v, now->locks_contended, before->locks_contended)),
	    format_byte_rate(given, sizeof(given),
		per_second(v, now->purged, before->purged)));
}

void stats_print_line(const struct stats_view *v, bool with_headings)
{
	time_t now = time(NULL);
	struct tm local;
	char clock[16] = "";

	if (localtime_r(&now, &local))
		strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	if (with_headings)
		printf("%-8s %10s %10s %10s %10s %10s %9s %10s %10s %11s\n", "time",
		    "allocated", "resident", "RSS", "dirty", "allocs", "hit rate", "misses",
		    "lock waits", "given back");
	printf("%-8s %10s %10s %10s %10s", clock, bytes(v->now->allocated),
	    bytes(v->now->resident), bytes(v->target->rss), bytes(v->now->dirty));
	if (!v->target->is_fresh)
		printf("  %s\n", target_silence(v->target));
	else if (!v->before)
		printf(" %10s %9s %10s %10s %11s\n", "-", "-", "-", "-", "-");
	else
		print_line_rates(v);
}
