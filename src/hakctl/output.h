/* A file that is there whole or not at all: what reads it never meets a half. */
#ifndef HAK_HAKCTL_OUTPUT_H
#define HAK_HAKCTL_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

struct output {
	FILE *stream;          /* to write to */
	const char *path;      /* as the user said it */
	char *real;            /* where it goes in the end; NULL: straight there */
	char *temporary;       /* beside it */
};

/* path: "-" or NULL is stdout. What is there and no ordinary file (a pipe, a
 * terminal) is written to as it is. Both complain and return an exit code. */
int output_open(struct output *output, const char *path);
/* keep: false throws it away. */
int output_close(struct output *output, bool keep);

#endif
