/*
 * The table of controls (ctl.def) as data: names, types, help, and the values of
 * those that are read from a snapshot. Both the library and hakctl have it; it
 * calls nothing else of hakmem.
 */
#ifndef HAK_CTL_TABLE_H
#define HAK_CTL_TABLE_H

#include <stdbool.h>

#include "ctl/snapshot.h"

enum ctl_type { CTL_BOOL, CTL_UNSIGNED, CTL_SIZE, CTL_SSIZE, CTL_U64, CTL_STRING,
	CTL_POINTER, CTL_VOID };
enum ctl_access { CTL_R = 1, CTL_W = 2, CTL_RW = 3, CTL_X = 4 };
enum ctl_metric { CTL_NONE, CTL_GAUGE, CTL_COUNTER };
enum ctl_unit { CTL_UNIT_NONE, CTL_UNIT_BYTES, CTL_UNIT_MILLISECONDS,
	CTL_UNIT_NANOSECONDS, CTL_UNIT_BASIS_POINTS }; /* the last: 1/100 % */
enum ctl_kind { CTL_KIND_STAT, CTL_KIND_OPTION, CTL_KIND_CTL, CTL_KIND_CONSTANT };

struct ctl_row {
	const char *name;
	const char *help;
	uint8_t type, access, metric, unit, kind;
};

/* Ids of the rows: CTL_ROW_<id>, CTL_ROW_opt_<field>. */
enum ctl_id {
#define STAT(id, ...) CTL_ROW_##id,
#define CTL(id, ...) CTL_ROW_##id,
#define CONSTANT(id, ...) CTL_ROW_##id,
#define OPTION(field, ...) CTL_ROW_opt_##field,
#include "ctl/ctl.def"
#undef STAT
#undef CTL
#undef CONSTANT
#undef OPTION
	CTL_ROWS
};

extern const struct ctl_row ctl_rows[CTL_ROWS];

/* Components of the longest name. */
#define CTL_DEPTH 7
/* Arena index for "all of them". */
#define CTL_ARENAS_ALL 4096u

/* Where a name leads: the row and the numbers in it, in order. */
struct ctl_place {
	enum ctl_id row;
	size_t depth;          /* components of the name */
	size_t index[2];       /* <i> and <j> */
	uint8_t position[2];   /* the component that each is; 0: none */
};

/* False: no such name. Numbers are not checked against anything. */
bool ctl_find(const char *name, struct ctl_place *place);
/* The place of a row, its numbers 0. */
struct ctl_place ctl_place_of(enum ctl_id row);

/* The value of a STAT row; false: an index out of range, or not a STAT row. */
bool ctl_stat(const struct snapshot *s, const struct ctl_place *place,
    uint64_t *value);
/* A value of a BOOL, UNSIGNED, SIZE, SSIZE or U64 row as text. */
void ctl_format(enum ctl_type type, uint64_t value, char *text, size_t size);
/* Numbers in texts are decimal, or hexadecimal where they say so; none is octal. */
static inline int ctl_number_base(const char *text)
{
	return text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
}
/* A number of bytes may end in a unit, K, M, G or T, and iB behind that or not: cuts the
 * text's length by it and returns by how many bits the number is to be shifted. */
unsigned ctl_cut_unit(const char *text, size_t *length);
/* Names for people: "size_t", "bytes". */
const char *ctl_type_name(enum ctl_type type);
const char *ctl_unit_name(enum ctl_unit unit);

/* Bytes of pages in use for the arena's objects. */
uint64_t snapshot_active(const struct snapshot *s, const struct snapshot_arena *a);
/* Sum over classes first..end-1 of a uint64_t field of struct snapshot_bin;
 * snapshot_sum: times the class's size. */
uint64_t snapshot_count(const struct snapshot_arena *a, size_t field,
    size_t first, size_t end);
uint64_t snapshot_sum(const struct snapshot *s, const struct snapshot_arena *a,
    size_t field, size_t first, size_t end);

#endif
