/*
 * The background thread: lets decay go on while the program does not call the
 * allocator. It starts by itself once there is something to give back, sleeps
 * for good while there is not, and never runs in a process that frees little.
 */
#ifndef HAK_ARENA_BACKGROUND_H
#define HAK_ARENA_BACKGROUND_H

#include <stdbool.h>
#include <stddef.h>

/* Something became free: start or wake the thread if it is worth it. Cheap
 * enough for each few hundred KiB of frees. The caller holds no lock. */
void background_ask(void);

/* One pass over everything. all: without waiting for decay. Returns true while
 * something is left. */
bool background_pass(bool all);

/* A layer above takes part in each pass, before the rest. Once, at the start. */
void background_also(bool (*pass)(bool all));

bool background_is_running(void);

/* No thread may start from before fork to after it; in the child the thread is
 * gone and may start anew. */
void background_before_fork(void);
void background_after_fork(bool child);
/* No thread before the program's own constructors may run, none after exit. */
void background_allow(void);

#endif
