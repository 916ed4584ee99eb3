#include "page/decay.h"

#include <string.h>

/* Share (of 1024) of what became unused i steps ago that may stay: smoothstep,
 * 1 - (3x^2 - 2x^3) with x = (i + 1) / DECAY_STEPS. */
static size_t share(size_t i)
{
	size_t x = i + 1, n = DECAY_STEPS;

	return 1024 - (3 * x * x * n - 2 * x * x * x) * 1024 / (n * n * n);
}

static void close_steps(struct decay *decay, size_t steps, size_t unused)
{
	size_t kept = steps < DECAY_STEPS ? DECAY_STEPS - steps : 0;

	memmove(&decay->backlog[DECAY_STEPS - kept], &decay->backlog[0],
	    kept * sizeof(decay->backlog[0]));
	memset(&decay->backlog[0], 0,
	    (DECAY_STEPS - kept) * sizeof(decay->backlog[0]));
	decay->backlog[0] = unused > decay->held ? unused - decay->held : 0;
}

size_t decay_limit(struct decay *decay, ssize_t decay_ms, uint64_t now_ms,
    size_t unused)
{
	if (decay_ms <= 0)
		return decay_ms < 0 ? unused : 0;
	uint64_t step = (uint64_t)decay_ms / DECAY_STEPS + 1;
	/* Or it was begun when steps were longer. */
	if (!decay->step_end_ms || decay->step_end_ms > now_ms + step)
		decay->step_end_ms = now_ms + step;
	if (now_ms < decay->step_end_ms)
		return unused;
	size_t steps = (size_t)((now_ms - decay->step_end_ms) / step) + 1;
	close_steps(decay, steps, unused);
	decay->step_end_ms += steps * step;
	size_t limit = 0;
	for (size_t i = 0; i < DECAY_STEPS; i++)
		limit += decay->backlog[i] * share(i);
	limit /= 1024;
	decay->held = unused < limit ? unused : limit;
	return decay->held;
}
