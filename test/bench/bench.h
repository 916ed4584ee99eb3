/* What the benchmarks share: random numbers, time, memory that must be there. */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* Peak resident memory, of this program alone: what wait4 tells counts the
 * parent's, too. */
static inline long peak_kib(void)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0) {
		perror("/proc/self/status");
		exit(1);
	}
	close(fd);
	text[n] = '\0';
	const char *line = strstr(text, "VmHWM:");
	return line ? strtol(line + 6, NULL, 10) : 0;
}

/* What the runner reads. */
static inline void report(double operations, double took, uint64_t checksum)
{
	printf("ops/s %.0f\nchecksum %llu\npeak %ld\n", operations / took,
	    (unsigned long long)checksum, peak_kib());
}

#endif
