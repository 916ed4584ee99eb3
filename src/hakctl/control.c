/* get, set, list, purge, toggle, site: what goes by the table of controls. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/table.h"
#include "hakctl/commands.h"
#include "hakctl/format.h"
#include "hakctl/grid.h"
#include "hakctl/stats.h"

#define NAME_MAX_BYTES 256

/* ---- Options ---- */

struct request {
	bool json, values;
	const char *site;
	int argc;    /* what is no option */
	char **argv;
};

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "values", no_argument, NULL, 'n' },
	{ "site", required_argument, NULL, 's' },
	{ NULL, 0, NULL, 0 }
};

static bool is_known(char **argv, int option)
{
	return option == 'j' || (option == 'n' && strcmp(argv[0], "get") == 0) ||
	    (option == 's' && strcmp(argv[0], "purge") == 0);
}

/* least, most: how many arguments there are to be. */
static int parse(int argc, char **argv, struct request *r, int least, int most)
{
	int option;

	*r = (struct request) { .json = false };
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":n", options, NULL)) != -1) {
		if (!is_known(argv, option))
			return complain_option(argv[0], option, argv);
		r->json |= option == 'j';
		r->values |= option == 'n';
		if (option == 's')
			r->site = optarg;
	}
	r->argc = argc - optind;
	r->argv = argv + optind;
	if (r->argc < least)
		return complain_usage(argv[0], r->argc == 0 ? "which process?" :
		    "something is missing");
	if (r->argc > most)
		return complain_usage(argv[0], "unexpected argument '%s'", r->argv[most]);
	return EXIT_FINE;
}

/* ---- Asking ---- */

static int complain_answer(const struct target *target, const char *what, int error)
{
	/* What is wrong with the process, or with what was asked. */
	if (error == ESRCH || error == EACCES || error == ETIMEDOUT || error == EBADMSG ||
	    error == ENXIO)
		return complain("%d: %s", target->pid, target_refusal(target, error));
	return complain("%d: %s: %s", target->pid, what, target_refusal(target, error));
}

static int ask(struct target *target, enum mailbox_command command, const char *name,
    const char *value, char *reply)
{
	static pid_t silent;
	size_t length;

	/* Who did not answer once is not waited for again. */
	if (silent == target->pid)
		return ETIMEDOUT;
	/* To give back a large heap takes seconds; to read does not. */
	int error = target_ask(target, command, name, value, reply, &length,
	    command == MAILBOX_GET ? WAIT_READ_MS : WAIT_ACT_MS);
	if (error == ETIMEDOUT)
		silent = target->pid;

	/* A reply is text here, and goes to a terminal. */
	format_printable_lines(reply);
	return error;
}

/* ---- get ---- */

/* The value as text; STAT controls come from the snapshot, so that a process that
 * is stopped has them, too. 0 or an errno. */
static int get_text(struct target *target, const struct ctl_place *place,
    const char *name, char *text)
{
	uint64_t value;
	const struct ctl_row *row = &ctl_rows[place->row];

	if (row->kind != CTL_KIND_STAT)
		return ask(target, MAILBOX_GET, name, "", text);
	if (!ctl_stat(target->snapshot, place, &value))
		return ENOENT;
	ctl_format(row->type, value, text, SEGMENT_REPLY);
	return 0;
}

/* The value in its own type. */
static json_t *value_json(enum ctl_type type, const char *text)
{
	switch (type) {
	case CTL_BOOL:
		return json_boolean(strcmp(text, "true") == 0);
	case CTL_UNSIGNED:
	case CTL_SIZE:
	case CTL_U64:
		return stats_json_number(strtoull(text, NULL, 10));
	case CTL_SSIZE:
		return json_integer(strtoll(text, NULL, 10));
	case CTL_VOID:
		return json_null();
	default:
		return json_string(text);
	}
}

static int find_control(const char *name, struct ctl_place *place)
{
	if (strlen(name) < NAME_MAX_BYTES && ctl_find(name, place))
		return EXIT_FINE;
	return complain("there is no control '%s' (see hakctl list)", name);
}

static int get_one(struct target *target, char *name, const struct request *r,
    json_t *object)
{
	char text[SEGMENT_REPLY + 1];
	struct ctl_place place;
	int error;

	if (find_control(name, &place) != EXIT_FINE)
		return EXIT_FAILED;
	const struct ctl_row *row = &ctl_rows[place.row];
	if (!(row->access & CTL_R) || row->type == CTL_VOID)
		return complain("%s: has no value to read", name);
	error = get_text(target, &place, name, text);
	if (error)
		return complain_answer(target, name, error);
	if (object)
		json_object_set_new(object, name, value_json(row->type, text));
	else if (r->values)
		puts(text);
	else
		printf("%s=%s\n", name, text);
	return EXIT_FINE;
}

/* Attach to the first argument's process and do each of the others there. */
static int for_each(int argc, char **argv, int (*act)(struct target *target,
    char *argument, const struct request *r, json_t *object))
{
	struct request r;
	struct target target;
	int code = parse(argc, argv, &r, 2, argc);

	if (code == EXIT_FINE)
		code = attach(&target, r.argv[0]);
	if (code != EXIT_FINE)
		return code;
	json_t *object = r.json ? json_object() : NULL;
	for (int i = 1; i < r.argc; i++)
		if (act(&target, r.argv[i], &r, object) != EXIT_FINE)
			code = EXIT_FAILED;
	if (object && print_json(object, false) != EXIT_FINE)
		code = EXIT_FAILED;
	target_close(&target);
	return code;
}

int command_get(int argc, char **argv)
{
	return for_each(argc, argv, get_one);
}

/* ---- set ---- */

/* NAME=VALUE in place; 0: NAME alone. */
static int split(char *argument, char **value)
{
	*value = strchr(argument, '=');
	if (!*value)
		return 0;
	*(*value)++ = '\0';
	return 1;
}

/* What the control says once it is set, which may differ: "1" is "true". */
static void tell(struct target *target, const struct ctl_place *place,
    const char *name, json_t *object)
{
	char text[SEGMENT_REPLY + 1];
	const struct ctl_row *row = &ctl_rows[place->row];

	if (!(row->access & CTL_R) || ask(target, MAILBOX_GET, name, "", text) != 0) {
		if (object)
			json_object_set_new(object, name, json_null());
		else
			printf("%s: done\n", name);
	} else if (object) {
		json_object_set_new(object, name, value_json(row->type, text));
	} else {
		printf("%s=%s\n", name, text);
	}
}

/* What a value may be, for who gave another. */
static const char *takes(const struct ctl_row *row)
{
	switch ((enum ctl_type)row->type) {
	case CTL_BOOL:
		return "true or false";
	case CTL_SSIZE:
		return "-1 or a number that is not too large";
	case CTL_UNSIGNED:
	case CTL_SIZE:
	case CTL_U64:
		return row->unit == CTL_UNIT_BYTES ? "a number of bytes, as 64M" :
		    "a number that is not too large";
	default:
		return NULL;
	}
}

/* Of what was set, where the process's errno says less than is known here. */
static int complain_set(const struct target *target, const struct ctl_row *row,
    const char *name, const char *value, int error)
{
	enum ctl_id id = (enum ctl_id)(row - ctl_rows);

	if (error == EINVAL && value && takes(row))
		return complain("%d: %s: takes %s, not %s", target->pid, name, takes(row),
		    value);
	if (error == EFAULT && (id == CTL_ROW_arena_reset || id == CTL_ROW_arena_destroy))
		return complain("%d: %s: not made by arenas.create, or in use",
		    target->pid, name);
	return complain_answer(target, name, error);
}

static int set_one(struct target *target, char *argument, const struct request *r,
    json_t *object)
{
	(void)r;
	char reply[SEGMENT_REPLY + 1];
	char *value;
	struct ctl_place place;
	int has_value = split(argument, &value), error;

	if (find_control(argument, &place) != EXIT_FINE)
		return EXIT_FAILED;
	const struct ctl_row *row = &ctl_rows[place.row];
	if (!(row->access & (CTL_W | CTL_X)))
		return complain("%s: cannot be set", argument);
	if (!has_value && row->type != CTL_VOID)
		return complain("%s: needs a value", argument);
	if (has_value && row->type == CTL_VOID)
		return complain("%s: acts, and takes no value", argument);
	if (has_value && strlen(value) >= sizeof(((struct mailbox *)0)->value))
		return complain("%s: the value is too long", argument);
	error = ask(target, MAILBOX_SET, argument, has_value ? value : "", reply);
	if (error)
		return complain_set(target, row, argument, value, error);
	tell(target, &place, argument, object);
	return EXIT_FINE;
}

int command_set(int argc, char **argv)
{
	return for_each(argc, argv, set_one);
}

/* ---- list ---- */

static const char *access_name(const struct ctl_row *row)
{
	return row->access & CTL_X ? "acts" : row->access == CTL_RW ? "read, set" :
	    row->access == CTL_W ? "set" : "read";
}

static bool is_wanted(const struct ctl_row *row, const char *pattern)
{
	if (!pattern)
		return true;
	if (strpbrk(pattern, "*?["))
		return fnmatch(pattern, row->name, 0) == 0;
	return strstr(row->name, pattern) != NULL;
}

static json_t *row_json(const struct ctl_row *row)
{
	static const char *const kinds[] = { "statistic", "option", "control", "constant" };

	return json_pack("{s:s, s:s, s:b, s:b, s:b, s:s, s:s, s:s}", "name", row->name,
	    "type", ctl_type_name(row->type), "read", row->access & CTL_R ? 1 : 0,
	    "set", row->access & CTL_W ? 1 : 0, "acts", row->access & CTL_X ? 1 : 0,
	    "unit", ctl_unit_name(row->unit), "kind", kinds[row->kind],
	    "help", row->help);
}

static void list_row(struct grid *g, const struct ctl_row *row)
{
	grid_text(g, "%s", row->name);
	grid_text(g, "%s", row->type == CTL_VOID ? "-" : ctl_type_name(row->type));
	grid_text(g, "%s", access_name(row));
	grid_text(g, "%s", ctl_unit_name(row->unit));
	grid_text(g, "%s", row->help);
}

int command_list(int argc, char **argv)
{
	static const char *const headings[] = { "<NAME", "<TYPE", "<ACCESS", "<UNIT",
		"<MEANING" };
	struct request r;
	struct grid g;
	int code = parse(argc, argv, &r, 0, 1);
	size_t found = 0;

	if (code != EXIT_FINE)
		return code;
	const char *pattern = r.argc ? r.argv[0] : NULL;
	json_t *list = json_array();
	grid_start(&g, headings, sizeof(headings) / sizeof(headings[0]));
	for (unsigned i = 0; i < CTL_ROWS; i++)
		if (is_wanted(&ctl_rows[i], pattern)) {
			list_row(&g, &ctl_rows[i]);
			json_array_append_new(list, row_json(&ctl_rows[i]));
			found++;
		}
	if (r.json)
		code = print_json(json_incref(list), false);
	else if (found)
		grid_print(&g, "", true);
	grid_free(&g);
	json_decref(list);
	return found ? code : complain("no control matches '%s'", pattern);
}

/* ---- purge ---- */

/* The arena's index; false after a message. */
static bool find_site(const struct target *target, const char *site, uint32_t *index)
{
	const struct snapshot *s = target->snapshot;

	for (uint32_t row = 1; row < s->arena_rows; row++)
		if (s->arenas[row].is_made && strcmp(s->arenas[row].name, site) == 0) {
			*index = row - 1;
			return true;
		}
	complain("%d: no arena is named '%s'", target->pid, site);
	return false;
}

static int tell_purge(const struct target *target, uint64_t before, uint64_t purged,
    bool json)
{
	uint64_t after = target->snapshot->resident;
	uint64_t back = before > after ? before - after : 0;
	char a[FORMAT_SIZE], b[FORMAT_SIZE], c[FORMAT_SIZE];

	if (json)
		return print_json(json_pack("{s:i, s:o, s:o, s:o, s:o}",
		    "pid", target->pid, "given_back", stats_json_number(back),
		    "resident_before", stats_json_number(before),
		    "resident_after", stats_json_number(after),
		    "purged", stats_json_number(stats_grown(target->snapshot->purged,
			purged))), false);
	printf("%s (%d): gave back %s; resident %s before, %s after\n", target->command,
	    target->pid, format_bytes(a, sizeof(a), back),
	    format_bytes(b, sizeof(b), before), format_bytes(c, sizeof(c), after));
	return EXIT_FINE;
}

static int purge(struct target *target, const struct request *r)
{
	char name[64], reply[SEGMENT_REPLY + 1];
	uint32_t index = CTL_ARENAS_ALL;
	uint64_t before = target->snapshot->resident, purged = target->snapshot->purged;

	if (r->site && !find_site(target, r->site, &index))
		return EXIT_FAILED;
	snprintf(name, sizeof(name), "arena.%" PRIu32 ".purge", index);
	int error = ask(target, MAILBOX_SET, name, "", reply);
	if (error)
		return complain_answer(target, name, error);
	int code = renew(target);
	return code == EXIT_FINE ? tell_purge(target, before, purged, r->json) : code;
}

int command_purge(int argc, char **argv)
{
	struct request r;
	struct target target;
	int code = parse(argc, argv, &r, 1, 1);

	/* It would be any arena that has none. */
	if (code == EXIT_FINE && r.site && !*r.site)
		code = complain_usage("purge", "--site needs a name");
	if (code == EXIT_FINE)
		code = attach(&target, r.argv[0]);
	if (code != EXIT_FINE)
		return code;
	code = purge(&target, &r);
	target_close(&target);
	return code;
}

/* ---- toggle ---- */

static bool layer_control(const char *layer, char *name, size_t size)
{
	for (unsigned i = 0; i < LAYERS; i++)
		if (strcmp(layer, stats_layer_names[i]) == 0) {
			snprintf(name, size, "%s%s.enabled",
			    i == LAYER_WHALE ? "" : "tls.", layer);
			return true;
		}
	return false;
}

int command_toggle(int argc, char **argv)
{
	struct request r;
	struct target target;
	char argument[64];
	int code = parse(argc, argv, &r, 3, 3);

	if (code != EXIT_FINE)
		return code;
	if (!layer_control(r.argv[1], argument, sizeof(argument)))
		return complain_usage("toggle", "'%s' is no layer: tiny, l2, l25 or whale",
		    r.argv[1]);
	bool on = strcmp(r.argv[2], "on") == 0;
	if (!on && strcmp(r.argv[2], "off") != 0)
		return complain_usage("toggle", "'%s' is neither on nor off", r.argv[2]);
	strcat(argument, on ? "=true" : "=false");
	code = attach(&target, r.argv[0]);
	if (code != EXIT_FINE)
		return code;
	json_t *object = r.json ? json_object() : NULL;
	code = set_one(&target, argument, &r, object);
	if (object && code == EXIT_FINE)
		code = print_json(json_incref(object), false);
	json_decref(object);
	target_close(&target);
	return code;
}

/* ---- site ---- */

static const char *explain_site(const struct target *target, int error)
{
	return error == EINVAL ? "is not PATTERN=NAME, or too long" :
	    error == ENOENT ? "no rule has that pattern" :
	    error == ENOSPC ? "too many rules" : target_refusal(target, error);
}

static int site_change(struct target *target, const struct request *r)
{
	bool add = strcmp(r->argv[1], "add") == 0;
	char reply[SEGMENT_REPLY + 1];
	const char *rule = r->argv[2];

	if (strlen(rule) >= sizeof(((struct mailbox *)0)->value))
		return complain("%s: too long", rule);
	int error = ask(target, MAILBOX_SET, add ? "site.add" : "site.remove",
	    rule, reply);
	if (error == EINVAL || error == ENOENT || error == ENOSPC)
		return complain("%d: %s: %s", target->pid, rule, explain_site(target, error));
	if (error)
		return complain_answer(target, rule, error);
	if (r->json)
		return print_json(json_pack("{s:s%}", add ? "added" : "removed", rule,
		    strlen(rule)), false);
	printf("%s: %s\n", rule, add ? "added" : "removed");
	return EXIT_FINE;
}

static int get_number(struct target *target, const char *name, unsigned long *n)
{
	char reply[SEGMENT_REPLY + 1];
	int error = ask(target, MAILBOX_GET, name, "", reply);

	*n = error ? 0 : strtoul(reply, NULL, 10);
	return error;
}

/* A rule that goes away while they are listed ends the list. */
static int site_list(struct target *target, bool json)
{
	char name[64], rule[SEGMENT_REPLY + 1];
	unsigned long count, arena;
	int error = get_number(target, "site.count", &count);

	if (error)
		return complain_answer(target, "site.count", error);
	json_t *list = json_array();
	/* More than 256 there are not, whatever it says. */
	for (unsigned long i = 0; i < count && i < 256; i++) {
		snprintf(name, sizeof(name), "site.%lu.rule", i);
		error = ask(target, MAILBOX_GET, name, "", rule);
		if (error)
			break;
		snprintf(name, sizeof(name), "site.%lu.arena", i);
		error = get_number(target, name, &arena);
		if (error)
			break;
		json_array_append_new(list, json_pack("{s:s, s:I}", "rule", rule, "arena",
		    (json_int_t)(arena & UINT32_MAX)));
		if (!json)
			printf("%s\n", rule);
	}
	if (error && error != ENOENT)
		complain_answer(target, name, error);
	if (json)
		print_json(json_incref(list), false);
	else if (count == 0)
		printf("no rules\n");
	json_decref(list);
	return error && error != ENOENT ? EXIT_FAILED : EXIT_FINE;
}

int command_site(int argc, char **argv)
{
	struct request r;
	struct target target;
	int code = parse(argc, argv, &r, 2, 3);

	if (code != EXIT_FINE)
		return code;
	bool list = strcmp(r.argv[1], "list") == 0;
	if (!list && strcmp(r.argv[1], "add") != 0 && strcmp(r.argv[1], "remove") != 0)
		return complain_usage("site", "'%s' is neither add, remove nor list",
		    r.argv[1]);
	if (!list && r.argc != 3)
		return complain_usage("site", "which rule?");
	if (list && r.argc != 2)
		return complain_usage("site", "unexpected argument '%s'", r.argv[2]);
	code = attach(&target, r.argv[0]);
	if (code != EXIT_FINE)
		return code;
	code = list ? site_list(&target, r.json) : site_change(&target, &r);
	target_close(&target);
	return code;
}
