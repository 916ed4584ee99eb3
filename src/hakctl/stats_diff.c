#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hakctl/commands.h"
#include "hakctl/format.h"
#include "hakctl/grid.h"
#include "hakctl/stats.h"

/* What of a list is compared: rows are the same if they have the same key. */
struct list {
	const char *name, *title, *key;
	bool key_is_bytes;
	const char *fields[5];
	enum stats_kind kinds[5];
};

static const struct list lists[] = {
	{ "sites", "Sites", "name", false,
	  { "allocated", "active", "objects", "nmalloc", "ndalloc" },
	  { STATS_BYTES, STATS_BYTES, STATS_COUNT, STATS_COUNT, STATS_COUNT } },
	{ "arenas", "Arenas", "index", false,
	  { "allocated", "active", "objects", "nmalloc", "ndalloc" },
	  { STATS_BYTES, STATS_BYTES, STATS_COUNT, STATS_COUNT, STATS_COUNT } },
	{ "bins", "Classes with slabs", "size", true,
	  { "live", "cached", "curslabs", "nmalloc", "ndalloc" },
	  { STATS_COUNT, STATS_COUNT, STATS_COUNT, STATS_COUNT, STATS_COUNT } },
	{ "large", "Classes above 32 KiB", "size", true,
	  { "live", "cached", "curslabs", "nmalloc", "ndalloc" },
	  { STATS_COUNT, STATS_COUNT, STATS_COUNT, STATS_COUNT, STATS_COUNT } },
	{ "threads", "Threads", "tid", false,
	  { "allocated", "deallocated", "cached", "hits", "misses" },
	  { STATS_BYTES, STATS_BYTES, STATS_BYTES, STATS_COUNT, STATS_COUNT } },
};
#define LISTS (sizeof(lists) / sizeof(lists[0]))
#define FIELDS 5

static json_t *load(const char *path)
{
	json_error_t error;
	json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		complain("%s: %s", path, error.line > 0 ? "is not JSON" : error.text);
	else if (!json_is_integer(json_object_get(json, "allocated")) ||
	    !json_is_object(json_object_get(json, "layers"))) {
		complain("%s: is not what hakctl stats --json wrote", path);
		json_decref(json);
		json = NULL;
	}
	return json;
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* b - a, held within what an integer holds. */
static json_int_t change(const json_t *a, const json_t *b, const char *name)
{
	json_int_t difference;

	return __builtin_sub_overflow(number(b, name), number(a, name), &difference) ||
	    difference == INT64_MIN ? INT64_MAX : difference;
}

static const char *text_of(enum stats_kind kind, json_int_t n, char *text, size_t size)
{
	uint64_t u = n < 0 ? 0 : (uint64_t)n;

	switch (kind) {
	case STATS_BYTES:
		return format_bytes(text, size, u);
	case STATS_NS:
		return format_duration(text, size, u);
	case STATS_MS:
		snprintf(text, size, "%" JSON_INTEGER_FORMAT " ms", n);
		return text;
	case STATS_SHARE:
		snprintf(text, size, "%.2f %%", (double)n / 100);
		return text;
	default:
		return format_count(text, size, u);
	}
}

static const char *change_of(enum stats_kind kind, json_int_t n, char *text, size_t size)
{
	if (n == 0)
		return "-";
	if (kind == STATS_BYTES)
		return format_bytes_signed(text, size, n);
	if (kind == STATS_COUNT)
		return format_count_signed(text, size, n);
	text[0] = n < 0 ? '-' : '+';
	text_of(kind, n < 0 ? -n : n, text + 1, size - 1);
	return text;
}

/* ---- As text ---- */

static void total_row(struct grid *g, const char *label, enum stats_kind kind,
    json_int_t a, json_int_t b, json_int_t difference)
{
	char text[FORMAT_SIZE];

	grid_text(g, "%s", label);
	grid_text(g, "%s", text_of(kind, a, text, sizeof(text)));
	grid_text(g, "%s", text_of(kind, b, text, sizeof(text)));
	grid_text(g, "%s", change_of(kind, difference, text, sizeof(text)));
	if (a > 0 && difference)
		grid_text(g, "%+.1f %%", 100.0 * (double)difference / (double)a);
	else
		grid_text(g, "%s", "");
}

static void print_totals(const json_t *a, const json_t *b)
{
	static const char *const headings[] = { "<", "before", "after", "change", "" };
	struct grid g;

	grid_start(&g, headings, 5);
	total_row(&g, "RSS", STATS_BYTES, number(a, "rss"), number(b, "rss"),
	    change(a, b, "rss"));
	for (size_t i = 0; i < stats_totals_count; i++) {
		const struct stats_total *t = &stats_totals[i];
		json_int_t difference = change(a, b, t->name);
		/* The first four always; of the others those that moved. */
		if (i < 4 || difference)
			total_row(&g, t->label, t->kind, number(a, t->name),
			    number(b, t->name), difference);
	}
	grid_finish(&g, "  ", true);
}

static void print_layers(const json_t *a, const json_t *b)
{
	static const char *const headings[] = { "<layer", "hit rate between", "hits",
		"misses", "cached" };
	const json_t *la = json_object_get(a, "layers"), *lb = json_object_get(b, "layers");
	char text[FORMAT_SIZE];
	struct grid g;

	putchar('\n');
	grid_start(&g, headings, 5);
	for (unsigned i = 0; i < LAYERS; i++) {
		const json_t *x = json_object_get(la, stats_layer_names[i]);
		const json_t *y = json_object_get(lb, stats_layer_names[i]);
		json_int_t hits = change(x, y, "hits"), misses = change(x, y, "misses");
		grid_text(&g, "%s", stats_layer_names[i]);
		grid_text(&g, "%s", hits >= 0 && misses >= 0 ? format_percent(text,
		    sizeof(text), (uint64_t)hits, (uint64_t)hits + (uint64_t)misses) : "-");
		grid_text(&g, "%s", change_of(STATS_COUNT, hits, text, sizeof(text)));
		grid_text(&g, "%s", change_of(STATS_COUNT, misses, text, sizeof(text)));
		grid_text(&g, "%s", change_of(STATS_BYTES, change(x, y, "bytes"), text,
		    sizeof(text)));
	}
	grid_finish(&g, "  ", true);
}

/* The row of a list with the key of another's; NULL: none. */
static json_t *partner(const json_t *list, const json_t *row, const char *key)
{
	json_t *wanted = json_object_get(row, key), *other;
	size_t i;

	json_array_foreach(list, i, other)
		if (wanted && json_equal(json_object_get(other, key), wanted))
			return other;
	return NULL;
}

static bool has_changed(const struct list *l, const json_t *a, const json_t *b)
{
	for (int f = 0; f < FIELDS; f++)
		if (change(a, b, l->fields[f]))
			return true;
	return false;
}

static void list_row(struct grid *g, const struct list *l, const json_t *a,
    const json_t *b)
{
	const json_t *row = b ? b : a, *key = json_object_get(row, l->key);
	char text[FORMAT_SIZE], name[64];

	if (json_is_string(key))
		snprintf(name, sizeof(name), "%s", json_string_value(key));
	else if (l->key_is_bytes)
		format_bytes(name, sizeof(name), (uint64_t)json_integer_value(key));
	else
		snprintf(name, sizeof(name), "%" JSON_INTEGER_FORMAT,
		    json_integer_value(key));
	grid_text(g, "%s", format_printable(name));
	for (int f = 0; f < FIELDS; f++)
		grid_text(g, "%s", change_of(l->kinds[f], change(a, b, l->fields[f]), text,
		    sizeof(text)));
	grid_text(g, "%s", !a ? "new" : !b ? "gone" : "");
}

static void print_list(const struct list *l, const json_t *a, const json_t *b)
{
	const char *const headings[] = { l->key, l->fields[0], l->fields[1], l->fields[2],
		l->fields[3], l->fields[4], "<" };
	const json_t *la = json_object_get(a, l->name), *lb = json_object_get(b, l->name);
	struct grid g;
	json_t *row;
	size_t i;

	if (!json_is_array(la) || !json_is_array(lb))
		return;
	grid_start(&g, headings, 7);
	json_array_foreach(lb, i, row) {
		const json_t *old = partner(la, row, l->key);
		if (has_changed(l, old, row))
			list_row(&g, l, old, row);
	}
	json_array_foreach(la, i, row)
		if (!partner(lb, row, l->key))
			list_row(&g, l, row, NULL);
	if (grid_rows(&g))
		printf("\n%s: what changed\n\n", l->title);
	grid_finish(&g, "  ", grid_rows(&g) > 0);
}

static void print_title(const json_t *a, const json_t *b)
{
	char text[FORMAT_SIZE], command[64];
	const char *name = json_string_value(json_object_get(b, "command"));
	json_int_t between = change(a, b, "taken_ns");

	snprintf(command, sizeof(command), "%s", name ? name : "?");
	printf("%s (%" JSON_INTEGER_FORMAT ")", format_printable(command),
	    number(b, "pid"));
	if (number(a, "pid") != number(b, "pid"))
		printf(", not the same process as before (%" JSON_INTEGER_FORMAT ")",
		    number(a, "pid"));
	else if (between >= 0)
		printf(", %s later", format_duration(text, sizeof(text),
		    (uint64_t)between));
	else
		printf(": the second is the older one");
	printf("\n\n");
}

/* ---- As JSON ---- */

static json_t *total_changes(const json_t *a, const json_t *b)
{
	json_t *changes = json_object();

	for (size_t i = 0; i < stats_totals_count; i++)
		json_object_set_new(changes, stats_totals[i].name,
		    json_integer(change(a, b, stats_totals[i].name)));
	return changes;
}

static json_t *layer_changes(const json_t *a, const json_t *b)
{
	static const char *const fields[] = { "hits", "misses", "bytes", "capacity" };
	json_t *layers = json_object();

	for (unsigned i = 0; i < LAYERS; i++) {
		const json_t *x = json_object_get(json_object_get(a, "layers"),
		    stats_layer_names[i]);
		const json_t *y = json_object_get(json_object_get(b, "layers"),
		    stats_layer_names[i]);
		json_t *layer = json_object();
		for (int f = 0; f < 4; f++)
			json_object_set_new(layer, fields[f],
			    json_integer(change(x, y, fields[f])));
		json_object_set_new(layers, stats_layer_names[i], layer);
	}
	return layers;
}

static json_t *row_change(const struct list *l, const json_t *a, const json_t *b)
{
	json_t *row = json_object();

	json_object_set(row, l->key, json_object_get(b ? b : a, l->key));
	for (int f = 0; f < FIELDS; f++)
		json_object_set_new(row, l->fields[f],
		    json_integer(change(a, b, l->fields[f])));
	return row;
}

static json_t *list_changes(const struct list *l, const json_t *la, const json_t *lb)
{
	json_t *rows = json_array(), *row;
	size_t i;

	json_array_foreach(lb, i, row) {
		const json_t *old = partner(la, row, l->key);
		if (has_changed(l, old, row))
			json_array_append_new(rows, row_change(l, old, row));
	}
	json_array_foreach(la, i, row)
		if (!partner(lb, row, l->key))
			json_array_append_new(rows, row_change(l, row, NULL));
	return rows;
}

static json_t *diff_json(const json_t *a, const json_t *b)
{
	json_t *changes = total_changes(a, b);

	json_object_set_new(changes, "taken_ns", json_integer(change(a, b, "taken_ns")));
	json_object_set_new(changes, "rss", json_integer(change(a, b, "rss")));
	json_object_set_new(changes, "layers", layer_changes(a, b));
	for (size_t i = 0; i < LISTS; i++) {
		const json_t *la = json_object_get(a, lists[i].name);
		const json_t *lb = json_object_get(b, lists[i].name);
		if (json_is_array(la) && json_is_array(lb))
			json_object_set_new(changes, lists[i].name,
			    list_changes(&lists[i], la, lb));
	}
	return changes;
}

int stats_diff(const char *path_a, const char *path_b, bool json)
{
	json_t *a = load(path_a), *b = a ? load(path_b) : NULL;
	int code = EXIT_FAILED;

	if (a && b && json) {
		code = print_json(diff_json(a, b), false);
	} else if (a && b) {
		print_title(a, b);
		print_totals(a, b);
		print_layers(a, b);
		for (size_t i = 0; i < LISTS; i++)
			print_list(&lists[i], a, b);
		code = EXIT_FINE;
	}
	json_decref(a);
	json_decref(b);
	return code;
}
