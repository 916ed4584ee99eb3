/* What the benchmarks share: random numbers, time, memory that must be there. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static inline void *must(void *p)
{
	if (!p) {
		perror("bench");
		exit(1);
	}
	return p;
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The two lines that the runner reads. */
static inline void report(double operations, double start, uint64_t checksum)
{
	printf("ops/s %.0f\nchecksum %llu\n", operations / (seconds() - start),
	    (unsigned long long)checksum);
}

#endif
