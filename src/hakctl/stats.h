/*
 * hakctl stats: what its parts share. stats.c: options and repetition;
 * stats_text.c: tables; stats_json.c: JSON; stats_diff.c: two of these compared.
 */
#ifndef HAK_HAKCTL_STATS_H
#define HAK_HAKCTL_STATS_H

#include <jansson.h>

#include "ctl/table.h"
#include "hakctl/target.h"

enum stats_section { STATS_ARENAS = 1, STATS_BINS = 2, STATS_LARGE = 4,
	STATS_MUTEXES = 8, STATS_THREADS = 16, STATS_SITES = 32, STATS_ALL = 63 };

/* What is to be shown: a snapshot, and with --interval the one before it. */
struct stats_view {
	const struct target *target;
	const struct snapshot *now, *before; /* before: NULL, none */
	double seconds;                      /* between them */
	unsigned sections;
};

/* The numbers that are one for the whole process. */
enum stats_kind { STATS_BYTES, STATS_COUNT, STATS_NS, STATS_MS, STATS_SHARE };
struct stats_total {
	const char *name;      /* in JSON: the field's */
	const char *label;
	size_t offset;         /* in struct snapshot, a uint64_t or int64_t */
	enum stats_kind kind;
	bool is_counter;       /* only ever grows: has a rate */
};
extern const struct stats_total stats_totals[];
extern const size_t stats_totals_count;
uint64_t stats_total_of(const struct snapshot *s, const struct stats_total *total);

extern const char *const stats_layer_names[LAYERS];
extern const char *const stats_layer_sizes[LAYERS];
extern const char *const stats_mutex_names[MUTEXES];

/* now - before, 0 where a counter was reset. */
static inline uint64_t stats_grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* Hits and misses of all layers. */
void stats_hits(const struct snapshot *s, uint64_t *hits, uint64_t *misses);
uint64_t stats_overhead(const struct snapshot *s); /* resident - allocated */
/* A STAT row for arena i, CTL_ARENAS_ALL: all of them. */
uint64_t stats_of_arena(const struct snapshot *s, enum ctl_id row, size_t arena);
/* A thread's name, "" where it cannot be known. */
void stats_thread_name(const struct target *target, int64_t tid, char *name,
    size_t size);

void stats_print(const struct stats_view *view);
/* A line of the table that --interval prints; with_headings: its head, too. */
void stats_print_line(const struct stats_view *view, bool with_headings);
/* Only the sections that were asked for. */
void stats_print_sections(const struct stats_view *view);
json_t *stats_json(const struct stats_view *view);
/* Numbers of 64 bits; JSON has 63. */
json_t *stats_json_number(uint64_t n);
int stats_diff(const char *a, const char *b, bool json);

#endif
