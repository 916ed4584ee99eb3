#define _GNU_SOURCE
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"
#include "hakctl/openmetrics.h"

#define PREFIX "hakmem"
/* Of any name, label or number below. */
#define NAME_SIZE 128

enum metric_type { TYPE_GAUGE, TYPE_COUNTER, TYPE_INFO };

/* A family of samples. */
struct metric {
	char name[NAME_SIZE];   /* without _total and _info */
	const char *unit;       /* a base unit, as the name ends; "": none */
	const char *help;
	enum metric_type type;
};

struct label {
	char name[NAME_SIZE];
	char value[NAME_SIZE];
};

/* A process's pid and command, two indexes, and a site. */
#define LABELS 5

struct sample {
	struct label labels[LABELS];
	size_t count;
	char value[NAME_SIZE];
	double number;
};

/* Where metrics go: family first, then its samples. */
struct sink {
	void (*family)(struct sink *sink, const struct metric *metric);
	void (*sample)(struct sink *sink, const struct metric *metric,
	    const struct sample *sample);
};

/* ---- Names ---- */

static const char *base_unit(enum ctl_unit unit)
{
	/* Prometheus has no milliseconds and nanoseconds, and of shares ratios alone. */
	return unit == CTL_UNIT_BYTES ? "bytes" : unit == CTL_UNIT_NONE ? "" :
	    unit == CTL_UNIT_BASIS_POINTS ? "ratio" : "seconds";
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/* A number of things, as jemalloc names it: num_runs, nthreads. The things alone
 * say it. */
static const char *without_number(const char *word)
{
	if (strncmp(word, "num_", 4) == 0)
		return word + 4;
	return word[0] == 'n' && strlen(word) > 3 && ends_with(word, "s") ? word + 1 :
	    word;
}

/* The last word in text, of what a <number> is an index: "arenas" is "arena". */
static void make_singular(char *text)
{
	if (ends_with(text, "s"))
		text[strlen(text) - 1] = '\0';
}

static void append(char *text, const char *word, size_t length)
{
	size_t at = strlen(text);

	snprintf(text + at, NAME_SIZE - at, "_%.*s", (int)length, word);
}

/* tls.tiny.hits             hakmem_tls_tiny_hits, a counter: _total follows
 * stats.locks.waited        hakmem_locks_waited_seconds
 * stats.arenas.<i>.nthreads hakmem_arena_threads
 *
 * "stats." is left out, numbers become labels, and the unit is at the end. */
static void metric_name(const char *control, const char *unit, char *name)
{
	const char *word = control;

	snprintf(name, NAME_SIZE, PREFIX);
	if (strncmp(word, "stats.", 6) == 0)
		word += 6;
	for (size_t n; *word; word += n + (word[n] == '.')) {
		n = strcspn(word, ".");
		if (*word == '<') {
			make_singular(name);
		} else if (word[n]) {
			append(name, word, n);
		} else {
			const char *last = without_number(word);
			append(name, last, strlen(last));
		}
	}
	if (*unit && !ends_with(name, unit))
		append(name, unit, strlen(unit));
}

/* The component before position, as a label's name. */
static void label_name(const char *control, unsigned position, char *name)
{
	const char *word = control;

	for (unsigned i = 1; i < position; i++)
		word += strcspn(word, ".") + 1;
	snprintf(name, NAME_SIZE, "%.*s", (int)strcspn(word, "."), word);
	make_singular(name);
}

/* whale.bytes is of what is kept, and hakmem_whale_bytes would not say so. */
static const char *control_name(const struct ctl_row *row)
{
	return row == &ctl_rows[CTL_ROW_whale_bytes] ? "whale.cached" : row->name;
}

static struct metric metric_of(const struct ctl_row *row)
{
	struct metric metric = {
		.unit = base_unit((enum ctl_unit)row->unit),
		.help = row->help,
		.type = row->metric == CTL_COUNTER ? TYPE_COUNTER : TYPE_GAUGE,
	};

	metric_name(control_name(row), metric.unit, metric.name);
	return metric;
}

/* ---- Samples ---- */

static void set_label(struct sample *sample, const char *name, const char *value)
{
	struct label *label = &sample->labels[sample->count++];

	snprintf(label->name, sizeof(label->name), "%s", name);
	snprintf(label->value, sizeof(label->value), "%s", value);
}

static void label_process(struct sample *sample, const struct target *target)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", target->pid);
	sample->count = 0;
	set_label(sample, "pid", pid);
	set_label(sample, "command", target->command);
}

/* Is the index at depth an arena's? The rows that have one have it first. */
static bool is_arena(const struct ctl_place *place, int depth)
{
	return depth == 0 && strstr(ctl_rows[place->row].name, "arenas.<");
}

static void label_place(struct sample *sample, const struct snapshot *s,
    const struct ctl_place *place)
{
	const char *control = ctl_rows[place->row].name;
	char name[NAME_SIZE], value[24];

	for (int i = 0; i < 2 && place->position[i]; i++) {
		label_name(control, place->position[i], name);
		snprintf(value, sizeof(value), "%zu", place->index[i]);
		set_label(sample, name, value);
		if (is_arena(place, i) && s->arenas[place->index[i] + 1].name[0])
			set_label(sample, "site", s->arenas[place->index[i] + 1].name);
	}
}

/* value / unit as decimal digits, none of them lost. */
static void set_quotient(struct sample *sample, uint64_t value, uint64_t unit,
    int digits)
{
	char *end;

	sample->number = (double)value / (double)unit;
	snprintf(sample->value, sizeof(sample->value), "%" PRIu64 ".%0*" PRIu64,
	    value / unit, digits, value % unit);
	end = sample->value + strlen(sample->value);
	while (end[-1] == '0')
		*--end = '\0';
	if (end[-1] == '.')
		end[-1] = '\0';
}

static void set_value(struct sample *sample, const struct ctl_row *row, uint64_t value)
{
	if (row->unit == CTL_UNIT_BASIS_POINTS) {
		set_quotient(sample, value, 10000, 4);
	} else if (row->unit == CTL_UNIT_NANOSECONDS) {
		set_quotient(sample, value, 1000000000, 9);
	} else if (row->unit == CTL_UNIT_MILLISECONDS && (int64_t)value >= 0) {
		set_quotient(sample, value, 1000, 3);
	} else if (row->type == CTL_SSIZE) {
		/* Below 0 it means something else than a time: as it is. */
		sample->number = (double)(int64_t)value;
		snprintf(sample->value, sizeof(sample->value), "%" PRId64, (int64_t)value);
	} else {
		sample->number = (double)value;
		snprintf(sample->value, sizeof(sample->value), "%" PRIu64, value);
	}
}

/* ---- All of them ---- */

struct walk {
	struct sink *sink;
	struct metric metric;
	bool is_announced;     /* the family was; it is with its first sample */
};

static void emit(struct walk *walk, const struct sample *sample)
{
	if (!walk->is_announced)
		walk->sink->family(walk->sink, &walk->metric);
	walk->is_announced = true;
	walk->sink->sample(walk->sink, &walk->metric, sample);
}

static bool has_place(const struct ctl_place *place, int depth)
{
	return depth < 2 && place->position[depth];
}

static size_t walk_value(struct walk *walk, const struct target *target,
    const struct ctl_place *place)
{
	struct sample sample;
	uint64_t value;

	if (!ctl_stat(target->snapshot, place, &value))
		return 0;
	label_process(&sample, target);
	label_place(&sample, target->snapshot, place);
	set_value(&sample, &ctl_rows[place->row], value);
	emit(walk, &sample);
	return 1;
}

/* Every number that the control's <i> and <j> can be; returns how many samples that
 * made: none from an index on that is out of range. */
static size_t walk_places(struct walk *walk, const struct target *target,
    struct ctl_place *place, int depth)
{
	const struct snapshot *s = target->snapshot;
	bool of_arenas = is_arena(place, depth);
	size_t samples = 0, limit = of_arenas ? s->arena_rows - 1 : CLASSES;

	if (!has_place(place, depth))
		return walk_value(walk, target, place);
	for (size_t i = 0; i < limit; i++) {
		if (of_arenas && !s->arenas[i + 1].is_made)
			continue;
		place->index[depth] = i;
		size_t n = walk_places(walk, target, place, depth + 1);
		if (n == 0)
			break;
		samples += n;
	}
	return samples;
}

static uint64_t rss_of(const struct target *target)
{
	return target->rss;
}

#define FIELD_OF(field) \
	static uint64_t field##_of(const struct target *target) \
	{ return (uint64_t)target->snapshot->field; }
FIELD_OF(whale_bytes)
FIELD_OF(whale_max_bytes)
FIELD_OF(soft_bytes)
FIELD_OF(pressure_enabled)
FIELD_OF(pressure_threshold)
FIELD_OF(dirty_decay_ms)
FIELD_OF(muzzy_decay_ms)

/* What is no statistic of the table: named and written as if it were. */
#define OTHER(name, type, unit, value, help) \
	{ { name, help, CTL_##type, CTL_R, CTL_GAUGE, CTL_##unit, CTL_KIND_STAT }, value }
static const struct other {
	struct ctl_row row;
	uint64_t (*value)(const struct target *target);
} others[] = {
	OTHER("snapshot_age", U64, UNIT_NANOSECONDS, target_age_ns, "How old the process's "
	    "numbers are: more than 0.2 s where it is stopped or hangs"),
	OTHER("process.resident", U64, UNIT_BYTES, rss_of, "Bytes of the whole process in "
	    "memory, as the kernel counts them: VmRSS"),
	OTHER("whale.allocated", U64, UNIT_BYTES, whale_bytes_of, "Bytes in objects over "
	    "1 MiB that the program holds"),
	OTHER("whale.max_bytes", U64, UNIT_BYTES, whale_max_bytes_of, "Bytes of freed mappings "
	    "of over 1 MiB that may be kept"),
	OTHER("limit.soft_bytes", U64, UNIT_BYTES, soft_bytes_of, "Resident bytes, by hakmem's count "
	    "and the kernel's, above which hakmem gives back all it can at once; 0: no limit"),
	OTHER("pressure.enabled", BOOL, UNIT_NONE, pressure_enabled_of, "1: memory goes back at "
	    "once while the system stalls for memory (PSI)"),
	OTHER("pressure.threshold", UNSIGNED, UNIT_BASIS_POINTS, pressure_threshold_of,
	    "Share of time that some task stalled for memory above which all that is free "
	    "goes back"),
	OTHER("dirty_decay", SSIZE, UNIT_MILLISECONDS, dirty_decay_ms_of, "How long free pages "
	    "stay dirty; -1: for ever"),
	OTHER("muzzy_decay", SSIZE, UNIT_MILLISECONDS, muzzy_decay_ms_of, "How long free pages "
	    "stay muzzy after that; -1: for ever"),
};
#define OTHERS (sizeof(others) / sizeof(others[0]))

static void walk_other(struct sink *sink, const struct other *other,
    const struct target *targets, size_t count)
{
	struct walk walk = { .sink = sink, .metric = metric_of(&other->row) };
	struct sample sample;

	for (size_t i = 0; i < count; i++) {
		if (!targets[i].snapshot)
			continue;
		label_process(&sample, &targets[i]);
		set_value(&sample, &other->row, other->value(&targets[i]));
		emit(&walk, &sample);
	}
}

static void walk_versions(struct sink *sink, const struct target *targets, size_t count)
{
	struct walk walk = { .sink = sink, .metric = { PREFIX "_build", "", "hakmem's version, "
	    "of a process that could be asked", TYPE_INFO } };
	struct sample sample;

	for (size_t i = 0; i < count; i++) {
		if (!targets[i].version[0])
			continue;
		label_process(&sample, &targets[i]);
		set_label(&sample, "version", targets[i].version);
		set_quotient(&sample, 1, 1, 1);
		emit(&walk, &sample);
	}
}

static void walk_all(struct sink *sink, const struct target *targets, size_t count)
{
	walk_versions(sink, targets, count);
	for (size_t i = 0; i < OTHERS; i++)
		walk_other(sink, &others[i], targets, count);
	for (unsigned row = 0; row < CTL_ROWS; row++) {
		if (ctl_rows[row].kind != CTL_KIND_STAT || ctl_rows[row].metric == CTL_NONE)
			continue;
		struct walk walk = { .sink = sink, .metric = metric_of(&ctl_rows[row]) };
		for (size_t i = 0; i < count; i++) {
			struct ctl_place place = ctl_place_of((enum ctl_id)row);
			if (targets[i].snapshot)
				walk_places(&walk, &targets[i], &place, 0);
		}
	}
}

/* ---- Text ---- */

struct text_sink {
	struct sink sink;
	FILE *out;
	enum metrics_format format;
};

static const char *suffix_of(const struct metric *metric)
{
	return metric->type == TYPE_COUNTER ? "_total" :
	    metric->type == TYPE_INFO ? "_info" : "";
}

/* Only OpenMetrics has information. */
static const char *type_of(const struct metric *metric, bool is_open)
{
	return metric->type == TYPE_COUNTER ? "counter" :
	    metric->type == TYPE_INFO && is_open ? "info" : "gauge";
}

static void text_escaped(FILE *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || (quotes && *text == '"'))
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

static void text_family(struct sink *sink, const struct metric *metric)
{
	struct text_sink *text = (struct text_sink *)sink;
	bool is_open = text->format == METRICS_OPENMETRICS;
	const char *suffix = is_open ? "" : suffix_of(metric);

	fprintf(text->out, "# TYPE %s%s %s\n", metric->name, suffix,
	    type_of(metric, is_open));
	if (is_open && *metric->unit)
		fprintf(text->out, "# UNIT %s %s\n", metric->name, metric->unit);
	fprintf(text->out, "# HELP %s%s ", metric->name, suffix);
	/* Only OpenMetrics has quotes escaped here. */
	text_escaped(text->out, metric->help, is_open);
	fputc('\n', text->out);
}

static void text_sample(struct sink *sink, const struct metric *metric,
    const struct sample *sample)
{
	struct text_sink *text = (struct text_sink *)sink;

	fprintf(text->out, "%s%s", metric->name, suffix_of(metric));
	for (size_t i = 0; i < sample->count; i++) {
		fprintf(text->out, "%c%s=\"", i ? ',' : '{', sample->labels[i].name);
		text_escaped(text->out, sample->labels[i].value, true);
		fputc('"', text->out);
	}
	fprintf(text->out, "} %s\n", sample->value);
}

const char *metrics_content_type(enum metrics_format format)
{
	return format == METRICS_OPENMETRICS ?
	    "application/openmetrics-text; version=1.0.0; charset=utf-8" :
	    "text/plain; version=0.0.4; charset=utf-8";
}

void metrics_write(FILE *out, enum metrics_format format,
    const struct target *targets, size_t count)
{
	struct text_sink text = { { text_family, text_sample }, out, format };

	walk_all(&text.sink, targets, count);
	fputs("# EOF\n", out);
}

/* ---- JSON ---- */

struct json_sink {
	struct sink sink;
	json_t *families;
	json_t *samples;       /* of the last one; families has it */
};

static void json_family(struct sink *sink, const struct metric *metric)
{
	struct json_sink *json = (struct json_sink *)sink;
	json_t *family = json_object();
	char name[NAME_SIZE + 8];

	snprintf(name, sizeof(name), "%s%s", metric->name, suffix_of(metric));
	json->samples = json_array();
	json_object_set_new(family, "name", json_string(name));
	json_object_set_new(family, "type",
	    json_string(type_of(metric, true)));
	json_object_set_new(family, "unit", json_string(metric->unit));
	json_object_set_new(family, "help", json_string(metric->help));
	json_object_set_new(family, "samples", json->samples);
	json_array_append_new(json->families, family);
}

/* An integer where it is one, so that no digit is lost. */
static json_t *json_value(const struct sample *sample)
{
	char *end;
	long long n = strtoll(sample->value, &end, 10);

	return *end || n == INT64_MAX ? json_real(sample->number) : json_integer(n);
}

static void json_sample(struct sink *sink, const struct metric *metric,
    const struct sample *sample)
{
	struct json_sink *json = (struct json_sink *)sink;
	json_t *object = json_object(), *labels = json_object();

	(void)metric;
	for (size_t i = 0; i < sample->count; i++)
		json_object_set_new(labels, sample->labels[i].name,
		    json_string(sample->labels[i].value));
	json_object_set_new(object, "labels", labels);
	json_object_set_new(object, "value", json_value(sample));
	json_array_append_new(json->samples, object);
}

json_t *metrics_json(const struct target *targets, size_t count)
{
	struct json_sink json = { { json_family, json_sample }, json_array(), NULL };

	walk_all(&json.sink, targets, count);
	return json.families;
}
