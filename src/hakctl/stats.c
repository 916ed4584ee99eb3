#define _GNU_SOURCE
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hakctl/commands.h"
#include "hakctl/stats.h"

const char *const stats_layer_names[LAYERS] = { "tiny", "l2", "l25", "whale" };
const char *const stats_layer_sizes[LAYERS] = { "to 1 KiB", "to 32 KiB", "to 1 MiB",
	"above" };
const char *const stats_mutex_names[MUTEXES] = { "arenas", "tcaches", "page_heap",
	"whale", "page_map", "metadata" };

#define NAMED(name, field, label, kind, is_counter) \
	{ name, label, offsetof(struct snapshot, field), kind, is_counter }
#define TOTAL(field, label, kind, is_counter) \
	NAMED(#field, field, label, kind, is_counter)
const struct stats_total stats_totals[] = {
	TOTAL(allocated, "allocated", STATS_BYTES, false),
	TOTAL(active, "active", STATS_BYTES, false),
	TOTAL(resident, "resident", STATS_BYTES, false),
	TOTAL(mapped, "mapped", STATS_BYTES, false),
	TOTAL(retained, "retained", STATS_BYTES, false),
	TOTAL(tcache_bytes, "thread caches", STATS_BYTES, false),
	TOTAL(depot_bytes, "depots", STATS_BYTES, false),
	TOTAL(slab_free_bytes, "free slots in slabs", STATS_BYTES, false),
	TOTAL(whale_slack_bytes, "behind blocks over 1 MiB", STATS_BYTES, false),
	TOTAL(dirty, "dirty pages", STATS_BYTES, false),
	TOTAL(muzzy, "muzzy pages", STATS_BYTES, false),
	TOTAL(metadata, "metadata", STATS_BYTES, false),
	TOTAL(purged, "given back", STATS_BYTES, true),
	TOTAL(npurges, "passes that gave back", STATS_COUNT, true),
	TOTAL(whales, "whales", STATS_COUNT, false),
	NAMED("whale_allocated_bytes", whale_bytes, "bytes of whales", STATS_BYTES, false),
	NAMED("whale_cached_bytes", whale_cached, "whale cache", STATS_BYTES, false),
	TOTAL(whale_max_bytes, "whale cache at most", STATS_BYTES, false),
	TOTAL(nthreads, "threads", STATS_COUNT, false),
	TOTAL(narenas, "arenas", STATS_COUNT, false),
	TOTAL(arenas_in_use, "arenas in use", STATS_COUNT, false),
	TOTAL(locks_acquired, "locks taken", STATS_COUNT, true),
	TOTAL(locks_contended, "locks waited for", STATS_COUNT, true),
	TOTAL(locks_waited_ns, "time waited", STATS_NS, true),
	TOTAL(background_threads, "background threads", STATS_COUNT, false),
	TOTAL(background_runs, "background passes", STATS_COUNT, true),
	TOTAL(background_interval_ns, "time between them", STATS_NS, false),
	TOTAL(zero_reallocs, "realloc(p, 0)", STATS_COUNT, true),
	TOTAL(soft_bytes, "soft limit", STATS_BYTES, false),
	TOTAL(soft_purges, "purges by the limit", STATS_COUNT, true),
	TOTAL(pressure_some, "memory pressure", STATS_SHARE, false),
	TOTAL(pressure_reads, "pressure looked at", STATS_COUNT, true),
	TOTAL(pressure_purges, "purges by pressure", STATS_COUNT, true),
	TOTAL(dirty_decay_ms, "dirty decay", STATS_MS, false),
	TOTAL(muzzy_decay_ms, "muzzy decay", STATS_MS, false),
};
const size_t stats_totals_count = sizeof(stats_totals) / sizeof(stats_totals[0]);

uint64_t stats_total_of(const struct snapshot *s, const struct stats_total *total)
{
	return *(const uint64_t *)((const char *)s + total->offset);
}

void stats_hits(const struct snapshot *s, uint64_t *hits, uint64_t *misses)
{
	*hits = *misses = 0;
	for (int layer = 0; layer < LAYERS; layer++) {
		*hits += s->layers[layer].hits;
		*misses += s->layers[layer].misses;
	}
}

uint64_t stats_overhead(const struct snapshot *s)
{
	return s->resident > s->allocated ? s->resident - s->allocated : 0;
}

uint64_t stats_of_arena(const struct snapshot *s, enum ctl_id row, size_t arena)
{
	struct ctl_place place = ctl_place_of(row);
	uint64_t value = 0;

	place.index[0] = arena;
	ctl_stat(s, &place, &value);
	return value;
}

struct request {
	unsigned sections;
	double interval; /* 0: once */
	long count;      /* 0: for ever */
	bool json, is_diff;
};

enum { OPTION_INTERVAL = 1000, OPTION_COUNT, OPTION_DIFF, OPTION_JSON, OPTION_ALL };

static const struct option options[] = {
	{ "arenas", no_argument, NULL, STATS_ARENAS },
	{ "bins", no_argument, NULL, STATS_BINS },
	{ "large", no_argument, NULL, STATS_LARGE },
	{ "mutexes", no_argument, NULL, STATS_MUTEXES },
	{ "threads", no_argument, NULL, STATS_THREADS },
	{ "sites", no_argument, NULL, STATS_SITES },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "interval", required_argument, NULL, OPTION_INTERVAL },
	{ "count", required_argument, NULL, OPTION_COUNT },
	{ "diff", no_argument, NULL, OPTION_DIFF },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ NULL, 0, NULL, 0 }
};

static bool parse_seconds(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	return end != text && !*end && *seconds >= 0.01 && *seconds <= 86400;
}

static bool parse_count(const char *text, long *count)
{
	char *end;

	*count = strtol(text, &end, 10);
	return end != text && !*end && *count > 0;
}

static int parse(int argc, char **argv, struct request *r)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case OPTION_INTERVAL:
			if (!parse_seconds(optarg, &r->interval))
				return complain_usage("stats",
				    "'%s' is not a number of seconds", optarg);
			break;
		case OPTION_COUNT:
			if (!parse_count(optarg, &r->count))
				return complain_usage("stats", "'%s' is not a count", optarg);
			break;
		case OPTION_DIFF:
			r->is_diff = true;
			break;
		case OPTION_JSON:
			r->json = true;
			break;
		case OPTION_ALL:
			r->sections = STATS_ALL;
			break;
		case '?':
		case ':':
			return complain_option("stats", option, argv);
		default:
			r->sections |= (unsigned)option;
		}
	}
	if (r->count && r->interval == 0)
		r->interval = 1;
	return EXIT_FINE;
}

static struct snapshot *keep(const struct target *target)
{
	struct snapshot *copy = malloc(target->snapshot_bytes);

	if (copy)
		memcpy(copy, target->snapshot, target->snapshot_bytes);
	return copy;
}

static void sleep_until(const struct timespec *start, double seconds)
{
	struct timespec then = *start;
	double whole = (double)(long)seconds;

	then.tv_sec += (time_t)whole;
	then.tv_nsec += (long)((seconds - whole) * 1e9);
	if (then.tv_nsec >= 1000000000) {
		then.tv_nsec -= 1000000000;
		then.tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL) != 0)
		;
}

static int show(const struct stats_view *view, const struct request *r, long round)
{
	if (r->json)
		return print_json(stats_json(view), r->interval > 0);
	if (r->interval == 0) {
		stats_print(view);
	} else {
		stats_print_line(view, round % 20 == 0 || view->sections);
		stats_print_sections(view);
	}
	return EXIT_FINE;
}

static double seconds_between(const struct snapshot *now, const struct snapshot *before)
{
	return (double)stats_grown(now->taken_ns, before->taken_ns) / 1e9;
}

/* Rates are of what happened since the line before; the first has none. */
static int repeat(struct target *target, const struct request *r)
{
	struct timespec start;
	struct snapshot *before = NULL;
	int code = EXIT_FINE;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long round = 0; code == EXIT_FINE; round++) {
		struct stats_view view = { target, target->snapshot, before, 0,
			r->sections };
		if (before)
			view.seconds = seconds_between(view.now, before);
		code = show(&view, r, round);
		if (fflush(stdout) != 0 || (r->count && round + 1 >= r->count))
			break;
		free(before);
		before = keep(target);
		sleep_until(&start, r->interval * (double)(round + 1));
		if (code == EXIT_FINE)
			code = renew(target);
	}
	free(before);
	return code;
}

static int show_once(struct target *target, const struct request *r)
{
	struct stats_view view = { target, target->snapshot, NULL, 0, r->sections };

	return show(&view, r, 0);
}

int command_stats(int argc, char **argv)
{
	struct request r = { 0 };
	struct target target;
	int code = parse(argc, argv, &r);

	if (code != EXIT_FINE)
		return code;
	if (r.is_diff && argc - optind != 2)
		return complain_usage("stats", "--diff needs two files");
	if (r.is_diff)
		return stats_diff(argv[optind], argv[optind + 1], r.json);
	if (argc == optind)
		return complain_usage("stats", "which process?");
	if (argc - optind > 1)
		return complain_usage("stats", "one process at a time");
	code = attach(&target, argv[optind]);
	if (code != EXIT_FINE)
		return code;
	code = r.interval > 0 ? repeat(&target, &r) : show_once(&target, &r);
	target_close(&target);
	return code;
}
