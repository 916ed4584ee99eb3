/* What the benchmarks share: options, random numbers, counted calls, objects
 * that are checked, shares of the work for threads, latencies, idle times, the
 * report that the runner reads. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SEED 12345
#define BENCH_PAGE 4096

/* The calls of the allocator that this thread made, and the bytes in items. */
static _Thread_local uint64_t operations;
static _Thread_local int64_t live_bytes;

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

static inline size_t between(uint64_t *state, size_t least, size_t most)
{
	return least + next_random(state) % (most - least + 1);
}

/* As many from 1 K to 2 K as from 1 M to 2 M; both ends are powers of two. */
static inline size_t log_between(uint64_t *state, size_t least, size_t most)
{
	size_t octaves = (size_t)(__builtin_ctzll(most) - __builtin_ctzll(least));
	size_t from = octaves ? least << next_random(state) % octaves : least;

	return from + next_random(state) % from;
}

static inline void *must(void *p)
{
	if (!p) {
		perror("bench");
		exit(1);
	}
	return p;
}

/*
 * Latencies (-l): what each call took, by the processor's own clock, in shared
 * tables that need no malloc: 16 steps to each power of two. A thread takes the
 * next table; where two have the same one, nothing is lost. The clock itself is
 * in the figures, some 10 ns.
 */
enum { LATENCY_ALLOC, LATENCY_FREE, LATENCY_KINDS };
#define LATENCY_STEPS 976
#define LATENCY_TABLES 64

static struct latency {
	_Atomic uint64_t count[LATENCY_KINDS][LATENCY_STEPS], max[LATENCY_KINDS];
} latencies[LATENCY_TABLES];
static _Atomic size_t latency_threads;
static _Thread_local struct latency *own_latency;
/* Asked for; and: count now. */
static size_t latency_wanted;
static int timing;

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
#else
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

static __attribute__((noinline, unused)) void note_latency(int kind, uint64_t began)
{
	uint64_t took = ticks() - began;
	unsigned octave = took < 16 ? 0 : 60 - (unsigned)__builtin_clzll(took);
	size_t step = took < 16 ? took : octave * 16 + ((took >> (octave - 1)) & 15);

	if (!own_latency)
		own_latency = &latencies[atomic_fetch_add(&latency_threads, 1) %
		    LATENCY_TABLES];
	atomic_fetch_add_explicit(&own_latency->count[kind][step], 1,
	    memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&own_latency->max[kind], memory_order_relaxed);
	while (took > max &&
	       !atomic_compare_exchange_weak(&own_latency->max[kind], &max, took))
		;
}

static inline void *timed_malloc(size_t size)
{
	if (!timing)
		return malloc(size);
	uint64_t began = ticks();
	void *p = malloc(size);
	note_latency(LATENCY_ALLOC, began);
	return p;
}

static inline void timed_free(void *p)
{
	if (!timing) {
		free(p);
		return;
	}
	uint64_t began = ticks();
	free(p);
	note_latency(LATENCY_FREE, began);
}

static inline void *make(size_t size)
{
	operations++;
	return must(timed_malloc(size));
}

static inline void *make_zeroed(size_t count, size_t size)
{
	uint64_t began = timing ? ticks() : 0;
	void *p = calloc(count, size);

	if (began)
		note_latency(LATENCY_ALLOC, began);
	operations++;
	return must(p);
}

static inline void *make_aligned(size_t alignment, size_t size)
{
	uint64_t began = timing ? ticks() : 0;
	void *p = aligned_alloc(alignment, size);

	if (began)
		note_latency(LATENCY_ALLOC, began);
	operations++;
	return must(p);
}

static inline void *grow(void *p, size_t size)
{
	uint64_t began = timing ? ticks() : 0;

	p = realloc(p, size);
	if (began)
		note_latency(LATENCY_ALLOC, began);
	operations++;
	return must(p);
}

static inline void drop(void *p)
{
	operations += p != NULL;
	timed_free(p);
}

/* A benchmark's own tables: not from the allocator that it measures. */
static inline void *own_pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return must(p == MAP_FAILED ? NULL : p);
}

/*
 * An object that knows what it is. It is sealed with its address and size, and
 * marked in each page and at its end, so that one that was given out twice, or
 * written to by another, is found out when it is dropped.
 */
struct item {
	struct item *next;	/* the program's */
	uint32_t size, seal;
};

static inline uint32_t seal_of(const struct item *i, uint32_t size)
{
	return (uint32_t)(((uintptr_t)i ^ size) * 0x9e3779b97f4a7c15u >> 32);
}

/* size is that of an item at least. */
static inline struct item *make_item(size_t size)
{
	struct item *i = make(size);
	unsigned char *bytes = (unsigned char *)i;

	i->size = (uint32_t)size;
	i->seal = seal_of(i, i->size);
	for (size_t at = BENCH_PAGE; at < size; at += BENCH_PAGE)
		bytes[at] = (unsigned char)i->seal;
	if (size > sizeof(*i))
		bytes[size - 1] = (unsigned char)i->seal;
	live_bytes += i->size;
	return i;
}

static inline void check_that(int is_so, const char *what, size_t n)
{
	if (!is_so) {
		fprintf(stderr, "bench: %s (%zu)\n", what, n);
		exit(1);
	}
}

/* Returns the size. */
static inline size_t drop_item(struct item *i)
{
	const unsigned char *bytes = (const unsigned char *)i;
	size_t size = i->size;

	check_that(i->seal == seal_of(i, i->size), "an object's head changed, its size", size);
	for (size_t at = BENCH_PAGE; at < size; at += BENCH_PAGE)
		check_that(bytes[at] == (unsigned char)i->seal, "a page changed, at", at);
	if (size > sizeof(*i))
		check_that(bytes[size - 1] == (unsigned char)i->seal,
		    "an object's end changed, its size", size);
	/* Lest it be dropped twice. */
	i->seal = ~i->seal;
	live_bytes -= i->size;
	drop(i);
	return size;
}

static inline void drop_items(struct item *list)
{
	for (struct item *next; list; list = next) {
		next = list->next;
		drop_item(list);
	}
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A figure of the kernel's about this program alone, in KiB. */
static inline long proc_kib(const char *file, const char *name)
{
	char text[4096];
	int fd = open(file, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0) {
		perror(file);
		exit(1);
	}
	close(fd);
	text[n] = '\0';
	const char *line = strstr(text, name);
	return line ? strtol(line + strlen(name), NULL, 10) : 0;
}

/* Peak resident memory: what wait4 tells counts what the parent had before
 * exec, too. */
static inline long peak_kib(void)
{
	return proc_kib("/proc/self/status", "VmHWM:");
}

/* Counted page by page, where VmRSS and statm lag behind on many processors. */
static inline long resident_kib(void)
{
	int rollup = access("/proc/self/smaps_rollup", R_OK) == 0;

	return rollup ? proc_kib("/proc/self/smaps_rollup", "\nRss:") :
	    proc_kib("/proc/self/status", "VmRSS:");
}

/* The time that counts; what comes before and after is not in the report. */
static struct {
	double began, ended;
	uint64_t first_tick, last_tick;
} stopwatch;

static inline void start_clock(void)
{
	if (latency_wanted)
		memset(latencies, 0, sizeof(latencies));
	timing = latency_wanted != 0;
	stopwatch.began = seconds();
	stopwatch.first_tick = ticks();
}

static inline double stop_clock(void)
{
	stopwatch.ended = seconds();
	stopwatch.last_tick = ticks();
	timing = 0;
	return stopwatch.ended - stopwatch.began;
}

/* -i: how long the program does nothing, and what it holds before and after. */
static size_t idle_seconds;

static inline void rest(void)
{
	struct timespec left = { .tv_sec = (time_t)idle_seconds };

	if (!idle_seconds)
		return;
	printf("resident busy %ld\n", resident_kib());
	while (nanosleep(&left, &left) != 0)
		;
	printf("resident idle %ld\n", resident_kib());
}

static inline uint64_t latency_at(int kind, uint64_t rank, uint64_t max)
{
	size_t step = 0;

	for (uint64_t seen = 0; step < LATENCY_STEPS; step++) {
		for (size_t t = 0; t < LATENCY_TABLES; t++)
			seen += latencies[t].count[kind][step];
		if (seen >= rank)
			break;
	}
	/* The end of the step, which may be past the greatest. */
	uint64_t end = step < 16 ? step : ((17 + step % 16) << (step / 16 - 1)) - 1;
	return end < max ? end : max;
}

static inline void report_latency(int kind, const char *name)
{
	double took = stopwatch.ended - stopwatch.began;
	double ns = took * 1e9 / (double)(stopwatch.last_tick - stopwatch.first_tick);
	uint64_t calls = 0, max = 0;

	for (size_t t = 0; t < LATENCY_TABLES; t++) {
		for (size_t i = 0; i < LATENCY_STEPS; i++)
			calls += latencies[t].count[kind][i];
		if (latencies[t].max[kind] > max)
			max = latencies[t].max[kind];
	}
	printf("latency %s p50 %.0f p99 %.0f p99.9 %.0f max %.0f ns\n", name,
	    (double)latency_at(kind, (calls + 1) / 2, max) * ns,
	    (double)latency_at(kind, calls - calls / 100, max) * ns,
	    (double)latency_at(kind, calls - calls / 1000, max) * ns, (double)max * ns);
}

/* What the runner reads. */
static inline void report(double calls, double took, uint64_t checksum)
{
	printf("ops/s %.0f\nchecksum %llu\npeak %ld\n", calls / took,
	    (unsigned long long)checksum, peak_kib());
	if (latency_wanted) {
		report_latency(LATENCY_ALLOC, "alloc");
		report_latency(LATENCY_FREE, "free");
	}
}

/* An option of a program's own: a number, a switch (no name), one of words. */
struct setting {
	char letter;
	const char *name, *words;
	size_t *value, least, most;
};

#define NUMBER_SETTING(letter, name, value, least, most) \
	{ letter, name, NULL, value, least, most }
#define SWITCH_SETTING(letter, value) { letter, NULL, NULL, value, 0, 1 }
#define WORD_SETTING(letter, words, value) { letter, words, words, value, 0, 0 }
#define LAST_SETTING { 0, NULL, NULL, NULL, 0, 0 }

struct options {
	size_t threads, work;
	uint64_t seed;
};

static inline _Noreturn void usage_error(const char *name, const struct setting *const *lists)
{
	fprintf(stderr, "usage: %s", name);
	for (; *lists; lists++)
		for (const struct setting *s = *lists; s->letter; s++)
			fprintf(stderr, s->name ? " [-%c %s]" : " [-%c]", s->letter, s->name);
	fprintf(stderr, "\n");
	exit(2);
}

static inline int read_setting(const struct setting *s, const char *text)
{
	char *end;
	size_t length;

	if (!s->name) {
		*s->value = 1;
		return 1;
	}
	if (s->words) {
		const char *w = s->words;
		for (*s->value = 0;; ++*s->value, w += length + 1) {
			length = strcspn(w, "|");
			if (strlen(text) == length && memcmp(w, text, length) == 0)
				return 1;
			if (!w[length])
				return 0;
		}
	}
	unsigned long long n = strtoull(text, &end, 0);
	*s->value = (size_t)n;
	return *text >= '0' && *text <= '9' && !*end && n >= s->least && n <= s->most;
}

/* What all take, and own. work is what all threads do together. */
static inline struct options parse_settings(int argc, char **argv, size_t work,
    const struct setting *own)
{
	size_t threads = 1, seed = SEED;
	const struct setting common[] = {
		NUMBER_SETTING('t', "threads", &threads, 1, 4096),
		NUMBER_SETTING('n', "work", &work, 1, SIZE_MAX / 1000000),
		NUMBER_SETTING('s', "seed", &seed, 0, SIZE_MAX),
		NUMBER_SETTING('i', "idle-seconds", &idle_seconds, 0, 100000),
		SWITCH_SETTING('l', &latency_wanted),
		LAST_SETTING,
	};
	const struct setting *const lists[] = { common, own, NULL };
	char letters[64], *l = letters;
	int option;

	for (const struct setting *const *list = lists; *list; list++)
		for (const struct setting *s = *list; s->letter; s++) {
			*l++ = s->letter;
			if (s->name)
				*l++ = ':';
		}
	*l = '\0';
	while ((option = getopt(argc, argv, letters)) != -1) {
		const struct setting *found = NULL;
		for (const struct setting *const *list = lists; *list; list++)
			for (const struct setting *s = *list; s->letter; s++)
				if (s->letter == option)
					found = s;
		if (!found)
			usage_error(argv[0], lists);
		if (!read_setting(found, optarg)) {
			fprintf(stderr, "-%c: not in range: '%s'\n", option, optarg);
			usage_error(argv[0], lists);
		}
	}
	if (optind != argc)
		usage_error(argv[0], lists);
	return (struct options) { .threads = threads, .work = work, .seed = seed };
}

static inline struct options parse_options(int argc, char **argv, size_t work)
{
	static const struct setting none[] = { LAST_SETTING };

	return parse_settings(argc, argv, work, none);
}

/* What one thread does of the work, and what came out. */
struct share {
	_Alignas(64) uint64_t rng;
	size_t index, threads, work;
	uint64_t (*run)(struct share *);
	uint64_t operations, checksum;
	int64_t live_bytes;
	int over;
	pthread_t thread;
};

/* All shares meet here. */
static pthread_barrier_t meeting;

static inline void meet(void)
{
	pthread_barrier_wait(&meeting);
}

/* What each thread did so far was to prepare: it does not count. */
static inline void work_begins(struct share *s)
{
	meet();
	operations = 0;
	if (s->index == 0)
		start_clock();
	meet();
}

/* What each thread does from here on does not count: dropping what it still
 * has, after an idle time if one was asked for. */
static inline void work_ends(struct share *s)
{
	s->over = 1;
	s->operations = operations;
	meet();
	if (s->index == 0) {
		stop_clock();
		rest();
	}
	meet();
}

static inline void *run_share(void *arg)
{
	struct share *s = arg;

	s->checksum = s->run(s);
	s->live_bytes = live_bytes;
	if (!s->over)
		s->operations = operations;
	/* The threads live on while the program is idle. */
	if (!s->over && idle_seconds)
		work_ends(s);
	return NULL;
}

/* Run o->work in o->threads shares and report; the first one runs here. */
static inline void run_shares(const struct options *o, uint64_t (*run)(struct share *))
{
	struct share *shares = must(aligned_alloc(64, o->threads * sizeof(*shares)));
	uint64_t calls = 0, checksum = 0;
	int64_t live = 0;

	pthread_barrier_init(&meeting, NULL, (unsigned)o->threads);
	operations = 0;
	start_clock();
	for (size_t t = o->threads; t-- > 0;) {
		struct share *s = &shares[t];
		*s = (struct share) { .rng = seeded(o->seed, t), .run = run,
		    .index = t, .threads = o->threads,
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
		live += shares[t].live_bytes;
	}
	if (!shares[0].over)
		stop_clock();
	check_that(live == 0, "objects were lost, or dropped twice", (size_t)live);
	free(shares);
	report((double)calls, stopwatch.ended - stopwatch.began, checksum);
}

#endif
