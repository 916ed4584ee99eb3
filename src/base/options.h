/*
 * What HAKMEM_CONF set: written once by ctl/conf before the first allocation,
 * read by every layer afterwards.
 */
#ifndef HAK_BASE_OPTIONS_H
#define HAK_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum thp_mode { THP_DEFAULT, THP_ALWAYS, THP_NEVER };

struct options {
	unsigned narenas;        /* 0: four for each processor */
	ssize_t dirty_decay_ms;  /* -1: never, 0: at once */
	ssize_t muzzy_decay_ms;
	bool background_thread;
	bool tls_tiny, tls_l2, tls_l25, whale;
	bool zero, junk;
	bool abort_conf;
	bool stats_print;
	enum thp_mode thp;
};

#define NARENAS_MAX 256u

extern struct options options;

#endif
