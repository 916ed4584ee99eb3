/*
 * The background thread: lets decay go on while the program does not call the
 * allocator, and serves what looks at the process from outside. It starts by
 * itself once the process is large or old enough, and sleeps for good while
 * there is nothing to do.
 *
 * It is started by allocating paths alone, and for who asks from outside. (Where it is
 * hidden and was only held off, also by what is freed.) glibc frees memory under the
 * lock of its stack cache (stacks of ended threads), which pthread_create needs, and
 * allocates none there. Where the thread need not be known to libc it is not (page/thread.h).
 */
#ifndef HAK_ARENA_BACKGROUND_H
#define HAK_ARENA_BACKGROUND_H

#include "base/atomic.h"
#include "base/bits.h"

enum background_state { BACKGROUND_NOT_ALLOWED, BACKGROUND_NOT_RUNNING,
	BACKGROUND_STARTING, BACKGROUND_RUNNING, BACKGROUND_IDLE };
extern AO_t background_state;

SLOW_PATH void background_start_or_wake(bool large);

/* The program allocates, on a slow path, holding no lock: start the thread if it
 * is due, and see that it notices if it sleeps. large: a mapping of its own. May
 * allocate; to be called last. */
static inline void background_start(bool large)
{
	size_t state = flag_load(&background_state);

	if (unlikely(state == BACKGROUND_NOT_RUNNING || state == BACKGROUND_IDLE))
		background_start_or_wake(large);
}

/* Start it now, whatever the calling thread is in the middle of, where it is allowed and
 * can be hidden. (Somebody outside needs it: ctl/summon.h.) */
void background_summon(void);

/* Something became free: wake the thread if it runs. Cheap enough for each few
 * hundred KiB of frees. The caller holds no lock. */
void background_ask(void);

/* One pass over everything. all: without waiting for decay. Returns true while
 * something is left. */
bool background_pass(bool all);

/* A layer above takes part in each pass, before the rest. Once, at the start.
 * is_background: it is called on the background thread. */
void background_also(bool (*pass)(bool all, bool is_background));

/* What the thread serves besides, of a layer above. */
struct background_service {
	void (*start)(void);  /* on each new thread, before anything else */
	bool (*serve)(void);  /* each time it wakes; true: again soon */
	void (*forget)(void); /* in a child of fork: what it had is the parent's */
	unsigned *bell;       /* wakes it; NULL: none (yet). A futex for other
				 processes, too */
};
void background_serve(struct background_service *service);

struct background_stats {
	size_t threads, runs;
	uint64_t interval_ns; /* mean */
};
struct background_stats background_stats(void);

/* In the child of a fork the thread is gone and may start anew. */
void background_after_fork_in_child(void);
/* The main thread ended alone: libc waits for the last thread of the program, and
 * ours must not be it. It ends soon and does not start again. */
void background_end(void);
/* The same at once, and whatever thread calls: system calls are about to be filtered, and
 * the thread's are not what the filter expects. Waits for its end. */
void background_stop(void);
/* End a thread that libc does not know of, and start none until the release; it starts
 * again when it is next due. False: this process may have none, and there is nothing to
 * release. May be called by a signal handler. */
bool background_hold(void);
/* The same where the program has no thread but the caller, for a fork: what is free goes
 * back first, and what is freed later starts the thread, too. It stays where that is much,
 * or where somebody outside had it started lately: see thread_is_hidden. */
bool background_hold_for_fork(void);
void background_release(void);
/* From now on the thread may run code of the program's: libc must know of it. */
void background_show(void);
/* No thread before the program's own constructors may run. */
void background_allow(void);

#endif
