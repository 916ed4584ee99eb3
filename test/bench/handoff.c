/*
 * handoff: how far is one processor from another? Two threads, each held to its own
 * processor, hand a cache line to and fro. Prints the nanoseconds that one way takes,
 * the median of 9 times, or nothing where the program has one processor only. A virtual
 * machine's processors are near each other at some times and far at others, and memory
 * that goes from thread to thread costs accordingly: race asks for it in each round.
 *
 * usage: handoff
 */
#include "bench.h"

#include <errno.h>
#include <sched.h>

#define TIMES 9
#define TURNS 5000

static _Alignas(128) atomic_uint turn;
static int processors[2];

static void hold_to(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	check_that(sched_setaffinity(0, sizeof(set), &set) == 0, "not held to processor",
	    (size_t)processor);
}

static void take_turns(unsigned from, unsigned to)
{
	for (unsigned t = from; t < to; t += 2) {
		while (atomic_load_explicit(&turn, memory_order_acquire) != t)
			;
		atomic_store_explicit(&turn, t + 1, memory_order_release);
	}
}

static void *other(void *unused)
{
	hold_to(processors[1]);
	take_turns(1, 2 * TURNS * (TIMES + 1));
	return unused;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	cpu_set_t allowed;
	pthread_t thread;
	double took[TIMES];
	int n = 0;

	check_that(sched_getaffinity(0, sizeof(allowed), &allowed) == 0,
	    "no sched_getaffinity, errno", (size_t)errno);
	for (int p = 0; p < CPU_SETSIZE && n < 2; p++)
		if (CPU_ISSET(p, &allowed))
			processors[n++] = p;
	if (n < 2)
		return 0;
	hold_to(processors[0]);
	check_that(pthread_create(&thread, NULL, other, NULL) == 0, "no thread", 1);
	/* The first time is until the other thread runs. */
	take_turns(0, 2 * TURNS);
	for (unsigned i = 0; i < TIMES; i++) {
		double began = seconds();
		take_turns(2 * TURNS * (i + 1), 2 * TURNS * (i + 2));
		took[i] = (seconds() - began) / (2 * TURNS) * 1e9;
	}
	pthread_join(thread, NULL);
	qsort(took, TIMES, sizeof(*took), by_value);
	printf("handoff %.0f\n", took[TIMES / 2]);
	return 0;
}
