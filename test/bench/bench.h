/* What the benchmarks share: options, random numbers, counted calls, shares of
 * the work for threads, the report that the runner reads. */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEED 12345

/* The calls of the allocator that this thread made. */
static _Thread_local uint64_t operations;

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* A thread's own state for next_random(), which must not be 0. */
static inline uint64_t seeded(uint64_t seed, size_t thread)
{
	uint64_t state = seed + thread * 0x9e3779b97f4a7c15u;

	return state ? state : 1;
}

static inline void *must(void *p)
{
	if (!p) {
		perror("bench");
		exit(1);
	}
	return p;
}

static inline void *make(size_t size)
{
	operations++;
	return must(malloc(size));
}

static inline void *make_zeroed(size_t count, size_t size)
{
	operations++;
	return must(calloc(count, size));
}

static inline void *grow(void *p, size_t size)
{
	operations++;
	return must(realloc(p, size));
}

static inline void drop(void *p)
{
	operations += p != NULL;
	free(p);
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Peak resident memory, of this program alone: what wait4 tells counts what
 * its parent had before exec, too. */
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
static inline void report(double calls, double took, uint64_t checksum)
{
	printf("ops/s %.0f\nchecksum %llu\npeak %ld\n", calls / took,
	    (unsigned long long)checksum, peak_kib());
}

static inline size_t number(int option, const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 0);

	if (*text < '0' || *text > '9' || *end || n > SIZE_MAX / 1000000) {
		fprintf(stderr, "-%c: not a number in range: '%s'\n", option, text);
		exit(2);
	}
	return (size_t)n;
}

static inline _Noreturn void usage_error(const char *name)
{
	fprintf(stderr, "usage: %s [-t threads] [-n work] [-s seed]\n", name);
	exit(2);
}

struct options {
	size_t threads, work;
	uint64_t seed;
};

/* [-t threads] [-n work] [-s seed]; work is what all threads do together. */
static inline struct options parse_options(int argc, char **argv, size_t work)
{
	struct options o = { .threads = 1, .work = work, .seed = SEED };
	int option;

	while ((option = getopt(argc, argv, "t:n:s:")) != -1)
		switch (option) {
		case 't': o.threads = number(option, optarg); break;
		case 'n': o.work = number(option, optarg); break;
		case 's': o.seed = number(option, optarg); break;
		default: usage_error(argv[0]);
		}
	if (optind != argc || !o.threads)
		usage_error(argv[0]);
	return o;
}

/* What one thread does of the work, and what came out. */
struct share {
	_Alignas(64) uint64_t rng;
	size_t work;
	uint64_t (*run)(struct share *);
	uint64_t operations, checksum;
	pthread_t thread;
};

static inline void *run_share(void *arg)
{
	struct share *s = arg;

	s->checksum = s->run(s);
	s->operations = operations;
	return NULL;
}

/* Run o->work in o->threads shares and report; the first one runs here. */
static inline void run_shares(const struct options *o, uint64_t (*run)(struct share *))
{
	struct share *shares = must(aligned_alloc(64, o->threads * sizeof(*shares)));
	uint64_t calls = 0, checksum = 0;
	double start = seconds();

	operations = 0;
	for (size_t t = o->threads; t-- > 0;) {
		struct share *s = &shares[t];
		*s = (struct share) { .rng = seeded(o->seed, t), .run = run,
		    .work = o->work / o->threads + (t < o->work % o->threads) };
		if (t == 0) {
			run_share(s);
		} else if (pthread_create(&s->thread, NULL, run_share, s) != 0) {
			perror("pthread_create");
			exit(1);
		}
	}
	for (size_t t = 0; t < o->threads; t++) {
		if (t > 0)
			pthread_join(shares[t].thread, NULL);
		calls += shares[t].operations;
		checksum = checksum * 31 + shares[t].checksum;
	}
	double took = seconds() - start;
	free(shares);
	report((double)calls, took, checksum);
}

#endif
