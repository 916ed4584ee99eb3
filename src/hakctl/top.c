#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hakctl/commands.h"
#include "hakctl/format.h"
#include "hakctl/stats.h"
#include "hakctl/top.h"

/* How long a key may hold up the screen. */
#define WAIT_KEY_MS 3000
#define KEY_ESC 27

struct request {
	const char *name;      /* of a process; NULL: the list */
	double interval;
	long count;            /* 0: for ever; with --json 1 */
	bool json;
};

static const char help[] =
	"Usage: hakctl top [PROCESS] [OPTION]...\n"
	"\n"
	"Watch the processes that run on hakmem, or one of them, full screen. Keys are\n"
	"shown at the bottom.\n"
	"\n"
	"  --interval SECONDS  look that often (1)\n"
	"  --count N           look that often, then end\n"
	"  --json              no screen: as JSON with rates, a line each time, once\n"
	"                      unless --count says otherwise\n"
	"  --help              this\n";

static volatile sig_atomic_t is_told_to_end;

static void on_signal(int number)
{
	(void)number;
	is_told_to_end = 1;
}

/* ---- Time ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* For a key or until then. False: the terminal is gone. */
static bool wait_for_key(double then)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	double left = then - now();
	int n = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);

	return n <= 0 || !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* ---- What keys do to a process ---- */

static struct watch *current(const struct top *top)
{
	return top->opened ? top->opened : top->selected;
}

static const char *explain(const struct watch *w, int error)
{
	return error == ESRCH ? "ended" : error == EACCES ? "may not be changed" :
	    target_refusal(&w->target, error);
}

/* True: done. Otherwise the message says why not. */
static bool set_control(struct top *top, struct watch *w, const char *name,
    const char *value)
{
	char reply[SEGMENT_REPLY + 1];
	size_t length;
	int error = w->has_ended ? ESRCH : target_ask(&w->target, MAILBOX_SET, name,
	    value, reply, &length, WAIT_KEY_MS);

	if (error)
		snprintf(top->message, sizeof(top->message), "%s (%d) %s",
		    w->target.command, w->target.pid, explain(w, error));
	return error == 0;
}

static void purge(struct top *top)
{
	struct watch *w = current(top);
	char before[FORMAT_SIZE], after[FORMAT_SIZE];

	if (!w)
		return;
	format_bytes(before, sizeof(before), w->target.snapshot->resident);
	if (!set_control(top, w, "arena.4096.purge", "") ||
	    target_refresh(&w->target, WAIT_KEY_MS) != TARGET_OK)
		return;
	snprintf(top->message, sizeof(top->message),
	    "%s (%d) was purged: resident %s before, %s now", w->target.command,
	    w->target.pid, before,
	    format_bytes(after, sizeof(after), w->target.snapshot->resident));
}

static void toggle(struct top *top, unsigned layer)
{
	static const char *const controls[LAYERS] = { "tls.tiny.enabled",
		"tls.l2.enabled", "tls.l25.enabled", "whale.enabled" };
	struct watch *w = current(top);

	if (!w)
		return;
	bool is_on = w->target.snapshot->layers[layer].enabled;
	if (!set_control(top, w, controls[layer], is_on ? "false" : "true"))
		return;
	target_refresh(&w->target, WAIT_KEY_MS);
	snprintf(top->message, sizeof(top->message), "%s (%d): %s is %s now",
	    w->target.command, w->target.pid, stats_layer_names[layer],
	    is_on ? "off" : "on");
}

/* ---- Keys ---- */

static void answer_question(struct top *top, int key)
{
	top->asks_layer = false;
	if (key >= '1' && key < '1' + LAYERS)
		toggle(top, (unsigned)(key - '1'));
}

/* Lines that a key moves by; 0: it does not. */
static long steps_of(const struct top *top, int key)
{
	switch (key) {
	case KEY_UP:
	case 'k':
		return -1;
	case KEY_DOWN:
	case 'j':
		return 1;
	case KEY_PPAGE:
		return -(long)top->page;
	case KEY_NPAGE:
		return (long)top->page;
	case KEY_HOME:
		return -1000000;
	case KEY_END:
		return 1000000;
	default:
		return 0;
	}
}

static void select_process(struct top *top, long steps)
{
	long n = (long)top->watches.count, at = 0;

	if (n == 0)
		return;
	while (at < n && top->watches.list[at] != top->selected)
		at++;
	at += steps;
	top->selected = top->watches.list[at < 0 ? 0 : at >= n ? n - 1 : at];
	top->message[0] = '\0';
}

static void scroll_pane(struct top *top, long steps)
{
	long at = (long)top->scroll[top->pane] + steps;

	/* The screen knows where the end is. */
	top->scroll[top->pane] = at < 0 ? 0 : (size_t)at;
}

static void go_back(struct top *top)
{
	if (top->opened)
		top->selected = top->opened;
	top->opened = NULL;
	top->message[0] = '\0';
}

static void open_process(struct top *top)
{
	top->opened = top->selected;
	top->message[0] = '\0';
	memset(top->scroll, 0, sizeof(top->scroll));
}

/* By the next column that is seen; to the left: SORTS - 1 steps to the right. */
static void sort_by_next(struct top *top, unsigned steps)
{
	do
		top->sort = (top->sort + steps) % SORTS;
	while (!screen_has(top->sort));
}

static void key_in_list(struct top *top, int key)
{
	switch (key) {
	case '\n':
	case '\r':
	case KEY_ENTER:
		open_process(top);
		break;
	case KEY_RIGHT:
	case '>':
	case 's':
		sort_by_next(top, 1);
		break;
	case KEY_LEFT:
	case '<':
		sort_by_next(top, SORTS - 1);
		break;
	case 'r':
		top->is_reversed = !top->is_reversed;
		break;
	default:
		select_process(top, steps_of(top, key));
	}
	screen_sort(top);
}

static void key_in_process(struct top *top, int key)
{
	switch (key) {
	case KEY_BACKSPACE:
	case 127:
	case '\b':
	case KEY_ESC:
		go_back(top);
		break;
	case '\t':
		top->pane = (top->pane + 1) % PANES;
		break;
	case 's':
		top->bin_sort = (top->bin_sort + 1) % BIN_SORTS;
		break;
	default:
		scroll_pane(top, steps_of(top, key));
	}
}

/* False: that was enough. */
static bool on_key(struct top *top, int key)
{
	if (key == 'q' || key == 'Q')
		return false;
	if (key == KEY_RESIZE)
		return true;
	if (top->asks_layer)
		answer_question(top, key);
	else if (key == 'p')
		purge(top);
	else if (key == 't')
		top->asks_layer = current(top) != NULL;
	else if (top->opened)
		key_in_process(top, key);
	else
		key_in_list(top, key);
	return true;
}

/* ---- The loop ---- */

/* The one that was selected may have left the list. */
static void mend_selection(struct top *top)
{
	for (size_t i = 0; i < top->watches.count; i++)
		if (top->watches.list[i] == top->selected)
			return;
	top->selected = top->watches.count ? top->watches.list[0] : NULL;
	top->asks_layer = top->asks_layer && current(top);
}

static void look(struct top *top)
{
	watches_update(&top->watches, top->opened ? top->opened : NULL);
	screen_sort(top);
	mend_selection(top);
}

static bool handle_keys(struct top *top)
{
	int key;

	while ((key = getch()) != ERR)
		if (!on_key(top, key))
			return false;
	return true;
}

static void loop(struct top *top, const struct request *r)
{
	double next = now() + top->interval;
	long looks = 1;

	for (;;) {
		screen_draw(top);
		if (!wait_for_key(next) || !handle_keys(top) || is_told_to_end)
			return;
		if (now() < next)
			continue;
		if (r->count && ++looks > r->count)
			return;
		look(top);
		/* Late is late: what was missed is not made up for. */
		next = next + top->interval > now() ? next + top->interval :
		    now() + top->interval;
	}
}

/* Before curses, which leaves alone what is not SIG_DFL. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int watch_screen(struct top *top, const struct request *r, pid_t pid)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return complain("top needs a terminal (or --json)");
	catch_signals();
	look(top);
	if (pid)
		top->selected = top->opened = watches_find(&top->watches, pid);
	if (pid && !top->opened)
		return complain("%d: process ended", pid);
	if (!screen_start(top))
		return complain("top cannot use a terminal of the kind '%s'",
		    getenv("TERM") ? getenv("TERM") : "");
	loop(top, r);
	screen_end();
	return EXIT_FINE;
}

/* ---- JSON ---- */

static json_t *json_of(const struct top *top, pid_t pid)
{
	json_t *list = json_array();

	for (size_t i = 0; i < top->watches.count; i++) {
		const struct watch *w = top->watches.list[i];
		struct stats_view view = { &w->target, w->target.snapshot, w->before,
			w->seconds, STATS_ARENAS | STATS_BINS | STATS_LARGE };
		if (!w->has_ended && (!pid || w->target.pid == pid))
			json_array_append_new(list, stats_json(&view));
	}
	return list;
}

static int print_lines(struct top *top, const struct request *r, pid_t pid)
{
	long count = r->count ? r->count : 1;
	struct timespec pause = { (time_t)r->interval,
		(long)((r->interval - (double)(time_t)r->interval) * 1e9) };

	watches_update(&top->watches, NULL);
	for (long i = 0; i < count; i++) {
		nanosleep(&pause, NULL);
		watches_update(&top->watches, NULL);
		if (pid && !watches_find(&top->watches, pid))
			return complain("%d: process ended", pid);
		if (print_json(json_of(top, pid), true) != EXIT_FINE || fflush(stdout) != 0)
			return EXIT_FAILED;
	}
	return EXIT_FINE;
}

/* ---- Options ---- */

enum { OPTION_INTERVAL = 1000, OPTION_COUNT, OPTION_JSON };

static const struct option options[] = {
	{ "interval", required_argument, NULL, OPTION_INTERVAL },
	{ "count", required_argument, NULL, OPTION_COUNT },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static bool parse_number(const char *text, double least, double most, double *number)
{
	char *end;

	*number = strtod(text, &end);
	return end != text && !*end && *number >= least && *number <= most;
}

static int parse_value(struct request *r, int option, const char *text)
{
	double count = 0;

	if (option == OPTION_INTERVAL && !parse_number(text, 0.1, 86400, &r->interval))
		return complain_usage("top", "'%s' is not a number of seconds from 0.1 up",
		    text);
	if (option == OPTION_COUNT && !parse_number(text, 1, 1e9, &count))
		return complain_usage("top", "'%s' is not a count", text);
	if (option == OPTION_COUNT)
		r->count = (long)count;
	return EXIT_FINE;
}

static int parse(int argc, char **argv, struct request *r, bool *wants_help)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h')
			*wants_help = true;
		else if (option == OPTION_JSON)
			r->json = true;
		else if (option != OPTION_INTERVAL && option != OPTION_COUNT)
			return complain_option("top", option, argv);
		else if (parse_value(r, option, optarg) != EXIT_FINE)
			return EXIT_USAGE;
	}
	if (argc - optind > 1)
		return complain_usage("top", "unexpected argument '%s'", argv[optind + 1]);
	r->name = argv[optind];
	return EXIT_FINE;
}

/* Whether the process can be looked at is said before the screen starts. */
static int check_process(const char *name, pid_t *pid)
{
	struct target target;
	int code = attach(&target, name);

	if (code != EXIT_FINE)
		return code;
	*pid = target.pid;
	target_close(&target);
	return EXIT_FINE;
}

int command_top(int argc, char **argv)
{
	struct request r = { .interval = 1 };
	struct top top = { .sort = SORT_RESIDENT };
	bool wants_help = false;
	pid_t pid = 0;
	int code = parse(argc, argv, &r, &wants_help);

	if (code != EXIT_FINE)
		return code;
	if (wants_help) {
		fputs(help, stdout);
		return EXIT_FINE;
	}
	top.interval = r.interval;
	if (r.name && (code = check_process(r.name, &pid)) != EXIT_FINE)
		return code;
	top.watches.named = pid;
	code = r.json ? print_lines(&top, &r, pid) : watch_screen(&top, &r, pid);
	watches_free(&top.watches);
	return code;
}
