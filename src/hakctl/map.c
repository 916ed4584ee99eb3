#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "hakctl/commands.h"
#include "hakctl/format.h"
#include "hakctl/map.h"
#include "hakctl/output.h"

/* 1 TiB of heap: who says more is not believed, */
#define CHUNKS_MAX (1u << 19)
/* nor who always has more to say. */
#define WAIT_MAP_SECONDS 30

const char *const map_kind_names[MAP_KINDS] = { "slab", "clean", "dirty", "muzzy" };

static const char help[] =
	"Usage: hakctl map PROCESS [-o FILE.svg]\n"
	"\n"
	"Draw a process's heap: its chunks of 2 MiB, which size class has which part of\n"
	"them and how full that is, and what is free. Objects over 1 MiB have mappings of\n"
	"their own, outside the chunks.\n"
	"\n"
	"  -o, --output FILE   as a picture (SVG); -: to stdout\n"
	"  --colour WHEN       of the text: auto (on a terminal), always or never\n"
	"  --json              as JSON\n"
	"  --help              this\n";

/* ---- What the process says ---- */

static bool add_chunk(struct map *map, const struct map_chunk *chunk)
{
	if (map->count == map->capacity) {
		size_t capacity = map->capacity ? 2 * map->capacity : 64;
		void *p = realloc(map->chunks, capacity * sizeof(*map->chunks));
		if (!p)
			return false;
		map->chunks = p;
		map->capacity = capacity;
	}
	map->chunks[map->count++] = *chunk;
	return true;
}

static bool is_sane(const struct map *map, const struct map_reply *head, size_t length)
{
	return head->granule >= 4096 && head->granule <= (1u << 30) &&
	    head->cells > 0 && head->cells <= MAP_CELLS &&
	    head->chunks <= (length - sizeof(*head)) / sizeof(struct map_chunk) &&
	    head->chunks <= CHUNKS_MAX - map->count &&
	    (map->count == 0 ||
	     (head->granule == map->granule && head->cells == map->cells));
}

/* Takes a reply in; false: it makes no sense. */
static bool take_reply(struct map *map, const char *reply, size_t length,
    uint64_t *next)
{
	struct map_reply head;
	struct map_chunk chunk;

	if (length < sizeof(head))
		return false;
	memcpy(&head, reply, sizeof(head));
	if (!is_sane(map, &head, length))
		return false;
	map->granule = head.granule;
	map->cells = head.cells;
	for (uint32_t i = 0; i < head.chunks; i++) {
		memcpy(&chunk, reply + sizeof(head) + i * sizeof(chunk), sizeof(chunk));
		if (!add_chunk(map, &chunk))
			return false;
	}
	*next = head.next;
	return true;
}

static int complain_answer(const struct target *t, int error)
{
	return complain("%d: %s", t->pid,
	    target_refusal(t, target_is_gone(t) ? ESRCH : error));
}

static int by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct map_chunk *)a)->base;
	uint64_t y = ((const struct map_chunk *)b)->base;

	return (x > y) - (x < y);
}

/* Cursors shift when chunks go while we ask: one may come twice. */
static void sort(struct map *map)
{
	size_t kept = 0;

	if (map->count)
		qsort(map->chunks, map->count, sizeof(*map->chunks), by_base);
	for (size_t i = 0; i < map->count; i++)
		if (kept == 0 || map->chunks[i].base != map->chunks[kept - 1].base)
			map->chunks[kept++] = map->chunks[i];
	map->count = kept;
}

static time_t seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static int get_map(struct target *target, struct map *map)
{
	char reply[SEGMENT_REPLY + 1], value[24];
	uint64_t cursor = 0, next = 0;
	time_t end = seconds_now() + WAIT_MAP_SECONDS;
	size_t length;

	do {
		snprintf(value, sizeof(value), "%" PRIu64, cursor);
		int error = target_ask(target, MAILBOX_MAP, "", value, reply, &length,
		    WAIT_LOOK_MS);
		if (error)
			return complain_answer(target, error);
		if (!take_reply(map, reply, length, &next) || (next && next <= cursor) ||
		    seconds_now() > end)
			return complain("%d: its answer makes no sense", target->pid);
		cursor = next;
	} while (next);
	sort(map);
	return EXIT_FINE;
}

/* ---- Pieces and sums ---- */

static enum map_kind kind_of(uint8_t class)
{
	/* Any other value beyond the classes nobody knows. */
	return class == MAP_DIRTY ? MAP_KIND_DIRTY : class == MAP_MUZZY ? MAP_KIND_MUZZY :
	    class == 0 || class >= CLASSES ? MAP_KIND_CLEAN : MAP_KIND_SLAB;
}

/* Cells of the class's slabs; where the snapshot does not tell, all that follow. */
static uint32_t slab_cells(const struct map *map, unsigned class)
{
	uint32_t bytes = map->target->snapshot->classes[class].slab_bytes;
	uint64_t n = bytes / map->granule;

	return n > 0 && n <= map->cells ? (uint32_t)n : map->cells;
}

struct map_run map_run_at(const struct map *map, const struct map_chunk *chunk,
    uint32_t first)
{
	enum map_kind kind = kind_of(chunk->class[first]);
	bool is_slab = kind == MAP_KIND_SLAB;
	struct map_run run = { kind, is_slab ? chunk->class[first] : 0,
		is_slab ? chunk->used[first] : 0, first, 1 };
	uint32_t most = is_slab ? slab_cells(map, run.class) : map->cells;

	for (uint32_t i = first + 1; i < map->cells && run.cells < most; i++) {
		if (kind_of(chunk->class[i]) != kind || (is_slab &&
		    (chunk->class[i] != run.class || chunk->used[i] != run.used)))
			break;
		run.cells++;
	}
	return run;
}

static void add_run(struct map_sum *sum, const struct map *map,
    const struct map_run *run)
{
	uint64_t bytes = run->cells * map->granule;

	sum->runs++;
	sum->bytes += bytes;
	sum->used += bytes * run->used / 255;
}

struct map_totals map_count(const struct map *map)
{
	struct map_totals totals = { .bytes = map->count * map->cells * map->granule };

	for (size_t i = 0; i < map->count; i++) {
		struct map_run run;
		for (uint32_t c = 0; c < map->cells; c += run.cells) {
			run = map_run_at(map, &map->chunks[i], c);
			add_run(&totals.kinds[run.kind], map, &run);
			if (run.kind == MAP_KIND_SLAB)
				add_run(&totals.classes[run.class], map, &run);
		}
	}
	return totals;
}

const char *map_class_name(const struct map *map, unsigned class, char *text,
    size_t size)
{
	uint32_t bytes = map->target->snapshot->classes[class % CLASSES].size;

	if (bytes < 1024)
		snprintf(text, size, "%" PRIu32 " B", bytes);
	else if (bytes % 1024 == 0 && bytes < 1024 * 1024)
		snprintf(text, size, "%" PRIu32 " KiB", bytes / 1024);
	else
		format_bytes(text, size, bytes);
	return text;
}

const char *map_layer_name(unsigned class)
{
	return class < CLASS_L2 ? "tiny" : class < CLASS_L25 ? "l2" :
	    class < CLASS_WHALE ? "l25" : "whale";
}

/* ---- JSON ---- */

static json_t *run_json(const struct map *map, const struct map_run *run)
{
	json_t *json = json_object();

	json_object_set_new(json, "offset",
	    json_integer((json_int_t)(run->first * map->granule)));
	json_object_set_new(json, "bytes",
	    json_integer((json_int_t)(run->cells * map->granule)));
	json_object_set_new(json, "kind", json_string(map_kind_names[run->kind]));
	if (run->kind == MAP_KIND_SLAB) {
		json_object_set_new(json, "size",
		    json_integer(map->target->snapshot->classes[run->class].size));
		json_object_set_new(json, "layer", json_string(map_layer_name(run->class)));
		json_object_set_new(json, "used", json_real(run->used / 255.0));
	}
	return json;
}

static json_t *chunk_json(const struct map *map, const struct map_chunk *chunk)
{
	json_t *json = json_object(), *runs = json_array();
	struct map_run run;
	char base[24];

	snprintf(base, sizeof(base), "0x%" PRIx64, chunk->base);
	json_object_set_new(json, "base", json_string(base));
	for (uint32_t c = 0; c < map->cells; c += run.cells) {
		run = map_run_at(map, chunk, c);
		json_array_append_new(runs, run_json(map, &run));
	}
	json_object_set_new(json, "runs", runs);
	return json;
}

static json_t *sum_json(const struct map_sum *sum)
{
	json_t *json = json_object();

	json_object_set_new(json, "runs", json_integer((json_int_t)sum->runs));
	json_object_set_new(json, "bytes", json_integer((json_int_t)sum->bytes));
	return json;
}

static json_t *totals_json(const struct map *map)
{
	const struct snapshot *s = map->target->snapshot;
	struct map_totals totals = map_count(map);
	json_t *json = json_object();

	json_object_set_new(json, "bytes", json_integer((json_int_t)totals.bytes));
	for (int kind = 0; kind < MAP_KINDS; kind++)
		json_object_set_new(json, map_kind_names[kind],
		    sum_json(&totals.kinds[kind]));
	json_object_set_new(json, "whales",
	    json_integer((json_int_t)(s->whales & INT64_MAX)));
	json_object_set_new(json, "whale_allocated_bytes",
	    json_integer((json_int_t)(s->whale_bytes & INT64_MAX)));
	json_object_set_new(json, "whale_cached_bytes",
	    json_integer((json_int_t)(s->whale_cached & INT64_MAX)));
	return json;
}

static json_t *map_json(const struct map *map)
{
	json_t *json = json_object(), *chunks = json_array();

	json_object_set_new(json, "pid", json_integer(map->target->pid));
	json_object_set_new(json, "command", json_string(map->target->command));
	json_object_set_new(json, "granule", json_integer((json_int_t)map->granule));
	json_object_set_new(json, "chunk",
	    json_integer((json_int_t)(map->granule * map->cells)));
	json_object_set_new(json, "totals", totals_json(map));
	for (size_t i = 0; i < map->count; i++)
		json_array_append_new(chunks, chunk_json(map, &map->chunks[i]));
	json_object_set_new(json, "chunks", chunks);
	return json;
}

/* ---- The command ---- */

enum colour_when { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER };

struct request {
	const char *file;
	enum colour_when colour;
	bool json;
};

static unsigned terminal_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ?
	    size.ws_col : 80;
}

static struct map_look look_of(const struct request *r)
{
	const char *term = getenv("TERM"), *true_colour = getenv("COLORTERM");
	const char *none = getenv("NO_COLOR");
	bool is_able = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 &&
	    !(none && *none);

	setlocale(LC_CTYPE, "");
	return (struct map_look) {
		.with_colour = r->colour == COLOUR_ALWAYS ||
		    (r->colour == COLOUR_AUTO && is_able),
		.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
		.is_true_colour = true_colour && (strcmp(true_colour, "truecolor") == 0 ||
		    strcmp(true_colour, "24bit") == 0),
		.width = terminal_width(),
	};
}

static int draw_file(const struct map *map, const char *file)
{
	struct output output;
	int code = output_open(&output, file);

	if (code != EXIT_FINE)
		return code;
	map_draw(output.stream, map);
	return output_close(&output, true);
}

/* JSON goes to the file, too, if both were asked for. */
static int json_file(const struct map *map, const char *file)
{
	struct output output;
	int code = output_open(&output, file);

	if (code != EXIT_FINE)
		return code;
	json_t *json = map_json(map);
	json_dumpf(json, output.stream, JSON_COMPACT | JSON_PRESERVE_ORDER);
	fputc('\n', output.stream);
	json_decref(json);
	return output_close(&output, true);
}

static int show(const struct map *map, const struct request *r)
{
	if (r->json)
		return json_file(map, r->file);
	if (r->file)
		return draw_file(map, r->file);
	struct map_look look = look_of(r);
	map_print(stdout, map, &look);
	return EXIT_FINE;
}

static int map_of(const char *name, const struct request *r)
{
	struct target target;
	struct map map = { .target = &target };
	int code = attach(&target, name);

	if (code != EXIT_FINE)
		return code;
	code = get_map(&target, &map);
	if (code == EXIT_FINE)
		code = show(&map, r);
	free(map.chunks);
	target_close(&target);
	return code;
}

enum { OPTION_COLOUR = 1000, OPTION_JSON };

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "colour", required_argument, NULL, OPTION_COLOUR },
	{ "color", required_argument, NULL, OPTION_COLOUR },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static int parse_colour(const char *when, enum colour_when *colour)
{
	static const char *const names[] = { "auto", "always", "never" };

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(when, names[i]) == 0) {
			*colour = (enum colour_when)i;
			return EXIT_FINE;
		}
	return complain_usage("map", "--colour is auto, always or never, not '%s'", when);
}

static int parse(int argc, char **argv, struct request *r, bool *wants_help)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (option == 'o')
			r->file = optarg;
		else if (option == 'h')
			*wants_help = true;
		else if (option == OPTION_JSON)
			r->json = true;
		else if (option != OPTION_COLOUR)
			return complain_option("map", option, argv);
		else if (parse_colour(optarg, &r->colour) != EXIT_FINE)
			return EXIT_USAGE;
	}
	return EXIT_FINE;
}

int command_map(int argc, char **argv)
{
	struct request r = { 0 };
	bool wants_help = false;
	int code = parse(argc, argv, &r, &wants_help);

	if (code != EXIT_FINE)
		return code;
	if (wants_help) {
		fputs(help, stdout);
		return EXIT_FINE;
	}
	if (argc - optind != 1)
		return complain_usage("map", "which process?");
	return map_of(argv[optind], &r);
}
