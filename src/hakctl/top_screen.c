#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/format.h"
#include "hakctl/stats.h"
#include "hakctl/top.h"

#define COLUMNS_MIN 60
#define LINES_MIN 16
#define LINE_SIZE 512

enum { COLOUR_SPARK = 1, COLOUR_TROUBLE, COLOUR_ENDED };

/* ---- Pieces ---- */

/* In a line, to its right edge at most: curses would go on in the next one. */
static void put(int y, int x, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(int y, int x, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (x < COLS && y < LINES)
		mvaddnstr(y, x, text, COLS - x);
}

/* The same as a bar over the whole width. */
static void put_bar(int y, attr_t attributes, const char *text)
{
	attrset(attributes);
	mvhline(y, 0, ' ', COLS);
	put(y, 0, "%s", text);
	attrset(A_NORMAL);
}

static const char *bytes(uint64_t n)
{
	static char text[8][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 8;
	return format_bytes(text[next], FORMAT_SIZE, n);
}

static const char *count(uint64_t n)
{
	static char text[8][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 8;
	return format_count(text[next], FORMAT_SIZE, n);
}

static const char *rate(double per_second)
{
	static char text[4][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 4;
	/* Less than one a second is told apart from none, no closer. */
	return format_rate(text[next], FORMAT_SIZE,
	    per_second >= 10 ? (double)(uint64_t)per_second : per_second);
}

static const char *percent(uint64_t part, uint64_t whole)
{
	static char text[4][FORMAT_SIZE];
	static unsigned next;

	next = (next + 1) % 4;
	return format_percent(text[next], FORMAT_SIZE, part, whole);
}

/* ---- Sparklines ---- */

static const char *const blocks[] = { "\u2581", "\u2582", "\u2583", "\u2584", "\u2585",
	"\u2586", "\u2587", "\u2588" };
static const char *const signs[] = { "_", ".", ":", "-", "=", "+", "*", "#" };

/* Of 8 steps from 0 to most; what is not 0 is seen to be so. */
static unsigned step_of(double value, double most)
{
	if (!(value > 0) || !(most > 0))
		return 0;
	unsigned step = (unsigned)(value / most * 7 + 0.5);
	return step < 1 ? 1 : step > 7 ? 7 : step;
}

/* The last samples, the newest at the right edge. */
static void put_spark(const struct top *top, int y, int x, int width,
    const struct watch *w, const struct series *series)
{
	unsigned n = w->samples < TOP_HISTORY ? w->samples : TOP_HISTORY;
	double most = 0;

	if (width <= 0 || y >= LINES)
		return;
	n = n < (unsigned)width ? n : (unsigned)width;
	for (unsigned i = w->samples - n; i < w->samples; i++)
		if (series->values[i % TOP_HISTORY] > most)
			most = series->values[i % TOP_HISTORY];
	attrset(COLOR_PAIR(COLOUR_SPARK));
	move(y, x + width - (int)n);
	for (unsigned i = w->samples - n; i < w->samples; i++) {
		unsigned step = step_of(series->values[i % TOP_HISTORY], most);
		addstr(top->is_utf8 ? blocks[step] : signs[step]);
	}
	attrset(A_NORMAL);
}

/* To the right of a line of text. */
static void put_line(const struct top *top, int y, const char *text,
    const struct watch *w, const struct series *series)
{
	int n = (int)strlen(text);

	put(y, 0, "%s", text);
	put_spark(top, y, n + 1, COLS - n - 1, w, series);
}

/* ---- The list of processes ---- */

static uint64_t sort_value(const struct watch *w, enum top_sort sort)
{
	const struct snapshot *s = w->target.snapshot;
	uint64_t hits, misses;

	switch (sort) {
	case SORT_ALLOCATED:
		return s->allocated;
	case SORT_RESIDENT:
		return s->resident;
	case SORT_RSS:
		return w->target.rss;
	case SORT_OVERHEAD:
		return stats_overhead(s);
	case SORT_RATE:
		watch_hits(w, &hits, &misses);
		return (uint64_t)watch_rate(w, hits + misses, 0);
	case SORT_HITS:
		watch_hits(w, &hits, &misses);
		return hits + misses ? hits * 10000 / (hits + misses) : 0;
	case SORT_THREADS:
		return s->nthreads;
	default:
		return 0;
	}
}

/* Most first, but for pids and names; who is equal keeps an order. */
static int compare(const void *a, const void *b, void *context)
{
	const struct watch *x = *(struct watch *const *)a, *y = *(struct watch *const *)b;
	const struct top *top = context;
	uint64_t m = sort_value(x, top->sort), n = sort_value(y, top->sort);
	int order = top->sort == SORT_COMMAND ?
	    strcmp(x->target.command, y->target.command) : (m < n) - (m > n);

	if (!order)
		order = (x->target.pid > y->target.pid) - (x->target.pid < y->target.pid);
	return top->is_reversed ? -order : order;
}

void screen_sort(struct top *top)
{
	if (top->watches.count)
		qsort_r(top->watches.list, top->watches.count,
		    sizeof(*top->watches.list), compare, top);
}

static bool is_wide(void)
{
	return COLS >= 100;
}

static int command_width(void)
{
	return is_wide() ? 15 : 12;
}

bool screen_has(enum top_sort sort)
{
	return sort != SORT_RSS || is_wide();
}

/* The heading that is sorted by is underlined. */
static void put_headings(const struct top *top, int y)
{
	static const char *const names[SORTS] = { "PID", "COMMAND", "ALLOCATED",
		"RESIDENT", "RSS", "OVERHEAD", "ALLOCS/S", "HITS", "THR" };
	const int widths[SORTS] = { 7, -command_width(), 9, 9, 9, 8, 8, 7, 4 };
	int x = 0;

	put_bar(y, A_BOLD, "");
	for (unsigned i = 0; i < SORTS; i++) {
		int width = abs(widths[i]), n = (int)strlen(names[i]);
		if (!screen_has((enum top_sort)i))
			continue;
		attrset(A_BOLD | (i == top->sort ? A_UNDERLINE : 0));
		put(y, widths[i] < 0 ? x : x + width - n, "%s", names[i]);
		x += width + 1;
	}
	attrset(A_BOLD);
	put(y, x, "%s", COLS - x >= 8 ? "RESIDENT" : "");
	attrset(A_NORMAL);
}

static void put_process(const struct top *top, int y, const struct watch *w)
{
	const struct snapshot *s = w->target.snapshot;
	char line[LINE_SIZE];
	uint64_t hits, misses;
	bool is_selected = w == top->selected, has_rss = screen_has(SORT_RSS);

	watch_hits(w, &hits, &misses);
	if (w->has_ended)
		snprintf(line, sizeof(line), "%7d %-*.*s %s", w->target.pid,
		    command_width(), command_width(), w->target.command, w->trouble);
	else
		snprintf(line, sizeof(line), "%7d %-*.*s %9s %9s%*s %8s %8s %7s %4s",
		    w->target.pid, command_width(), command_width(), w->target.command,
		    bytes(s->allocated), bytes(s->resident), has_rss ? 10 : 0,
		    has_rss ? bytes(w->target.rss) : "",
		    percent(stats_overhead(s), s->resident),
		    w->trouble ? "-" : rate(watch_rate(w, hits + misses, 0)),
		    percent(hits, hits + misses), count(s->nthreads));
	attr_t colour = COLOR_PAIR(w->has_ended ? COLOUR_ENDED : w->trouble ?
	    COLOUR_TROUBLE : 0);
	if (is_selected)
		put_bar(y, A_REVERSE, line);
	attrset(is_selected ? A_REVERSE : colour);
	put(y, 0, "%s", line);
	attrset(A_NORMAL);
	if (!w->has_ended)
		put_spark(top, y, (int)strlen(line) + 1, COLS - (int)strlen(line) - 1, w,
		    &w->resident);
}

static size_t index_of(const struct top *top, const struct watch *w)
{
	size_t i = 0;

	while (i < top->watches.count && top->watches.list[i] != w)
		i++;
	return i;
}

static void draw_list(struct top *top)
{
	size_t at = index_of(top, top->selected);
	char title[LINE_SIZE];

	snprintf(title, sizeof(title), " hakctl top: %zu process%s on hakmem, every %g s",
	    top->watches.count, top->watches.count == 1 ? "" : "es", top->interval);
	put_bar(0, A_REVERSE, title);
	put_headings(top, 1);
	top->page = (size_t)LINES - 4;
	if (at < top->first)
		top->first = at;
	if (at >= top->first + top->page)
		top->first = at - top->page + 1;
	if (top->first >= top->watches.count)
		top->first = 0;
	for (size_t i = 0; i < top->page && top->first + i < top->watches.count; i++)
		put_process(top, 2 + (int)i, top->watches.list[top->first + i]);
	if (top->watches.count == 0)
		put(3, 2, "No process runs on hakmem, or none that you may look at.");
	if (top->selected && top->selected->trouble && !top->message[0])
		snprintf(top->message, sizeof(top->message), "%s (%d) %s",
		    top->selected->target.command, top->selected->target.pid,
		    top->selected->trouble);
}

/* ---- One process: its head and layers ---- */

static int draw_title(const struct watch *w)
{
	const struct snapshot *s = w->target.snapshot;
	char line[LINE_SIZE], up[FORMAT_SIZE], age[FORMAT_SIZE];

	snprintf(line, sizeof(line), " %s (%d)  up %s, %s thread%s, %s of %s arenas in use",
	    w->target.command, w->target.pid,
	    format_duration(up, sizeof(up), s->uptime_ns), count(s->nthreads),
	    s->nthreads == 1 ? "" : "s", count(s->arenas_in_use), count(s->narenas));
	put_bar(0, A_REVERSE, line);
	if (w->trouble) {
		snprintf(line, sizeof(line), " %s (%d) %s: what is shown is %s old",
		    w->target.command, w->target.pid, w->trouble,
		    format_duration(age, sizeof(age), target_age_ns(&w->target)));
		put_bar(0, A_REVERSE | COLOR_PAIR(w->has_ended ? COLOUR_ENDED :
		    COLOUR_TROUBLE), line);
	}
	return 1;
}

static int draw_sums(const struct top *top, const struct watch *w, int y)
{
	const struct snapshot *s = w->target.snapshot;
	char line[LINE_SIZE];
	uint64_t hits, misses;

	watch_hits(w, &hits, &misses);
	snprintf(line, sizeof(line), "allocated   %9s", bytes(s->allocated));
	put_line(top, y++, line, w, &w->allocated);
	snprintf(line, sizeof(line), "resident    %9s  RSS %9s", bytes(s->resident),
	    bytes(w->target.rss));
	put_line(top, y++, line, w, &w->resident);
	snprintf(line, sizeof(line), "allocations %9s",
	    w->trouble ? "-" : rate(watch_rate(w, hits + misses, 0)));
	put_line(top, y++, line, w, &w->allocations);
	put(y++, 0, "overhead %s: caches %s, gaps %s, pages %s, own %s",
	    percent(stats_overhead(s), s->resident),
	    bytes(s->tcache_bytes + s->depot_bytes),
	    bytes(s->slab_free_bytes + s->whale_slack_bytes),
	    bytes(s->dirty + s->muzzy), bytes(s->metadata));
	return y;
}

static int draw_layers(const struct top *top, const struct watch *w, int y)
{
	char line[LINE_SIZE];

	put_bar(y++, A_BOLD, "LAYER          HITS/S  MISSES/S     HITS    CACHED   AT MOST");
	for (unsigned i = 0; i < LAYERS; i++) {
		const struct snapshot_layer *l = &w->target.snapshot->layers[i];
		uint64_t hits, misses;
		watch_layer(w, i, &hits, &misses);
		snprintf(line, sizeof(line), "%-6s %-3s  %9s %9s %8s %9s %9s",
		    stats_layer_names[i], l->enabled ? "on" : "off",
		    rate(watch_rate(w, hits, 0)), rate(watch_rate(w, misses, 0)),
		    percent(hits, hits + misses), bytes(l->bytes), bytes(l->capacity));
		put_line(top, y++, line, w, &w->hits[i]);
	}
	return y;
}

/* ---- One process: arenas and bins ---- */

/* Heading of a pane: which of its rows are seen. */
static void put_pane(const struct top *top, enum top_pane pane, int y,
    const char *headings, size_t rows, size_t shown)
{
	char where[64] = "";
	size_t first = top->scroll[pane];

	if (rows > shown)
		snprintf(where, sizeof(where), " %zu-%zu of %zu ", first + 1, first + shown,
		    rows);
	put_bar(y, A_BOLD | (top->pane == pane ? A_UNDERLINE : 0), headings);
	attrset(A_BOLD);
	put(y, COLS - (int)strlen(where), "%s", where);
	attrset(A_NORMAL);
}

/* No further than to the last page. */
static void limit_scroll(struct top *top, enum top_pane pane, size_t rows, size_t shown)
{
	size_t last = rows > shown ? rows - shown : 0;

	if (top->scroll[pane] > last)
		top->scroll[pane] = last;
	if (top->pane == pane)
		top->page = shown ? shown : 1;
}

/* Rows of the snapshot that are arenas. */
static size_t list_arenas(const struct snapshot *s, uint32_t *rows, size_t most)
{
	size_t n = 0;

	for (uint32_t row = 1; row < s->arena_rows && n < most; row++)
		if (s->arenas[row].is_made)
			rows[n++] = row;
	return n;
}

static void put_arena(const struct top *top, int y, const struct watch *w, uint32_t row)
{
	const struct snapshot *s = w->target.snapshot;
	const struct snapshot_arena *a = &s->arenas[row];
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), "%4" PRIu32 " %-12.12s %4s %9s %9s %9s %9s %9s",
	    row - 1, a->name, count(a->nthreads),
	    bytes(stats_of_arena(s, CTL_ROW_arena_allocated, row - 1)),
	    bytes(snapshot_active(s, a)),
	    bytes(stats_of_arena(s, CTL_ROW_arena_tcache_bytes, row - 1)),
	    bytes(stats_of_arena(s, CTL_ROW_arena_depot_bytes, row - 1)),
	    rate(watch_rate(w, watch_remote_frees(w, row), 0)));
	if (row < w->arena_rows)
		put_line(top, y, line, w, &w->arenas[row]);
	else
		put(y, 0, "%s", line);
}

static int draw_arenas(struct top *top, const struct watch *w, int y,
    const uint32_t *rows, size_t n, size_t shown)
{
	limit_scroll(top, PANE_ARENAS, n, shown);
	put_pane(top, PANE_ARENAS, y++,
	    "ARENA NAME          THR ALLOCATED    ACTIVE  IN CACHES IN DEPOT  REMOTE/S", n,
	    shown);
	for (size_t i = 0; i < shown; i++)
		put_arena(top, y++, w, rows[top->scroll[PANE_ARENAS] + i]);
	return y;
}

struct bin_order {
	const struct watch *watch;
	enum top_bin_sort sort;
};

static double bin_value(const struct bin_order *order, unsigned class)
{
	const struct snapshot *s = order->watch->target.snapshot;

	switch (order->sort) {
	case BINS_BY_BYTES:
		return (double)s->arenas[0].bins[class].live * s->classes[class].size;
	case BINS_BY_RATE:
		return watch_class_rate(order->watch, class);
	default:
		return -(double)class;
	}
}

static int compare_bins(const void *a, const void *b, void *context)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	double m = bin_value(context, x), n = bin_value(context, y);

	return m != n ? (m < n) - (m > n) : (x > y) - (x < y);
}

/* Classes that the process ever used, in order. */
static size_t list_bins(const struct top *top, const struct watch *w,
    unsigned *classes)
{
	const struct snapshot *s = w->target.snapshot;
	struct bin_order order = { w, top->bin_sort };
	size_t n = 0;

	for (unsigned class = 1; class < CLASS_WHALE; class++)
		if (s->arenas[0].bins[class].nmalloc || s->arenas[0].bins[class].live)
			classes[n++] = class;
	qsort_r(classes, n, sizeof(*classes), compare_bins, &order);
	return n;
}

static void put_bin(const struct top *top, int y, const struct watch *w, unsigned class)
{
	const struct snapshot *s = w->target.snapshot;
	const struct snapshot_class *c = &s->classes[class];
	const struct snapshot_bin *b = &s->arenas[0].bins[class];
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), "%8s %-5s %8s %9s %9s %8s %7s %8s", bytes(c->size),
	    stats_layer_names[c->layer], count(b->live), bytes(b->live * c->size),
	    rate(watch_class_rate(w, class)), count(b->cached + b->depot),
	    count(b->curslabs), percent(b->live * c->size, b->curslabs * c->slab_bytes));
	put_line(top, y, line, w, &w->classes[class]);
}

static void draw_bins(struct top *top, const struct watch *w, int y,
    const unsigned *classes, size_t n, size_t shown)
{
	limit_scroll(top, PANE_BINS, n, shown);
	put_pane(top, PANE_BINS, y++,
	    "    SIZE LAYER     LIVE     BYTES  ALLOCS/S   CACHED   SLABS     USED", n,
	    shown);
	for (size_t i = 0; i < shown; i++)
		put_bin(top, y++, w, classes[top->scroll[PANE_BINS] + i]);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

#define ARENAS_MOST 4096
/* Rows that the pane gets that does not scroll. */
#define PANE_LEAST 3

static void draw_panes(struct top *top, const struct watch *w, int y)
{
	static uint32_t rows[ARENAS_MOST];
	unsigned classes[CLASSES];
	size_t arenas = list_arenas(w->target.snapshot, rows, ARENAS_MOST);
	size_t bins = list_bins(top, w, classes);
	/* Two headings, the message and the keys. */
	size_t room = LINES - y > 4 ? (size_t)(LINES - y - 4) : 0;
	size_t few = least(PANE_LEAST, room / 2), shown;

	if (top->pane == PANE_ARENAS)
		shown = least(arenas, room - least(bins, few));
	else
		shown = least(arenas, room > bins + few ? room - bins : few);
	y = draw_arenas(top, w, y, rows, arenas, shown);
	draw_bins(top, w, y, classes, bins, least(bins, room - shown));
}

static void draw_process(struct top *top)
{
	const struct watch *w = top->opened;
	int y = draw_title(w);

	y = draw_sums(top, w, y);
	y = draw_layers(top, w, y);
	draw_panes(top, w, y);
}

/* ---- The screen ---- */

static void draw_question(const struct top *top)
{
	const struct watch *w = top->opened ? top->opened : top->selected;
	const struct snapshot_layer *l = w->target.snapshot->layers;
	char line[LINE_SIZE];

	snprintf(line, sizeof(line), " Which layer?  1 tiny (%s)  2 l2 (%s)  "
	    "3 l25 (%s)  4 whale (%s)  Esc none", l[LAYER_TINY].enabled ? "on" : "off",
	    l[LAYER_L2].enabled ? "on" : "off", l[LAYER_L25].enabled ? "on" : "off",
	    l[LAYER_WHALE].enabled ? "on" : "off");
	put_bar(LINES - 2, A_BOLD, line);
}

static void draw_keys(const struct top *top)
{
	static const char *const sorts[BIN_SORTS] = { "bytes", "allocs/s", "size" };
	char line[LINE_SIZE];

	if (top->opened)
		snprintf(line, sizeof(line), " Esc back  Tab pane  Up/Down scroll  "
		    "s sort: %s  p purge  t toggle  q quit", sorts[top->bin_sort]);
	else
		snprintf(line, sizeof(line), " Enter open  Left/Right sort by  r reverse  "
		    "p purge  t toggle  q quit");
	put_bar(LINES - 1, A_REVERSE, line);
}

void screen_draw(struct top *top)
{
	erase();
	if (COLS < COLUMNS_MIN || LINES < LINES_MIN) {
		put(0, 0, "%d x %d: too small", COLS, LINES);
		refresh();
		return;
	}
	if (top->opened)
		draw_process(top);
	else
		draw_list(top);
	if (top->asks_layer)
		draw_question(top);
	else
		put(LINES - 2, 1, "%s", top->message);
	draw_keys(top);
	refresh();
}

static void start_colours(void)
{
	if (!has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(COLOUR_SPARK, COLOR_CYAN, -1);
	init_pair(COLOUR_TROUBLE, COLOR_YELLOW, -1);
	init_pair(COLOUR_ENDED, COLOR_RED, -1);
}

static SCREEN *screen;

bool screen_start(struct top *top)
{
	/* Not LC_NUMERIC: numbers look the same everywhere. */
	setlocale(LC_CTYPE, "");
	top->is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	/* A second after Esc would be long. */
	set_escdelay(25);
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return false;
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	start_colours();
	return true;
}

void screen_end(void)
{
	endwin();
	delscreen(screen);
}
