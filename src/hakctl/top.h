/*
 * hakctl top: what its parts share. top.c: options, keys and time; top_watch.c: the
 * processes and their past; top_screen.c: what is drawn of them.
 */
#ifndef HAK_HAKCTL_TOP_H
#define HAK_HAKCTL_TOP_H

#include "hakctl/target.h"

/* Samples that a sparkline can show. */
#define TOP_HISTORY 128u

struct series {
	float values[TOP_HISTORY]; /* sample i is at i % TOP_HISTORY */
};

/* A process that is looked at again and again. */
struct watch {
	struct target target;      /* always with a snapshot */
	struct snapshot *before;   /* the one before that; NULL: none yet */
	double seconds;            /* between them; 0: no rates */
	const char *trouble;       /* why there are no new numbers; NULL: there are */
	bool has_ended;
	unsigned ticks_ended;      /* looks since then */
	unsigned ticks_silent;     /* looks without an answer */

	unsigned samples;          /* ever */
	struct series allocated, resident, allocations;
	struct series hits[LAYERS];
	struct series classes[CLASSES]; /* allocations a second */
	struct series *arenas;          /* bytes allocated, by row of the snapshot */
	uint32_t arena_rows;
};

struct watches {
	struct watch **list;
	size_t count, capacity;
	pid_t named; /* to be watched without a segment, too; 0: none */
};

/* Look again at all processes there are; keep: NULL, or one that stays listed though
 * it ended. False: /proc cannot be read. */
bool watches_update(struct watches *watches, const struct watch *keep);
void watches_free(struct watches *watches);
struct watch *watches_find(const struct watches *watches, pid_t pid);

/* A second, over the time between the two snapshots. */
double watch_rate(const struct watch *watch, uint64_t now, uint64_t before);
/* Allocations and those of them that a cache served, in that time. */
void watch_hits(const struct watch *watch, uint64_t *hits, uint64_t *misses);
/* Of layer alone. */
void watch_layer(const struct watch *watch, unsigned layer, uint64_t *hits,
    uint64_t *misses);
/* Allocations of class a second. */
double watch_class_rate(const struct watch *watch, unsigned class);
uint64_t watch_remote_frees(const struct watch *watch, uint32_t row);

enum top_sort { SORT_PID, SORT_COMMAND, SORT_ALLOCATED, SORT_RESIDENT, SORT_RSS,
	SORT_OVERHEAD, SORT_RATE, SORT_HITS, SORT_THREADS, SORTS };
enum top_bin_sort { BINS_BY_BYTES, BINS_BY_RATE, BINS_BY_SIZE, BIN_SORTS };
enum top_pane { PANE_BINS, PANE_ARENAS, PANES };

struct top {
	struct watches watches;
	struct watch *selected;    /* in the list; NULL: it is empty */
	struct watch *opened;      /* NULL: the list is shown */
	enum top_sort sort;
	bool is_reversed;
	enum top_bin_sort bin_sort;
	enum top_pane pane;        /* the one that scrolls */
	size_t scroll[PANES];      /* first line shown */
	size_t first;              /* process shown */
	size_t page;               /* lines that the list, or the pane, has */
	bool asks_layer;           /* t was pressed */
	char message[128];
	double interval;
	bool is_utf8;
};

/* Start the screen; false: not on this terminal. */
bool screen_start(struct top *top);
void screen_end(void);
void screen_draw(struct top *top);
/* Is there room for that column of the list? */
bool screen_has(enum top_sort sort);
/* Sort the list as it is to be shown. */
void screen_sort(struct top *top);

#endif
