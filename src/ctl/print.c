#define _GNU_SOURCE
#include "ctl/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "ctl/control.h"
#include "hakmem/hakmem.h"
#include "page/metadata.h"

struct printer {
	void (*write)(void *, const char *);
	void *opaque;
	bool general, merged, each, bins, large, mutexes;
	const struct snapshot *s;
	bool needs_comma;
};

static void to_messages(void *unused, const char *text)
{
	(void)unused;
	log_text(text, strlen(text));
}

__attribute__((format(printf, 2, 3)))
static void print(struct printer *p, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	p->write(p->opaque, text);
}

/* What the letters leave out, by a row's name. */
static bool is_wanted(const struct printer *p, const char *name)
{
	bool is_general = strncmp(name, "config.", 7) == 0 ||
	    strncmp(name, "opt.", 4) == 0 || strncmp(name, "arenas.", 7) == 0 ||
	    strcmp(name, "version") == 0;
	bool is_mutex = strstr(name, "mutex") != NULL;

	return (p->general || !is_general) && (p->mutexes || !is_mutex) &&
	    (p->bins || !strstr(name, ".bins.")) &&
	    (p->large || !strstr(name, ".lextents."));
}

/* May the row be read by anyone, and has it no index? */
static bool is_plain(const struct ctl_row *row)
{
	return row->access & CTL_R && !strchr(row->name, '<') &&
	    strncmp(row->name, "thread.", 7) != 0 &&
	    strncmp(row->name, "tcache.", 7) != 0 &&
	    strncmp(row->name, "arenas.create", 13) != 0 &&
	    strncmp(row->name, "arenas.lookup", 13) != 0 &&
	    row->type != CTL_POINTER;
}

/* The value of a row at a place as text; false: there is none. */
static bool value_of(const struct printer *p, const struct ctl_place *place,
    char *text, size_t size)
{
	const struct ctl_row *row = &ctl_rows[place->row];
	uint64_t number;

	if (row->kind != CTL_KIND_STAT)
		return control_get_text(row->name, text, size) == 0;
	if (!ctl_stat(p->s, place, &number))
		return false;
	ctl_format((enum ctl_type)row->type, number, text, size);
	return true;
}

/* Text. */

static void print_values(struct printer *p)
{
	char text[256];

	for (unsigned i = 0; i < CTL_ROWS; i++) {
		const struct ctl_row *row = &ctl_rows[i];
		struct ctl_place place = ctl_place_of((enum ctl_id)i);
		if (is_plain(row) && is_wanted(p, row->name) &&
		    value_of(p, &place, text, sizeof(text)))
			print(p, "%s: %s\n", row->name, text);
	}
}

static void print_bins(struct printer *p, const struct snapshot_arena *a)
{
	print(p, "%10s %12s %10s %10s %12s %12s %10s %8s %8s\n", "size", "live",
	    "cached", "depot", "nmalloc", "ndalloc", "fills", "flushes", "slabs");
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		const struct snapshot_bin *b = &a->bins[c];
		bool large = c >= CLASS_L25;
		if (b->nmalloc == 0 || (large ? !p->large : !p->bins))
			continue;
		print(p, "%10u %12lu %10lu %10lu %12lu %12lu %10lu %8lu %8lu\n",
		    p->s->classes[c].size, b->live, b->cached, b->depot, b->nmalloc,
		    b->ndalloc, b->nfills, b->nflushes, b->curslabs);
	}
	if (p->large && a->whale_nmalloc)
		print(p, "%10s %12lu %10s %10s %12lu %12lu\n", "larger", a->whales,
		    "-", "-", a->whale_nmalloc, a->whale_nmalloc - a->whales);
}

static void print_arena(struct printer *p, const char *title,
    const struct snapshot_arena *a)
{
	print(p, "\n%s%s%s: %lu threads, %lu remote frees, %lu bytes in pages, "
	    "%lu whales of %lu bytes\n", title, a->name[0] ? " " : "", a->name,
	    a->nthreads, a->remote_frees, snapshot_active(p->s, a), a->whales,
	    a->whale_bytes);
	if (p->bins || p->large)
		print_bins(p, a);
}

static void print_text(struct printer *p)
{
	char title[32];

	print_values(p);
	if (p->merged)
		print_arena(p, "all arenas", &p->s->arenas[0]);
	for (unsigned i = 1; p->each && i < p->s->arena_rows; i++) {
		if (!p->s->arenas[i].is_made)
			continue;
		snprintf(title, sizeof(title), "arena %u", i - 1);
		print_arena(p, title, &p->s->arenas[i]);
	}
}

/* JSON, in the shape of jemalloc's: the names' components are the objects' keys, classes
 * are arrays, and stats.arenas is a key beside stats. */
#define STATS_ARENAS "stats.arenas."

static void print_comma(struct printer *p)
{
	if (p->needs_comma)
		print(p, ",");
	p->needs_comma = false;
}

static void print_key(struct printer *p, const char *key, size_t length)
{
	print_comma(p);
	print(p, "\"%.*s\":", (int)length, key);
}

/* Of the component of a row's name that starts there. */
static size_t key_length(const char *name, const char *key)
{
	return key == name && strncmp(name, STATS_ARENAS, strlen(STATS_ARENAS)) == 0 ?
	    strlen(STATS_ARENAS) - 1 : strcspn(key, ".");
}

/* Does the row lie below the first length characters of prefix? */
static bool is_below(const char *name, const char *prefix, size_t length)
{
	return length == 0 || (strncmp(name, prefix, length) == 0 && name[length] == '.' &&
	    (length != strcspn(STATS_ARENAS, ".") ||
	    strncmp(name, STATS_ARENAS, strlen(STATS_ARENAS)) != 0));
}

static void print_string(struct printer *p, const char *text)
{
	print(p, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			print(p, "\\%c", c);
		else if (c < 0x20)
			print(p, "\\u%04x", c);
		else
			print(p, "%c", c);
	}
	print(p, "\"");
}

static void print_leaf(struct printer *p, const struct ctl_place *place)
{
	char text[256];

	if (!value_of(p, place, text, sizeof(text)))
		print(p, "null");
	else if (ctl_rows[place->row].type == CTL_STRING)
		print_string(p, text);
	else
		print(p, "%s", text);
	p->needs_comma = true;
}

static bool is_printed(const struct printer *p, const struct ctl_row *row)
{
	return is_wanted(p, row->name) && (is_plain(row) || row->kind == CTL_KIND_STAT);
}

/* Has a row before this one the same first length characters? */
static bool seen_before(const struct printer *p, unsigned row, size_t length)
{
	for (unsigned i = 0; i < row; i++)
		if (is_printed(p, &ctl_rows[i]) && strncmp(ctl_rows[i].name, ctl_rows[row].name, length) == 0 &&
		    (ctl_rows[i].name[length] == '.' || !ctl_rows[i].name[length]))
			return true;
	return false;
}

static void print_object(struct printer *p, const char *prefix, size_t length,
    const struct ctl_place *at);

/* How many classes the key lists; 0: it does not. */
static unsigned classes_of(const char *key, size_t length)
{
	static const struct {
		const char *key;
		unsigned n;
	} lists[] = { { "bin", SNAPSHOT_BINS }, { "bins", SNAPSHOT_BINS },
		{ "lextent", SNAPSHOT_LEXTENTS }, { "lextents", SNAPSHOT_LEXTENTS } };

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (strlen(lists[i].key) == length && strncmp(key, lists[i].key, length) == 0)
			return lists[i].n;
	return 0;
}

/* Arenas by number, the sum as "merged". */
static void print_arenas(struct printer *p, const char *prefix, size_t length,
    struct ctl_place place)
{
	char key[16];

	for (unsigned i = 0; p->each && i < p->s->arena_rows - 1; i++) {
		if (!p->s->arenas[i + 1].is_made)
			continue;
		place.index[0] = i;
		snprintf(key, sizeof(key), "%u", i);
		print_key(p, key, strlen(key));
		print_object(p, prefix, length, &place);
	}
	if (p->merged) {
		place.index[0] = CTL_ARENAS_ALL;
		print_key(p, "merged", 6);
		print_object(p, prefix, length, &place);
	}
}

/* n classes in their order, which of the place's indices they are. */
static void print_classes(struct printer *p, const char *prefix, size_t length,
    struct ctl_place place, unsigned which, unsigned n)
{
	print(p, "[");
	for (unsigned i = 0; i < n; i++) {
		place.index[which] = i;
		print_comma(p);
		print_object(p, prefix, length, &place);
	}
	print(p, "]");
}

/* What is below the first length characters of prefix. */
static void print_object(struct printer *p, const char *prefix, size_t length,
    const struct ctl_place *at)
{
	unsigned which = strchr(prefix, '<') && strchr(prefix, '<') < prefix + length;

	print(p, "{");
	p->needs_comma = false;
	for (unsigned i = 0; i < CTL_ROWS; i++) {
		const char *name = ctl_rows[i].name;
		if (!is_printed(p, &ctl_rows[i]) || !is_below(name, prefix, length))
			continue;
		const char *key = name + length + (length != 0);
		size_t n = key_length(name, key);
		size_t below = (size_t)(key - name) + n;
		if (seen_before(p, i, below))
			continue;
		struct ctl_place leaf = ctl_place_of((enum ctl_id)i);
		memcpy(leaf.index, at->index, sizeof(leaf.index));
		if (*key == '<') {
			print_arenas(p, name, below, leaf);
			continue;
		}
		print_key(p, key, n);
		unsigned classes = classes_of(key, n);
		if (classes)
			print_classes(p, name, below + strlen(".<i>"), leaf, which, classes);
		else if (key[n])
			print_object(p, name, below, at);
		else
			print_leaf(p, &leaf);
		p->needs_comma = true;
	}
	print(p, "}");
	p->needs_comma = true;
}

static void print_json(struct printer *p)
{
	struct ctl_place top = { .depth = 0 };

	print(p, "{\"%s\":", &jemalloc_names ? "jemalloc" : "hakmem");
	print_object(p, "", 0, &top);
	print(p, "}\n");
}

void print_stats(void (*write_cb)(void *, const char *), void *opaque,
    const char *letters)
{
	if (!letters)
		letters = "";
	struct printer p = {
		.write = write_cb ? write_cb : hak_malloc_message ? hak_malloc_message :
		    to_messages,
		.opaque = opaque,
		.general = !strchr(letters, 'g'), .merged = !strchr(letters, 'm'),
		.each = !strchr(letters, 'a'), .bins = !strchr(letters, 'b'),
		.large = !strchr(letters, 'l'), .mutexes = !strchr(letters, 'x'),
	};
	const struct snapshot *s = control_snapshot(true);

	if (!s)
		return;
	/* A copy: the callback may call hak_mallctl. */
	size_t size = snapshot_size(s->arena_rows);
	struct snapshot *copy = metadata_alloc(size);
	if (copy)
		memcpy(copy, s, size);
	lock_release(&control_lock);
	if (!copy)
		return;
	p.s = copy;
	if (strchr(letters, 'J'))
		print_json(&p);
	else
		print_text(&p);
	metadata_free(copy, size);
}
