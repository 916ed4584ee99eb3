/*
 * How fast unused memory goes back: what became unused is let go along a
 * smooth curve that reaches zero after the decay time (as jemalloc's
 * smoothstep decay), counted in any unit. The owner's lock guards it.
 */
#ifndef HAK_PAGE_DECAY_H
#define HAK_PAGE_DECAY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DECAY_STEPS 32

struct decay {
	uint64_t step_end_ms; /* of the step that runs now; 0: not started */
	size_t held;          /* at the last step's end */
	size_t backlog[DECAY_STEPS]; /* what became unused in each step, newest first */
};

/* How much of unused may stay now. decay_ms: 0 nothing, -1 everything. */
size_t decay_limit(struct decay *decay, ssize_t decay_ms, uint64_t now_ms,
    size_t unused);
/* Is there a step to close? Cheap; may be asked at each free. */
static inline int decay_is_due(const struct decay *decay, uint64_t now_ms)
{
	return now_ms >= decay->step_end_ms;
}

#endif
