#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "hakctl/format.h"
#include "hakctl/map.h"

/* Address and its margin, before the cells. */
#define MARGIN 15u

struct pen {
	FILE *out;
	const struct map *map;
	const struct map_look *look;
	unsigned cells_of_line;
};

/* ---- Cells ---- */

static char free_letter(enum map_kind kind)
{
	return kind == MAP_KIND_DIRTY ? '#' : kind == MAP_KIND_MUZZY ? '~' : '.';
}

/* A letter for the layer, a capital where half of it or more is in use. */
static char letter(const struct map_run *run)
{
	bool is_full = run->used >= 128;

	if (run->kind != MAP_KIND_SLAB)
		return free_letter(run->kind);
	if (run->class < CLASS_L2)
		return is_full ? 'T' : 't';
	return run->class < CLASS_L25 ? (is_full ? 'M' : 'm') : is_full ? 'B' : 'b';
}

/* The nearest of the 6 x 6 x 6 colours that terminals of 256 have. */
static unsigned nearest(uint8_t value)
{
	return value < 48 ? 0 : value < 115 ? 1 : (value - 35u) / 40;
}

static void background(const struct pen *pen, struct map_colour c)
{
	if (pen->look->is_true_colour)
		fprintf(pen->out, "\33[48;2;%u;%u;%um", c.red, c.green, c.blue);
	else if (c.red == c.green && c.green == c.blue)
		fprintf(pen->out, "\33[48;5;%um", 232 + (c.red > 238 ? 23 : c.red / 10u));
	else
		fprintf(pen->out, "\33[48;5;%um", 16 + 36 * nearest(c.red) +
		    6 * nearest(c.green) + nearest(c.blue));
}

/* Slabs that look the same run into each other: each starts with a rule. */
static const char *colour_cell(const struct pen *pen, const struct map_run *run,
    uint32_t cell)
{
	switch (run->kind) {
	case MAP_KIND_SLAB:
		return cell != run->first ? " " : pen->look->is_utf8 ? "\u258f" : "|";
	case MAP_KIND_DIRTY:
		return "#";
	case MAP_KIND_MUZZY:
		return "~";
	default:
		return " ";
	}
}

static void colour_run(const struct pen *pen, const struct map_run *run,
    uint32_t from, uint32_t end)
{
	/* The terminal's own background, dark or light, is where there is nothing. */
	if (run->kind != MAP_KIND_CLEAN)
		background(pen, map_colour_of(run->kind, run->class, run->used));
	fputs("\33[38;5;236m", pen->out);
	for (uint32_t i = from; i < end; i++)
		fputs(colour_cell(pen, run, i), pen->out);
	fputs("\33[0m", pen->out);
}

static void text_run(const struct pen *pen, const struct map_run *run, uint32_t from,
    uint32_t end)
{
	for (uint32_t i = from; i < end; i++)
		fputc(letter(run), pen->out);
}

/* What of the run lies in the line that starts at cell line. */
static void print_part(const struct pen *pen, const struct map_run *run, uint32_t line)
{
	uint32_t from = run->first > line ? run->first : line;
	uint32_t end = run->first + run->cells, limit = line + pen->cells_of_line;

	end = end < limit ? end : limit;
	if (from >= end)
		return;
	if (pen->look->with_colour)
		colour_run(pen, run, from, end);
	else
		text_run(pen, run, from, end);
}

static void print_chunk(const struct pen *pen, const struct map_chunk *chunk)
{
	const struct map *map = pen->map;
	struct map_run run;

	for (uint32_t line = 0; line < map->cells; line += pen->cells_of_line) {
		if (line == 0)
			fprintf(pen->out, "%14" PRIx64 " ", chunk->base);
		else
			fprintf(pen->out, "%*s", (int)MARGIN, "");
		for (uint32_t c = 0; c < map->cells; c += run.cells) {
			run = map_run_at(map, chunk, c);
			print_part(pen, &run, line);
		}
		fputc('\n', pen->out);
	}
}

/* ---- What it means ---- */

static void print_title(const struct pen *pen)
{
	const struct map *map = pen->map;
	char all[FORMAT_SIZE], one[FORMAT_SIZE], cell[FORMAT_SIZE];
	struct map_totals totals = map_count(map);

	fprintf(pen->out, "%s (%d): %zu chunk%s of %s, %s; a cell is %s\n\n",
	    map->target->command, map->target->pid, map->count,
	    map->count == 1 ? "" : "s",
	    format_bytes(one, sizeof(one), map->cells * map->granule),
	    format_bytes(all, sizeof(all), totals.bytes),
	    format_bytes(cell, sizeof(cell), map->granule));
}

static void print_swatch(const struct pen *pen, enum map_kind kind, unsigned class,
    unsigned used)
{
	struct map_run run = { kind, (uint8_t)class, (uint8_t)used, 0, 3 };

	if (pen->look->with_colour)
		colour_run(pen, &run, 0, 3);
	else
		fprintf(pen->out, "%c", letter(&run));
}

static void print_layer(const struct pen *pen, unsigned class, const char *what)
{
	fputs("  ", pen->out);
	print_swatch(pen, MAP_KIND_SLAB, class, 0);
	print_swatch(pen, MAP_KIND_SLAB, class, 255);
	fprintf(pen->out, " %s\n", what);
}

static void print_free(const struct pen *pen, const struct map_totals *totals,
    enum map_kind kind, const char *what)
{
	char bytes[FORMAT_SIZE];

	fputs("  ", pen->out);
	print_swatch(pen, kind, 0, 0);
	fprintf(pen->out, " %s %s (%s)\n", map_kind_names[kind],
	    format_bytes(bytes, sizeof(bytes), totals->kinds[kind].bytes), what);
}

static void print_legend(const struct pen *pen, const struct map_totals *totals)
{
	const struct snapshot *s = pen->map->target->snapshot;
	char bytes[FORMAT_SIZE], cached[FORMAT_SIZE];

	fprintf(pen->out, "\nSlabs, %s:\n", pen->look->with_colour ? "empty to full" :
	    "under half full and over");
	print_layer(pen, 1 + CLASS_L2 / 2, "tiny (to 1 KiB)");
	print_layer(pen, (CLASS_L2 + CLASS_L25) / 2, "l2 (to 32 KiB)");
	print_layer(pen, (CLASS_L25 + CLASS_WHALE) / 2, "l25 (to 1 MiB)");
	fputs("Free:\n", pen->out);
	print_free(pen, totals, MAP_KIND_DIRTY, "in memory, waits for decay");
	print_free(pen, totals, MAP_KIND_MUZZY, "the system may take it");
	print_free(pen, totals, MAP_KIND_CLEAN, "address space alone");
	fprintf(pen->out, "Not drawn: %" PRIu64 " whale%s, %s, and %s of kept mappings\n",
	    s->whales, s->whales == 1 ? "" : "s",
	    format_bytes(bytes, sizeof(bytes), s->whale_bytes),
	    format_bytes(cached, sizeof(cached), s->whale_cached));
}

static void print_classes(const struct pen *pen, const struct map_totals *totals)
{
	char name[FORMAT_SIZE], bytes[FORMAT_SIZE], share[FORMAT_SIZE];

	fputs("\n       size  layer   slabs       bytes   in use\n", pen->out);
	for (unsigned class = 1; class < CLASSES; class++) {
		const struct map_sum *sum = &totals->classes[class];
		if (!sum->runs)
			continue;
		fprintf(pen->out, "  %9s  %-5s  %6" PRIu64 "  %10s  %7s",
		    map_class_name(pen->map, class, name, sizeof(name)),
		    map_layer_name(class), sum->runs,
		    format_bytes(bytes, sizeof(bytes), sum->bytes),
		    format_percent(share, sizeof(share), sum->used, sum->bytes));
		if (pen->look->with_colour) {
			fputs("  ", pen->out);
			print_swatch(pen, MAP_KIND_SLAB, class,
			    (unsigned)(255 * sum->used / sum->bytes));
		}
		fputc('\n', pen->out);
	}
	fputs("  In use counts what lies in threads' caches and depots, too.\n", pen->out);
}

void map_print(FILE *out, const struct map *map, const struct map_look *look)
{
	struct pen pen = { out, map, look,
		look->width >= MARGIN + MAP_CELLS ? MAP_CELLS : MAP_CELLS / 2 };
	struct map_totals totals = map_count(map);

	print_title(&pen);
	for (size_t i = 0; i < map->count; i++)
		print_chunk(&pen, &map->chunks[i]);
	print_legend(&pen, &totals);
	print_classes(&pen, &totals);
}
