/*
 * What the test programs share: checks that end the program with the place
 * and reason, random numbers, resident memory, the allocator's own counters.
 * A test exits with 0 (passed), 77 (skipped) or anything else (failed).
 */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <hakmem/hakmem.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIP 77

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Sanitizers and valgrind keep memory of their own: what is resident then
 * says nothing about the allocator. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif
#ifndef HAVE_SANITIZER
#define HAVE_SANITIZER 0
#endif

/* What was printed shall not be lost when a check ends the program. */
__attribute__((constructor)) static void
line_buffered(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Without stdio's locks, and usable in a forked child. */
static inline void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			fail("%s:%d: %s: failed", __FILE__, __LINE__, #cond);  \
	} while (0)

static inline void
skip_without_background_thread(void)
{
	bool on = false;
	size_t size = sizeof(on);

	CHECK(hak_mallctl("background_thread", &on, &size, NULL, 0) == 0);
	if (!on) {
		printf("skip: no background thread\n");
		exit(SKIP);
	}
}

/* A case that runs in a child of its own, which must end by itself, with 0, in
 * CASE_SECONDS. */
struct child_case {
	const char *name;
	void (*run)(void);
};
#define CASE_SECONDS 20

static inline void
run_in_children(const char *test, const struct child_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int status = 0, waited = 0;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			cases[i].run();
			exit(0);
		}
		while (waitpid(pid, &status, WNOHANG) == 0) {
			if (waited++ == CASE_SECONDS * 100) {
				kill(pid, SIGKILL);
				fail("%s: does not end", cases[i].name);
			}
			nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
		}
		if (status != 0)
			fail("%s: status %#x", cases[i].name, (unsigned)status);
		printf("%s: %s: passed\n", test, cases[i].name);
	}
}

/* Hide a value from the compiler, which knows too much about malloc. */
static inline void *
opaque(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static inline size_t
opaque_size(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* splitmix64 */
static inline uint64_t
rng_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 <= result < n */
static inline size_t
rng_below(uint64_t *state, size_t n)
{
	return (size_t)(rng_next(state) % n);
}

static inline double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static inline void
sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

/* A field of a /proc file, in KiB; allocates nothing. */
static inline long
proc_kib(const char *file, const char *key)
{
	static _Thread_local char text[8192];
	char *line;
	int fd;
	size_t have = 0;
	ssize_t n;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (have < sizeof(text) - 1 &&
	    (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	text[have] = '\0';
	line = strstr(text, key);
	return line == NULL ? -1 : atol(line + strlen(key));
}

static inline double
resident_mib(void)
{
	long kib = proc_kib("/proc/self/smaps_rollup", "Rss:");

	if (kib < 0)
		kib = proc_kib("/proc/self/status", "VmRSS:");
	return (double)kib / 1024;
}

/* A control's number as of now; -1: there is none of that name. */
static inline long long
stat_get(const char *name)
{
	uint64_t epoch = 1, wide;
	size_t size = sizeof(wide);
	unsigned narrow;
	bool flag;

	hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	if (hak_mallctl(name, &wide, &size, NULL, 0) == 0)
		return (long long)wide;
	size = sizeof(narrow);
	if (hak_mallctl(name, &narrow, &size, NULL, 0) == 0)
		return narrow;
	size = sizeof(flag);
	return hak_mallctl(name, &flag, &size, NULL, 0) == 0 ? flag : -1;
}

#endif
