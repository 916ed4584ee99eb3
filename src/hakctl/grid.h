/* A table of text: cells are added row by row, widths follow what is in them. */
#ifndef HAK_HAKCTL_GRID_H
#define HAK_HAKCTL_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grid {
	size_t columns;
	size_t cells, capacity;
	char **text;              /* row by row; the first row is the headings */
	const char *const *headings;
};

/* headings: those that start with '<' belong to columns of text, at the left; the
 * others to numbers, at the right. Must outlive the grid. */
void grid_start(struct grid *grid, const char *const *headings, size_t columns);
void grid_text(struct grid *grid, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Cells of the kinds that format.h has; 0 of what need not catch the eye: "-". */
void grid_bytes(struct grid *grid, uint64_t bytes);
void grid_count(struct grid *grid, uint64_t count);
void grid_percent(struct grid *grid, uint64_t part, uint64_t whole);
void grid_rate(struct grid *grid, double per_second);
/* Rows so far, without the headings. */
size_t grid_rows(const struct grid *grid);
/* To stdout, each line after the indent. */
void grid_print(const struct grid *grid, const char *indent, bool with_headings);
void grid_free(struct grid *grid);
/* Both. */
void grid_finish(struct grid *grid, const char *indent, bool with_headings);

#endif
