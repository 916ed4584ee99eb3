/*
 * hakctl map: what its parts share. map.c: options, and the map as it comes from
 * the process; map_text.c: to a terminal; map_svg.c: as a picture; map_colour.c:
 * the colours of both.
 */
#ifndef HAK_HAKCTL_MAP_H
#define HAK_HAKCTL_MAP_H

#include <jansson.h>
#include <stdio.h>

#include "hakctl/target.h"

#define MAP_CELLS 128u  /* of struct map_chunk, at most */

struct map {
	const struct target *target;
	struct map_chunk *chunks;  /* by address, each once */
	size_t count, capacity;
	uint64_t granule;          /* bytes of a cell */
	uint32_t cells;            /* of a chunk */
};

enum map_kind { MAP_KIND_SLAB, MAP_KIND_CLEAN, MAP_KIND_DIRTY, MAP_KIND_MUZZY,
	MAP_KINDS };

/* A piece of a chunk: a slab, an object with an extent of its own, or free cells. */
struct map_run {
	enum map_kind kind;
	uint8_t class;             /* of a slab, else 0 */
	uint8_t used;              /* of its slots, in 255ths */
	uint32_t first, cells;
};

/* The piece that starts at cell first. */
struct map_run map_run_at(const struct map *map, const struct map_chunk *chunk,
    uint32_t first);

/* What there is of a kind or a class, in bytes but for runs. */
struct map_sum {
	uint64_t runs, bytes, used;
};
struct map_totals {
	struct map_sum kinds[MAP_KINDS];
	struct map_sum classes[CLASSES];
	uint64_t bytes;            /* of all chunks */
};
struct map_totals map_count(const struct map *map);

extern const char *const map_kind_names[MAP_KINDS];
/* "64 B"; "none" where the process did not say. */
const char *map_class_name(const struct map *map, unsigned class, char *text,
    size_t size);
const char *map_layer_name(unsigned class);

struct map_colour {
	uint8_t red, green, blue;
};
/* Hue by class, lightness by how full it is; greys for what is free. */
struct map_colour map_colour_of(enum map_kind kind, unsigned class, unsigned used);

/* width: columns of the terminal. */
struct map_look {
	bool with_colour, is_utf8, is_true_colour;
	unsigned width;
};
void map_print(FILE *out, const struct map *map, const struct map_look *look);
void map_draw(FILE *out, const struct map *map);

#endif
