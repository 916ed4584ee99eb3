#include "config.h"

#include "ctl/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAT(id, name, type, metric, unit, value, help) \
	{ name, help, CTL_##type, CTL_R, CTL_##metric, CTL_##unit, CTL_KIND_STAT },
#define CTL(id, name, type, access, unit, help) \
	{ name, help, CTL_##type, CTL_##access, CTL_NONE, CTL_##unit, CTL_KIND_CTL },
#define CONSTANT(id, name, type, unit, value, help) \
	{ name, help, CTL_##type, CTL_R, CTL_NONE, CTL_##unit, CTL_KIND_CONSTANT },
#define OPTION(field, type, help) \
	{ "opt." #field, help, CTL_##type, CTL_R, CTL_NONE, CTL_UNIT_NONE, CTL_KIND_OPTION },
const struct ctl_row ctl_rows[CTL_ROWS] = {
#include "ctl/ctl.def"
};
#undef STAT
#undef CTL
#undef CONSTANT
#undef OPTION

static bool is_number(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return length > 0 && length < 10;
}

/* Component by component: <x> takes a number. */
static bool matches(const char *pattern, const char *name, struct ctl_place *place)
{
	unsigned numbers = 0;

	memset(place->index, 0, sizeof(place->index));
	memset(place->position, 0, sizeof(place->position));
	for (place->depth = 1;; place->depth++) {
		size_t m = strcspn(pattern, "."), n = strcspn(name, ".");
		if (*pattern == '<') {
			if (!is_number(name, n))
				return false;
			place->index[numbers] = strtoul(name, NULL, 10);
			place->position[numbers++] = (uint8_t)(place->depth - 1);
		} else if (m != n || memcmp(pattern, name, n) != 0) {
			return false;
		}
		if (!pattern[m] || !name[n])
			return !pattern[m] && !name[n];
		pattern += m + 1;
		name += n + 1;
	}
}

bool ctl_find(const char *name, struct ctl_place *place)
{
	for (unsigned row = 0; row < CTL_ROWS; row++)
		if (matches(ctl_rows[row].name, name, place)) {
			place->row = (enum ctl_id)row;
			return true;
		}
	return false;
}

struct ctl_place ctl_place_of(enum ctl_id row)
{
	struct ctl_place place = { .row = row, .depth = 1 };
	unsigned numbers = 0;

	for (const char *c = ctl_rows[row].name; *c; c++)
		if (*c == '.')
			place.depth++;
		else if (*c == '<')
			place.position[numbers++] = (uint8_t)(place.depth - 1);
	return place;
}

uint64_t snapshot_count(const struct snapshot_arena *a, size_t field,
    size_t first, size_t end)
{
	uint64_t total = 0;

	for (size_t c = first; c < end; c++)
		total += *(const uint64_t *)((const char *)&a->bins[c] + field);
	return total;
}

uint64_t snapshot_sum(const struct snapshot *s, const struct snapshot_arena *a,
    size_t field, size_t first, size_t end)
{
	uint64_t total = 0;

	for (size_t c = first; c < end; c++)
		total += *(const uint64_t *)((const char *)&a->bins[c] + field) *
		    s->classes[c].size;
	return total;
}

uint64_t snapshot_active(const struct snapshot *s, const struct snapshot_arena *a)
{
	uint64_t total = a->whale_bytes;

	for (size_t c = 1; c < CLASS_WHALE; c++)
		total += a->bins[c].curslabs * s->classes[c].slab_bytes;
	return total > a->purged_bytes ? total - a->purged_bytes : 0;
}

struct view {
	const struct snapshot *s;
	const struct snapshot_arena *a;
	const struct snapshot_bin *b;
	const struct snapshot_class *c;
};

/* The class that the index of a bin or lextent stands for; false: none. */
static bool class_at(const char *name, size_t index, size_t *class)
{
	bool large = strstr(name, "lextent") != NULL;

	*class = large ? CLASS_L25 + index : 1 + index;
	return index < (large ? SNAPSHOT_LEXTENTS : SNAPSHOT_BINS);
}

static bool resolve(const struct snapshot *s, const struct ctl_place *place,
    struct view *v)
{
	const char *name = ctl_rows[place->row].name;
	bool in_arena = strncmp(name, "stats.arenas.", 13) == 0 ||
	    strncmp(name, "arenas.<i>", 10) == 0;
	size_t i = place->index[0], class = 0;

	*v = (struct view) { .s = s, .a = &s->arenas[0] };
	if (in_arena && i != CTL_ARENAS_ALL && i != s->narenas) {
		if (i + 1 >= s->arena_rows || i + 1 == 0)
			return false;
		v->a = &s->arenas[i + 1];
	}
	if (place->position[in_arena]) {
		if (!class_at(name, place->index[in_arena], &class))
			return false;
		v->c = &s->classes[class];
		v->b = class < CLASS_WHALE ? &v->a->bins[class] : NULL;
	}
	return true;
}

bool ctl_stat(const struct snapshot *s, const struct ctl_place *place,
    uint64_t *value)
{
	struct view v;

	if (ctl_rows[place->row].kind != CTL_KIND_STAT || !resolve(s, place, &v))
		return false;
	switch (place->row) {
#define STAT(id, name, type, metric, unit, expression, help) \
	case CTL_ROW_##id: *value = (uint64_t)(expression); return true;
#define CTL(...)
#define CONSTANT(...)
#define OPTION(...)
#include "ctl/ctl.def"
#undef STAT
#undef CTL
#undef CONSTANT
#undef OPTION
	default:
		return false;
	}
}

void ctl_format(enum ctl_type type, uint64_t value, char *text, size_t size)
{
	if (type == CTL_BOOL)
		snprintf(text, size, "%s", value ? "true" : "false");
	else if (type == CTL_SSIZE)
		snprintf(text, size, "%" PRId64, (int64_t)value);
	else
		snprintf(text, size, "%" PRIu64, value);
}

unsigned ctl_cut_unit(const char *text, size_t *length)
{
	static const char units[] = "KMGT";
	size_t n = *length;

	if (n > 3 && memcmp(text + n - 2, "iB", 2) == 0)
		n -= 2;
	const char *unit = n > 1 ? memchr(units, text[n - 1], sizeof(units) - 1) : NULL;
	if (!unit)
		return 0;
	*length = n - 1;
	return 10 * (unsigned)(unit - units + 1);
}

const char *ctl_type_name(enum ctl_type type)
{
	static const char *const names[] = { "bool", "unsigned", "size_t", "ssize_t",
		"uint64_t", "const char *", "void *", "" };

	return names[type];
}

const char *ctl_unit_name(enum ctl_unit unit)
{
	static const char *const names[] = { "", "bytes", "milliseconds", "nanoseconds",
		"1/100 %" };

	return names[unit];
}
