#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hakctl/commands.h"
#include "hakmem/hakmem.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments;
	const char *summary;
	const char *help; /* of its options; NULL: it has a --help of its own */
};

static const struct command commands[] = {
	{ "ps", command_ps, "[--json]",
	  "List the processes that run on hakmem", "" },
	{ "stats", command_stats, "PROCESS [OPTION]...",
	  "Where a process's memory is",
	  "  --arenas            each arena\n"
	  "  --bins              each size class up to 32 KiB\n"
	  "  --large             each size class above\n"
	  "  --mutexes           how often locks were waited for\n"
	  "  --threads           each thread's cache\n"
	  "  --sites             which site (named arena) holds how much\n"
	  "  --all               all of these\n"
	  "  --interval SECONDS  again and again, with rates per second\n"
	  "  --count N           that often, then end\n"
	  "  --diff A.json B.json\n"
	  "                      instead of a process: what changed between two\n"
	  "                      that --json wrote\n" },
	{ "top", command_top, "[PROCESS]", "Watch processes, full screen", NULL },
	{ "map", command_map, "PROCESS [-o FILE.svg]", "Draw a process's heap", NULL },
	{ "get", command_get, "PROCESS NAME...", "Read controls",
	  "  -n, --values        the values alone\n" },
	{ "set", command_set, "PROCESS NAME=VALUE...", "Set controls",
	  "A control that acts (arena.0.purge) is set without =VALUE. Bytes may have a\n"
	  "unit: limit.soft_bytes=512MiB.\n" },
	{ "list", command_list, "[PATTERN]",
	  "List the controls there are, and what they mean",
	  "PATTERN is a part of a name, or a shell pattern.\n" },
	{ "purge", command_purge, "PROCESS [--site NAME]",
	  "Have a process give back its free memory",
	  "  --site NAME         of the arena of that name alone\n" },
	{ "toggle", command_toggle, "PROCESS tiny|l2|l25|whale on|off",
	  "Switch a layer of the caches on or off", "" },
	{ "site", command_site, "PROCESS add PATTERN=NAME|remove PATTERN|list",
	  "Send what a library allocates to an arena of its own",
	  "PATTERN is a shell pattern for the library's file name ('libssl.so*'), or for\n"
	  "its whole path where it has a slash; NAME names the arena.\n" },
	{ "export", command_export, "[PROCESS]... [-o FILE] [--listen [ADDRESS:]PORT]",
	  "Give numbers to Prometheus (OpenMetrics)", NULL },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

int complain(const char *format, ...)
{
	va_list arguments;

	/* What was printed so far comes first. */
	fflush(stdout);
	fputs("hakctl: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int complain_usage(const char *command, const char *format, ...)
{
	char message[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	complain("%s%s%s (see hakctl %s%s--help)", command ? command : "",
	    command ? ": " : "", message, command ? command : "", command ? " " : "");
	return EXIT_USAGE;
}

int complain_option(const char *command, int result, char **argv)
{
	const char *option = argv[optind > 1 ? optind - 1 : 1];

	if (result == ':')
		return complain_usage(command, "%s needs a value", option);
	if (optopt && optopt < 256 && strncmp(option, "--", 2) != 0)
		return complain_usage(command, "unknown option '-%c'", optopt);
	return complain_usage(command, "unknown or ambiguous option '%s'", option);
}

int show_help(const char *name)
{
	const struct command *c = find_command(name);

	if (!c)
		return EXIT_FINE;
	printf("Usage: hakctl %s %s\n\n%s.\n", c->name, c->arguments, c->summary);
	if (c->help && *c->help)
		printf("\n%s", c->help);
	printf("\n  --json              as JSON\n"
	    "  --help              this\n");
	return EXIT_FINE;
}

static void show_commands(FILE *out)
{
	fputs("Usage: hakctl COMMAND [ARGUMENT]...\n\n"
	    "Look into processes that run on hakmem, and steer them.\n\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("\nA PROCESS is a pid, a name or an executable's path. hakctl COMMAND --help tells\n"
	    "more, as does hakctl(1).\n", out);
}

static int no_process_of(const char *name)
{
	if (strspn(name, "0123456789") == strlen(name))
		return complain("%s: no such process", name);
	return complain("%s: no process of that name", name);
}

int resolve(const char *name, pid_t *pid)
{
	pid_t pids[64];
	int n = *name ? target_find(name, true, pids, 64) : 0;

	if (n < 0)
		return complain("cannot read /proc: %s", strerror(errno));
	if (n == 0)
		return no_process_of(name);
	if (n > 1) {
		char list[512] = "";
		size_t at = 0;
		for (int i = 0; i < n && at < sizeof(list) - 16; i++)
			at += (size_t)snprintf(list + at, sizeof(list) - at, " %d", pids[i]);
		complain("%s: several processes have that name, choose one:%s", name, list);
		return EXIT_USAGE;
	}
	*pid = pids[0];
	return EXIT_FINE;
}

/* The pid, and the name where the user gave one. */
static int complain_of(const char *name, pid_t pid, enum target_result result)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", pid);
	if (strcmp(name, number) == 0)
		return complain("%s: %s", number, target_explain(result));
	return complain("%s (%s): %s", name, number, target_explain(result));
}

int renew(struct target *target)
{
	enum target_result result = target_refresh(target, WAIT_LOOK_MS);

	if (result == TARGET_OK)
		return EXIT_FINE;
	return complain("%d: %s", target->pid, target_explain(result));
}

int attach(struct target *target, const char *name)
{
	pid_t pid;
	int code = resolve(name, &pid);

	if (code != EXIT_FINE)
		return code;
	enum target_result result = target_open(target, pid);
	if (result == TARGET_OK) {
		result = target_refresh(target, WAIT_LOOK_MS);
		if (result == TARGET_OK)
			return EXIT_FINE;
		target_close(target);
	}
	return complain_of(name, pid, result);
}

int print_json(json_t *json, bool compact)
{
	int failed = !json || json_dumpf(json, stdout, JSON_PRESERVE_ORDER |
	    (compact ? JSON_COMPACT : JSON_INDENT(2))) != 0;

	putchar('\n');
	json_decref(json);
	return failed ? complain("cannot write JSON") : EXIT_FINE;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(int argc, char **argv)
{
	const struct command *c = find_command(argv[0]);

	if (!c) {
		complain("no command '%s' (see hakctl --help)", argv[0]);
		return EXIT_USAGE;
	}
	if (c->help && wants_help(argc, argv))
		return show_help(c->name);
	return c->run(argc, argv);
}

static int start(int argc, char **argv)
{
	if (argc < 2) {
		show_commands(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("hakctl " HAK_VERSION);
		return EXIT_FINE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		show_commands(stdout);
		return EXIT_FINE;
	}
	return run(argc - 1, argv + 1);
}

/* Of the first three those that are closed: no file that is opened later takes their
 * numbers, and gets what is printed. Not to be written to: that fails, as it should. */
static void hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return;
}

int main(int argc, char **argv)
{
	hold_standard_files();
	int code = start(argc, argv);

	/* A full disk is no success. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_FINE)
		code = complain("cannot write: %s", strerror(errno));
	return code;
}
