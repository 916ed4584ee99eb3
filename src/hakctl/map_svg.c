#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <time.h>

#include "hakctl/format.h"
#include "hakctl/map.h"

/* Pixels. */
#define CELL 6u
#define LEFT 130u
#define TOP 76u
#define LINE 16u          /* of text */
#define RIGHT 24u
#define TABLE_COLUMNS 3u

struct drawing {
	FILE *out;
	const struct map *map;
	struct map_totals totals;
	unsigned row;          /* height of a chunk */
	unsigned gap;          /* between two that follow each other */
	unsigned width, height;
	unsigned chunks_end;   /* y below the last chunk */
};

/* XML 1.0 has no way to say control characters. */
static void escape(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '"')
			fputs("&quot;", out);
		else
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
	}
}

/* ---- Sizes ---- */

/* Large heaps get flat rows, so that a picture stays one. */
static unsigned row_height(size_t chunks)
{
	return chunks <= 100 ? 14 : chunks <= 400 ? 8 : 4;
}

static unsigned table_rows(const struct drawing *d)
{
	unsigned n = 0;

	for (unsigned class = 1; class < CLASSES; class++)
		n += d->totals.classes[class].runs > 0;
	return (n + TABLE_COLUMNS - 1) / TABLE_COLUMNS;
}

/* Address space that is not ours lies before it. */
static bool is_apart(const struct map *map, size_t i)
{
	return i > 0 && map->chunks[i].base - map->chunks[i - 1].base !=
	    map->cells * map->granule;
}

static struct drawing plan(FILE *out, const struct map *map)
{
	struct drawing d = { .out = out, .map = map, .totals = map_count(map) };

	d.row = row_height(map->count);
	d.gap = d.row > 8 ? 3 : 1;
	d.width = LEFT + MAP_CELLS * CELL + RIGHT;
	d.chunks_end = TOP;
	for (size_t i = 0; i < map->count; i++)
		d.chunks_end += d.row + d.gap + (is_apart(map, i) ? 4 * d.gap : 0);
	d.height = d.chunks_end + (table_rows(&d) + 12) * LINE;
	return d;
}

/* ---- Head ---- */

static void draw_start(const struct drawing *d)
{
	fprintf(d->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
	    "viewBox=\"0 0 %u %u\" font-family=\"sans-serif\" font-size=\"12\">\n",
	    d->width, d->height, d->width, d->height);
	fputs("<defs>\n"
	    "<pattern id=\"dirty\" width=\"4\" height=\"4\" "
	    "patternUnits=\"userSpaceOnUse\">"
	    "<rect width=\"4\" height=\"4\" fill=\"#cfc6bd\"/>"
	    "<path d=\"M0 4L4 0\" stroke=\"#6b5a4a\" stroke-width=\"1.2\"/></pattern>\n"
	    "<pattern id=\"muzzy\" width=\"4\" height=\"4\" "
	    "patternUnits=\"userSpaceOnUse\">"
	    "<rect width=\"4\" height=\"4\" fill=\"#ececec\"/>"
	    "<circle cx=\"2\" cy=\"2\" r=\"0.8\" fill=\"#777\"/></pattern>\n"
	    "</defs>\n"
	    "<style>.s{stroke:#fff;stroke-width:.5}.c{fill:#f4f4f4}"
	    ".d{fill:url(#dirty)}.m{fill:url(#muzzy)}"
	    ".a{font-family:monospace;font-size:10px;fill:#666}"
	    ".n{text-anchor:end}.g{fill:#666}</style>\n"
	    "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", d->out);
}

static void draw_title(const struct drawing *d)
{
	const struct map *map = d->map;
	char all[FORMAT_SIZE], chunk[FORMAT_SIZE], cell[FORMAT_SIZE], when[64] = "";
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
	fputs("<title>Heap of ", d->out);
	escape(d->out, map->target->command);
	fprintf(d->out, " (%d)</title>\n<text x=\"20\" y=\"30\" font-size=\"18\">Heap of ",
	    map->target->pid);
	escape(d->out, map->target->command);
	fprintf(d->out, " (%d)</text>\n<text x=\"20\" y=\"52\" class=\"g\">%s: %zu chunk%s "
	    "of %s, %s in all; a cell is %s</text>\n", map->target->pid, when, map->count,
	    map->count == 1 ? "" : "s",
	    format_bytes(chunk, sizeof(chunk), map->cells * map->granule),
	    format_bytes(all, sizeof(all), d->totals.bytes),
	    format_bytes(cell, sizeof(cell), map->granule));
}

/* ---- Chunks ---- */

static void fill(const struct drawing *d, enum map_kind kind, unsigned class,
    unsigned used)
{
	static const char *const classes[MAP_KINDS] = { "s", "c", "d", "m" };
	struct map_colour c = map_colour_of(kind, class, used);

	fprintf(d->out, " class=\"%s\"", classes[kind]);
	if (kind == MAP_KIND_SLAB)
		fprintf(d->out, " fill=\"#%02x%02x%02x\"", c.red, c.green, c.blue);
}

static void draw_tooltip(const struct drawing *d, const struct map_chunk *chunk,
    const struct map_run *run)
{
	char size[FORMAT_SIZE], bytes[FORMAT_SIZE];
	uint64_t at = chunk->base + run->first * d->map->granule;

	format_bytes(bytes, sizeof(bytes), run->cells * d->map->granule);
	if (run->kind != MAP_KIND_SLAB) {
		fprintf(d->out, "<title>0x%" PRIx64 ": %s free, %s</title>", at, bytes,
		    map_kind_names[run->kind]);
		return;
	}
	fprintf(d->out, "<title>0x%" PRIx64 ": %s of %s objects (%s), %u %% in use</title>",
	    at, bytes, map_class_name(d->map, run->class, size, sizeof(size)),
	    map_layer_name(run->class), (run->used * 100u + 127) / 255);
}

static void draw_run(const struct drawing *d, const struct map_chunk *chunk,
    const struct map_run *run, unsigned y)
{
	fprintf(d->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"",
	    LEFT + run->first * CELL, y, run->cells * CELL, d->row);
	fill(d, run->kind, run->class, run->used);
	fputc('>', d->out);
	draw_tooltip(d, chunk, run);
	fputs("</rect>\n", d->out);
}

static void draw_chunks(const struct drawing *d)
{
	unsigned y = TOP;

	for (size_t i = 0; i < d->map->count; i++) {
		const struct map_chunk *chunk = &d->map->chunks[i];
		struct map_run run;
		y += is_apart(d->map, i) ? 4 * d->gap : 0;
		/* Flat rows have room for every fourth address. */
		if (d->row > 8 || i % 4 == 0)
			fprintf(d->out, "<text x=\"%u\" y=\"%u\" class=\"a n\">%" PRIx64
			    "</text>\n", LEFT - 8, y + (d->row > 8 ? 11 : 8), chunk->base);
		for (uint32_t c = 0; c < d->map->cells; c += run.cells) {
			run = map_run_at(d->map, chunk, c);
			draw_run(d, chunk, &run, y);
		}
		y += d->row + d->gap;
	}
}

/* ---- Legend and totals ---- */

static void swatch(const struct drawing *d, unsigned x, unsigned y, unsigned width,
    enum map_kind kind, unsigned class, unsigned used)
{
	fprintf(d->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"11\"", x, y - 10,
	    width);
	fill(d, kind, class, used);
	fputs("/>\n", d->out);
}

static unsigned draw_layer(const struct drawing *d, unsigned x, unsigned y,
    unsigned first, unsigned end, const char *name)
{
	/* All its hues, full; then one of them from empty to full. */
	for (unsigned i = 0; i < 20; i++)
		swatch(d, x + i * 4, y, 4, MAP_KIND_SLAB, first + i * (end - first) / 20, 255);
	for (unsigned i = 0; i < 8; i++)
		swatch(d, x + 90 + i * 6, y, 6, MAP_KIND_SLAB, (first + end) / 2,
		    i * 255 / 7);
	fprintf(d->out, "<text x=\"%u\" y=\"%u\">%s</text>\n", x + 146, y, name);
	return x + 290;
}

static unsigned draw_free(const struct drawing *d, unsigned y, enum map_kind kind,
    const char *what)
{
	char bytes[FORMAT_SIZE];

	swatch(d, 20, y, 24, kind, 0, 0);
	fprintf(d->out, "<text x=\"52\" y=\"%u\">free, %s: %s (%s)</text>\n", y,
	    map_kind_names[kind],
	    format_bytes(bytes, sizeof(bytes), d->totals.kinds[kind].bytes), what);
	return y + LINE;
}

static unsigned draw_sums(const struct drawing *d, unsigned y)
{
	const struct snapshot *s = d->map->target->snapshot;
	const struct map_sum *slabs = &d->totals.kinds[MAP_KIND_SLAB];
	char bytes[FORMAT_SIZE], share[FORMAT_SIZE], cached[FORMAT_SIZE];

	y = draw_free(d, y, MAP_KIND_DIRTY, "in memory, waits for decay");
	y = draw_free(d, y, MAP_KIND_MUZZY, "the system may take it");
	y = draw_free(d, y, MAP_KIND_CLEAN, "address space alone");
	fprintf(d->out, "<text x=\"20\" y=\"%u\">slabs: %" PRIu64 ", %s, %s in use (with "
	    "what lies in threads' caches and depots)</text>\n", y, slabs->runs,
	    format_bytes(bytes, sizeof(bytes), slabs->bytes),
	    format_percent(share, sizeof(share), slabs->used, slabs->bytes));
	y += LINE;
	fprintf(d->out, "<text x=\"20\" y=\"%u\" class=\"g\">not drawn: %" PRIu64
	    " objects over 1 MiB, %s, and %s of kept mappings</text>\n", y, s->whales,
	    format_bytes(bytes, sizeof(bytes), s->whale_bytes),
	    format_bytes(cached, sizeof(cached), s->whale_cached));
	return y + LINE;
}

static void draw_class(const struct drawing *d, unsigned class, unsigned x, unsigned y)
{
	const struct map_sum *sum = &d->totals.classes[class];
	char name[FORMAT_SIZE], bytes[FORMAT_SIZE], share[FORMAT_SIZE];

	swatch(d, x, y, 24, MAP_KIND_SLAB, class, (unsigned)(255 * sum->used / sum->bytes));
	fprintf(d->out, "<text x=\"%u\" y=\"%u\" class=\"n\">%s</text>"
	    "<text x=\"%u\" y=\"%u\" class=\"n\">%" PRIu64 "</text>"
	    "<text x=\"%u\" y=\"%u\" class=\"n\">%s</text>"
	    "<text x=\"%u\" y=\"%u\" class=\"n\">%s</text>\n",
	    x + 100, y, map_class_name(d->map, class, name, sizeof(name)),
	    x + 150, y, sum->runs,
	    x + 220, y, format_bytes(bytes, sizeof(bytes), sum->bytes),
	    x + 284, y, format_percent(share, sizeof(share), sum->used, sum->bytes));
}

static void draw_table(const struct drawing *d, unsigned y)
{
	unsigned rows = table_rows(d), n = 0;

	for (unsigned column = 0; column < TABLE_COLUMNS && rows; column++)
		fprintf(d->out, "<g class=\"g n\"><text x=\"%u\" y=\"%u\">size</text>"
		    "<text x=\"%u\" y=\"%u\">slabs</text><text x=\"%u\" y=\"%u\">bytes</text>"
		    "<text x=\"%u\" y=\"%u\">in use</text></g>\n", column * 300 + 120, y,
		    column * 300 + 170, y, column * 300 + 240, y, column * 300 + 304, y);
	for (unsigned class = 1; class < CLASSES; class++) {
		if (!d->totals.classes[class].runs)
			continue;
		draw_class(d, class, 20 + n / rows * 300, y + (1 + n % rows) * LINE);
		n++;
	}
}

static void draw_legend(const struct drawing *d)
{
	unsigned y = d->chunks_end + 2 * LINE, x = 20;

	fprintf(d->out, "<text x=\"20\" y=\"%u\" class=\"g\">size classes by hue, and from "
	    "empty to full:</text>\n", y);
	y += LINE + 4;
	x = draw_layer(d, x, y, 1, CLASS_L2, "tiny (to 1 KiB)");
	x = draw_layer(d, x, y, CLASS_L2, CLASS_L25, "l2 (to 32 KiB)");
	draw_layer(d, x, y, CLASS_L25, CLASS_WHALE, "l25 (to 1 MiB)");
	y = draw_sums(d, y + LINE + 4);
	draw_table(d, y + LINE);
}

void map_draw(FILE *out, const struct map *map)
{
	struct drawing d = plan(out, map);

	draw_start(&d);
	draw_title(&d);
	draw_chunks(&d);
	draw_legend(&d);
	fputs("</svg>\n", out);
}
