/*
 * options   what the configuration said: written once by ctl/conf before the
 *           first allocation, read afterwards.
 * settings  what of it may change while the process runs (ctl/control), each a
 *           word: readers take what they find, no order hangs on it.
 */
#ifndef HAK_BASE_OPTIONS_H
#define HAK_BASE_OPTIONS_H

#include <sys/types.h>

#include "base/atomic.h"

enum thp_mode { THP_DEFAULT, THP_ALWAYS, THP_NEVER };
enum junk_mode { JUNK_NONE, JUNK_ALLOC = 1, JUNK_FREE = 2, JUNK_BOTH = 3 };

struct options {
	unsigned narenas;        /* 0: four for each processor */
	ssize_t dirty_decay_ms;  /* -1: never, 0: at once */
	ssize_t muzzy_decay_ms;
	bool background_thread;
	size_t max_background_threads;
	bool tls_tiny, tls_l2, tls_l25, whale;
	size_t whale_max_bytes;
	bool tcache;
	size_t tcache_max;
	size_t limit_soft_bytes; /* 0: none */
	bool pressure;
	bool zero;
	enum junk_mode junk;
	bool abort_conf, confirm_conf;
	bool stats_print;
	char stats_print_opts[16];
	bool xmalloc;
	enum thp_mode thp;
};

struct settings {
	AO_t dirty_decay_ms, muzzy_decay_ms; /* ssize_t */
	AO_t background_thread;
	AO_t layers;             /* 1 << enum layer: on; SETTING_SITES */
	AO_t whale_max_bytes;
	AO_t soft_bytes;
	AO_t pressure;
	AO_t pressure_threshold; /* in 1/100 % */
};

/* There are site rules: every allocation is to ask who calls. */
#define SETTING_SITES ((size_t)1 << 8)

/* That threads may be spread over, and all with those that a program makes. */
#define NARENAS_MAX 256u
#define ARENAS_LIMIT 1023u

extern struct options options;
extern struct settings settings;

/* settings as options say; layers that are compiled out stay off. */
void settings_init(void);

static inline ssize_t setting_ms(const AO_t *setting)
{
	return (ssize_t)flag_load(setting);
}

#endif
