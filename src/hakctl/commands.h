/*
 * The commands of hakctl, each in a file of its name (get, set, list, purge,
 * toggle and site: control.c), and what they share. argv[0] is the command's
 * name; what is returned is the exit code.
 */
#ifndef HAK_HAKCTL_COMMANDS_H
#define HAK_HAKCTL_COMMANDS_H

#include <stdbool.h>
#include <sys/types.h>

#include "hakctl/target.h"

enum { EXIT_FINE, EXIT_FAILED, EXIT_USAGE };

/* How long a process may take for an answer: for its numbers (there are older ones
 * otherwise), to read a control, to act. */
#define WAIT_LOOK_MS 1000
#define WAIT_READ_MS 5000
#define WAIT_ACT_MS 30000

int command_ps(int argc, char **argv);
int command_stats(int argc, char **argv);
int command_get(int argc, char **argv);
int command_set(int argc, char **argv);
int command_list(int argc, char **argv);
int command_purge(int argc, char **argv);
int command_toggle(int argc, char **argv);
int command_site(int argc, char **argv);
int command_top(int argc, char **argv);
int command_map(int argc, char **argv);
int command_export(int argc, char **argv);

/* "hakctl: MESSAGE" and a newline to stderr. Returns EXIT_FAILED. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and where to find help. Returns EXIT_USAGE. */
int complain_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Attach to the one process that name means, a pid or a name, and take a first
 * snapshot. Returns EXIT_FINE, or after a message the exit code. */
int attach(struct target *target, const char *name);
/* The pid that name means; the same, without attaching. */
int resolve(const char *name, pid_t *pid);
/* What getopt_long(3) did not know or want, as complain_usage(). */
int complain_option(const char *command, int result, char **argv);
/* The synopsis and help of a command to stdout. Returns EXIT_FINE. */
int show_help(const char *command);
/* Print what JSON it is, and free it. compact: in one line. */
struct json_t;
int print_json(struct json_t *json, bool compact);
/* A new snapshot of an attached process; complains where there is none. */
int renew(struct target *target);
#endif
