#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/commands.h"
#include "hakctl/endpoint.h"
#include "hakctl/format.h"
#include "hakctl/openmetrics.h"
#include "hakctl/output.h"

#define PROCESSES 4096
/* For each process: all of them are to be done within a scrape's 10 s. */
#define WAIT_EXPORT_MS 200

struct request {
	char **names;          /* of processes */
	size_t count;          /* of names; 0: all processes */
	const char *file;      /* NULL: stdout */
	const char *listen;
	enum metrics_format format;
	bool json;
};

/* Attached processes, each with a snapshot. */
struct processes {
	struct target *targets;
	size_t count;
};

static const char help[] =
	"Usage: hakctl export [PROCESS]... [-o FILE]\n"
	"       hakctl export [PROCESS]... --listen [ADDRESS:]PORT\n"
	"\n"
	"Write the numbers of processes, without PROCESS those of all that run on hakmem,\n"
	"as Prometheus reads them.\n"
	"\n"
	"  -o, --output FILE   to a file, which appears whole: for node-exporter's folder\n"
	"                      of text files it is to end in .prom\n"
	"  --listen [ADDRESS:]PORT\n"
	"                      serve http://ADDRESS:PORT/metrics until SIGINT or SIGTERM;\n"
	"                      ADDRESS is 127.0.0.1 if none is given\n"
	"  --format FORMAT     prometheus: text format 0.0.4, the default, what promtool\n"
	"                      and node-exporter read; openmetrics: OpenMetrics 1.0, with\n"
	"                      units. (With --listen who asks chooses.)\n"
	"  --json              as JSON\n"
	"  --help              this\n";

/* ---- Processes ---- */

static bool has(const struct processes *p, pid_t pid)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->targets[i].pid == pid)
			return true;
	return false;
}

/* None is had to start its thread for that. */
static void ask_version(struct target *target)
{
	char reply[SEGMENT_REPLY + 1];
	size_t length;

	if (target->segment && target->is_fresh && target_ask(target, MAILBOX_GET, "version",
	    "", reply, &length, WAIT_EXPORT_MS) == 0)
		snprintf(target->version, sizeof(target->version), "%.31s",
		    format_printable(reply));
}

static enum target_result add(struct processes *p, pid_t pid)
{
	struct target *target = &p->targets[p->count];
	enum target_result result;

	if (has(p, pid) || p->count == PROCESSES)
		return TARGET_OK;
	result = target_open(target, pid);
	if (result != TARGET_OK)
		return result;
	result = target_refresh(target, WAIT_EXPORT_MS);
	if (result == TARGET_OK) {
		ask_version(target);
		p->count++;
	} else {
		target_close(target);
	}
	return result;
}

/* All processes that name (NULL: any) means; is_strict: complain of those that
 * cannot be looked at. */
static int add_named(struct processes *p, const char *name, bool is_strict)
{
	static pid_t pids[PROCESSES];
	int n = name && !*name ? 0 : target_find(name, true, pids, PROCESSES);
	int code = EXIT_FINE;

	if (n < 0)
		return complain("cannot read /proc: %s", strerror(errno));
	if (n == 0 && is_strict)
		return complain(strspn(name, "0123456789") == strlen(name) ?
		    "%s: no such process" : "%s: no process of that name", name);
	for (int i = 0; i < n; i++) {
		enum target_result result = add(p, pids[i]);
		if (result != TARGET_OK && is_strict)
			code = complain("%d: %s", pids[i], target_explain(result));
	}
	return code;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct target *)a)->pid, y = ((const struct target *)b)->pid;

	return (x > y) - (x < y);
}

static int gather(const struct request *r, struct processes *p, bool is_strict)
{
	int code = EXIT_FINE;

	p->count = 0;
	p->targets = calloc(PROCESSES, sizeof(*p->targets));
	if (!p->targets)
		return complain("out of memory");
	if (r->count == 0)
		code = add_named(p, NULL, false);
	for (size_t i = 0; i < r->count; i++)
		if (add_named(p, r->names[i], is_strict) != EXIT_FINE)
			code = EXIT_FAILED;
	qsort(p->targets, p->count, sizeof(*p->targets), by_pid);
	return code;
}

static void release(struct processes *p)
{
	for (size_t i = 0; i < p->count; i++)
		target_close(&p->targets[i]);
	free(p->targets);
}

/* ---- Once, and at each request ---- */

static int write_file(const struct request *r, const struct processes *p)
{
	struct output output;
	int code = output_open(&output, r->file);

	if (code != EXIT_FINE)
		return code;
	if (r->json) {
		json_t *json = metrics_json(p->targets, p->count);
		json_dumpf(json, output.stream, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		fputc('\n', output.stream);
		json_decref(json);
	} else {
		metrics_write(output.stream, r->format, p->targets, p->count);
	}
	return output_close(&output, true);
}

/* A process that is not there does not keep the others from being written. */
static int export_once(const struct request *r)
{
	struct processes p;
	int code = gather(r, &p, true);

	if (p.targets && write_file(r, &p) != EXIT_FINE)
		code = EXIT_FAILED;
	release(&p);
	return code;
}

/* Names are looked up each time: a service that was started anew is found. */
static char *text_of(void *context, enum metrics_format format, size_t *length)
{
	const struct request *r = context;
	struct processes p;
	char *text = NULL;

	gather(r, &p, false);
	FILE *out = p.targets ? open_memstream(&text, length) : NULL;
	if (out) {
		metrics_write(out, format, p.targets, p.count);
		if (fclose(out) != 0) {
			free(text);
			text = NULL;
		}
	}
	release(&p);
	return text;
}

/* ---- Options ---- */

enum { OPTION_LISTEN = 1000, OPTION_FORMAT, OPTION_JSON };

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "listen", required_argument, NULL, OPTION_LISTEN },
	{ "format", required_argument, NULL, OPTION_FORMAT },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static int parse_format(const char *name, enum metrics_format *format)
{
	if (strcmp(name, "prometheus") == 0)
		*format = METRICS_PROMETHEUS;
	else if (strcmp(name, "openmetrics") == 0)
		*format = METRICS_OPENMETRICS;
	else
		return complain_usage("export", "there is no format '%s'", name);
	return EXIT_FINE;
}

static int check(const struct request *r)
{
	if (r->listen && (r->file || r->json))
		return complain_usage("export", "--listen writes no file and no JSON");
	return EXIT_FINE;
}

static int parse(int argc, char **argv, struct request *r, bool *wants_help)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			r->file = optarg;
			break;
		case 'h':
			*wants_help = true;
			break;
		case OPTION_LISTEN:
			r->listen = optarg;
			break;
		case OPTION_FORMAT:
			if (parse_format(optarg, &r->format) != EXIT_FINE)
				return EXIT_USAGE;
			break;
		case OPTION_JSON:
			r->json = true;
			break;
		default:
			return complain_option("export", option, argv);
		}
	}
	r->names = argv + optind;
	r->count = (size_t)(argc - optind);
	return check(r);
}

int command_export(int argc, char **argv)
{
	struct request r = { .format = METRICS_PROMETHEUS };
	bool wants_help = false;
	int code = parse(argc, argv, &r, &wants_help);

	if (code != EXIT_FINE)
		return code;
	if (wants_help) {
		fputs(help, stdout);
		return EXIT_FINE;
	}
	return r.listen ? endpoint_serve(r.listen, text_of, &r) : export_once(&r);
}
