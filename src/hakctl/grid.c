#define _GNU_SOURCE
#include "hakctl/grid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/format.h"

static char no_memory[] = "?";

static void add(struct grid *g, char *text)
{
	if (g->cells == g->capacity) {
		size_t capacity = g->capacity ? 2 * g->capacity : 256;
		char **more = realloc(g->text, capacity * sizeof(*more));
		if (!more) {
			free(text == no_memory ? NULL : text);
			return;
		}
		g->text = more;
		g->capacity = capacity;
	}
	g->text[g->cells++] = text;
}

static bool is_left(const struct grid *g, size_t column)
{
	return g->headings[column][0] == '<';
}

void grid_start(struct grid *g, const char *const *headings, size_t columns)
{
	*g = (struct grid) { .columns = columns, .headings = headings };
	for (size_t i = 0; i < columns; i++)
		grid_text(g, "%s", headings[i] + is_left(g, i));
}

void grid_text(struct grid *g, const char *format, ...)
{
	char *text;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = no_memory;
	va_end(arguments);
	add(g, text);
}

void grid_bytes(struct grid *g, uint64_t bytes)
{
	char text[FORMAT_SIZE];

	grid_text(g, "%s", bytes ? format_bytes(text, sizeof(text), bytes) : "-");
}

void grid_count(struct grid *g, uint64_t count)
{
	char text[FORMAT_SIZE];

	grid_text(g, "%s", count ? format_count(text, sizeof(text), count) : "-");
}

void grid_percent(struct grid *g, uint64_t part, uint64_t whole)
{
	char text[FORMAT_SIZE];

	grid_text(g, "%s", part || !whole ?
	    format_percent(text, sizeof(text), part, whole) : "-");
}

void grid_rate(struct grid *g, double per_second)
{
	char text[FORMAT_SIZE];

	grid_text(g, "%s", per_second > 0 ?
	    format_rate(text, sizeof(text), per_second) : "-");
}

size_t grid_rows(const struct grid *g)
{
	return g->cells / g->columns - 1;
}

static size_t width_of(const struct grid *g, size_t column, size_t from)
{
	size_t width = 0;

	for (size_t i = from + column; i < g->cells; i += g->columns) {
		size_t n = strlen(g->text[i]);
		width = n > width ? n : width;
	}
	return width;
}

/* Spaces come only before something: none end a line. */
static void print_row(const struct grid *g, const char *indent, const size_t *widths,
    size_t at)
{
	char *const *row = g->text + at;
	size_t gap = strlen(indent);

	for (size_t c = 0; c < g->columns && at + c < g->cells; c++) {
		size_t length = strlen(row[c]), padding = widths[c] - length;
		if (!is_left(g, c))
			gap += padding;
		if (length) {
			printf("%*s%s", (int)gap, "", row[c]);
			gap = 0;
		}
		gap += is_left(g, c) ? padding + 2 : 2;
	}
	putchar('\n');
}

void grid_print(const struct grid *g, const char *indent, bool with_headings)
{
	size_t widths[32] = { 0 }, from = with_headings ? 0 : g->columns;

	for (size_t c = 0; c < g->columns && c < 32; c++)
		widths[c] = width_of(g, c, from);
	for (size_t i = from; i < g->cells; i += g->columns)
		print_row(g, indent, widths, i);
}

void grid_free(struct grid *g)
{
	for (size_t i = 0; i < g->cells; i++)
		if (g->text[i] != no_memory)
			free(g->text[i]);
	free(g->text);
}

void grid_finish(struct grid *g, const char *indent, bool with_headings)
{
	grid_print(g, indent, with_headings);
	grid_free(g);
}
