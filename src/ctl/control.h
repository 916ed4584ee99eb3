/*
 * The controls: reading, writing and running what ctl.def names, as mallctl(3) of
 * jemalloc does and as text. All return 0 or an errno: ENOENT (no such name or
 * index), EINVAL (wrong size, value out of range), EPERM (not readable, not
 * writable, not from there), EAGAIN (memory), EFAULT (no such arena or cache),
 * ENOTSUP. What fails changes nothing.
 */
#ifndef HAK_CTL_CONTROL_H
#define HAK_CTL_CONTROL_H

#include "base/lock.h"
#include "ctl/table.h"

int control(const struct ctl_place *place, void *old, size_t *old_length,
    const void *new, size_t new_length);

/* Of a process that is looked at from outside: what concerns one thread is EPERM. */
int control_get_text(const char *name, char *text, size_t size);
int control_set_text(const char *name, const char *value);

/* The snapshot that stats.* read from, taken if there is none, with control_lock
 * held, which the caller releases; NULL: no memory, nothing held. */
const struct snapshot *control_snapshot(bool fresh);

/* Give all back that is free, wherever it lies: tcaches at rest, depots, slabs,
 * pages, whales. */
void control_purge_all(void);

extern struct lock control_lock; /* before tcaches_lock in the order; for fork */
/* Of limit.callback. */
extern AO_t control_limit_callback;

#endif
