#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "hakctl/commands.h"
#include "hakctl/format.h"
#include "hakctl/grid.h"
#include "hakctl/stats.h"

#define PROCESSES 4096
/* One that hangs must not hold up the others. */
#define WAIT_MS 100

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ NULL, 0, NULL, 0 }
};

static void add_row(struct grid *g, const struct target *t)
{
	const struct snapshot *s = t->snapshot;
	uint64_t hits, misses;
	char age[FORMAT_SIZE];

	stats_hits(s, &hits, &misses);
	grid_text(g, "%d", t->pid);
	grid_text(g, "%s", t->command);
	grid_bytes(g, s->allocated);
	grid_bytes(g, s->resident);
	grid_bytes(g, t->rss);
	grid_percent(g, stats_overhead(s), s->resident);
	grid_percent(g, hits, hits + misses);
	grid_count(g, s->nthreads);
	grid_text(g, "%" PRIu64 "/%" PRIu64, s->arenas_in_use, s->narenas);
	if (t->is_fresh)
		grid_text(g, "%s", "");
	else
		grid_text(g, "%s; %s old", target_silence(t),
		    format_duration(age, sizeof(age), target_age_ns(t)));
}

static json_t *process_json(const struct target *t)
{
	const struct snapshot *s = t->snapshot;
	json_t *process = json_object();
	uint64_t hits, misses;

	stats_hits(s, &hits, &misses);
	json_object_set_new(process, "pid", json_integer(t->pid));
	json_object_set_new(process, "command", json_string(t->command));
	json_object_set_new(process, "is_fresh", json_boolean(t->is_fresh));
	json_object_set_new(process, "age_ns", stats_json_number(target_age_ns(t)));
	json_object_set_new(process, "allocated", stats_json_number(s->allocated));
	json_object_set_new(process, "resident", stats_json_number(s->resident));
	json_object_set_new(process, "rss", stats_json_number(t->rss));
	json_object_set_new(process, "overhead", s->resident ?
	    json_real((double)stats_overhead(s) / (double)s->resident) :
	    json_null());
	json_object_set_new(process, "hit_rate", hits + misses ?
	    json_real((double)hits / (double)(hits + misses)) : json_null());
	json_object_set_new(process, "threads", stats_json_number(s->nthreads));
	json_object_set_new(process, "arenas_in_use", stats_json_number(s->arenas_in_use));
	json_object_set_new(process, "narenas", stats_json_number(s->narenas));
	return process;
}

/* What ended meanwhile, or may not be looked at, is not there. */
static void visit(const pid_t *pids, int n, struct grid *g, json_t *list)
{
	struct target t;

	for (int i = 0; i < n; i++) {
		enum target_result result = target_open(&t, pids[i]);
		if (result != TARGET_OK)
			continue;
		if (target_refresh(&t, WAIT_MS) == TARGET_OK) {
			if (list)
				json_array_append_new(list, process_json(&t));
			else
				add_row(g, &t);
		}
		target_close(&t);
	}
}

static int show(bool json)
{
	static const char *const headings[] = { "PID", "<COMMAND", "ALLOCATED", "RESIDENT",
		"RSS", "OVERHEAD", "HIT RATE", "THREADS", "ARENAS", "<" };
	static pid_t pids[PROCESSES];
	struct grid g;
	int n = target_find(NULL, true, pids, PROCESSES);

	if (n < 0)
		return complain("cannot read /proc: %s", strerror(errno));
	if (json) {
		json_t *list = json_array();
		visit(pids, n, NULL, list);
		return print_json(list, false);
	}
	grid_start(&g, headings, sizeof(headings) / sizeof(headings[0]));
	visit(pids, n, &g, NULL);
	grid_finish(&g, "", true);
	return EXIT_FINE;
}

int command_ps(int argc, char **argv)
{
	bool json = false;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option != 'j')
			return complain_option("ps", option, argv);
		json = true;
	}
	if (optind < argc)
		return complain_usage("ps", "unexpected argument '%s'", argv[optind]);
	return show(json);
}
