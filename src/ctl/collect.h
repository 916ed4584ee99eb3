/* Taking a snapshot: what the layers count, added up. */
#ifndef HAK_CTL_COLLECT_H
#define HAK_CTL_COLLECT_H

#include <stdbool.h>

#include "base/lock.h"
#include "ctl/snapshot.h"

/* Rows that a snapshot needs now: one for each arena, and one for their sum. */
unsigned collect_rows(void);

/* Fill a snapshot that has room for rows arenas; those beyond are left out of
 * the rows, not of the sums. Exact while no other thread allocates. Takes locks of
 * all layers, one after the other, and allocates nothing. */
void collect(struct snapshot *s, unsigned rows);

/* The locks that there is one of. */
extern struct lock *const collect_locks[MUTEXES];

/* Counted by the layers above. */
extern AO_t collect_zero_reallocs;
extern AO_t collect_soft_purges;
extern AO_t collect_pressure_reads, collect_pressure_some, collect_pressure_purges;

/* CLOCK_MONOTONIC. */
uint64_t collect_now_ns(void);
extern uint64_t collect_started_ns;
/* The time of the first call. */
void collect_init(void);

#endif
