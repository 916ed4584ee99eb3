/*
 * A process to look at, run on hakmem by preloading. Prints "ready" (and more, see
 * each kind) once its heap is what it says, and stays until it is killed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define OBJECTS 1000
#define BYTES 16000

static void *objects[OBJECTS];

static void ready(const char *format, long number)
{
	printf(format, number);
	fflush(stdout);
}

/* 16 MB: enough for the background thread to start. */
static void grow(void)
{
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(BYTES);
		memset(objects[i], 1, BYTES);
	}
}

static void stay(void)
{
	for (;;)
		pause();
}

/* allocates and frees without end */
static void *spin(void *unused)
{
	unsigned x = (unsigned)(size_t)&unused;
	void *own[256] = { NULL };

	for (;;) {
		x = x * 1103515245 + 12345;
		free(own[x >> 24]);
		own[x >> 24] = malloc(8 + (x >> 10) % 2000);
	}
	return NULL;
}

static void run_spin(long threads)
{
	pthread_t thread;

	grow();
	for (long i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, spin, NULL) != 0)
			exit(1);
	ready("ready\n", 0);
	stay();
}

/* All is freed but one object in a hundred: what purge can give back. */
static void run_free(void)
{
	grow();
	for (int i = 0; i < OBJECTS; i++)
		if (i % 100)
			free(objects[i]);
	ready("ready\n", 0);
	stay();
}

/* 6 MiB of a whale are held, 3 MiB were freed. */
static void run_whale(void)
{
	grow();
	objects[0] = malloc(6 << 20);
	objects[1] = malloc(3 << 20);
	memset(objects[0], 1, 6 << 20);
	memset(objects[1], 1, 3 << 20);
	free(objects[1]);
	ready("ready\n", 0);
	stay();
}

/* The mapping of 2 MiB that a block left serves one of an eighth less. */
static void run_slack(void)
{
	char *volatile larger = malloc(2 << 20); /* the compiler leaves it in */

	grow();
	free(larger);
	objects[0] = malloc(15 << 17);
	ready("ready\n", 0);
	stay();
}

/* Blocks over 1 MiB of any sizes come and go, 100 are there at last: some of them begin
 * mappings that larger ones left. */
static void run_whales(void)
{
	static char *whales[100];
	unsigned x = 1;

	grow();
	for (int i = 0; i < 2000; i++) {
		x = x * 1103515245 + 12345;
		free(whales[i % 100]);
		whales[i % 100] = malloc((1 << 20) + (x >> 10) % (4 << 20));
		whales[i % 100][0] = 1;
	}
	ready("ready\n", 0);
	stay();
}

static void run_closefrom(void)
{
	struct timespec while_it_starts = { 0, 300000000 };

	grow();
	nanosleep(&while_it_starts, NULL);
	closefrom(3);
	ready("ready\n", 0);
	stay();
}

/* The child has a heap and a segment of its own. */
static void run_fork(void)
{
	grow();
	pid_t child = fork();
	if (child == 0) {
		grow();
		grow();
		stay();
	}
	ready("ready %ld\n", child);
	stay();
}

/* The child never allocates: it has no segment. */
static void run_quiet_fork(void)
{
	grow();
	pid_t child = fork();
	if (child == 0)
		stay();
	ready("ready %ld\n", child);
	stay();
}

static void *go_on(void *first)
{
	pthread_join(*(pthread_t *)first, NULL);
	ready("ready\n", 0);
	stay();
	return NULL;
}

/* A thread goes on without the first. */
static void run_first_ends(void)
{
	static pthread_t first;
	pthread_t other;

	grow();
	first = pthread_self();
	if (pthread_create(&other, NULL, go_on, &first) != 0)
		exit(1);
	pthread_exit(NULL);
}

static pthread_barrier_t quiet;

static void *keep_quiet(void *unused)
{
	void *own[OBJECTS];

	(void)unused;
	for (size_t i = 0; i < OBJECTS; i++)
		own[i] = malloc(1 + i * 37 % 3000);
	for (size_t i = 0; i < OBJECTS; i += 2)
		free(own[i]);
	pthread_barrier_wait(&quiet);
	stay();
	return NULL;
}

/* Threads that sleep, and numbers that it has of itself. */
static void run_quiet(long threads)
{
	static const char *const names[] = { "allocated", "active", "metadata", "resident",
		"mapped" };
	int (*control)(const char *, void *, size_t *, void *, size_t) =
	    (int (*)(const char *, void *, size_t *, void *, size_t))
	    dlsym(RTLD_DEFAULT, "hak_mallctl");
	uint64_t epoch = 1;
	pthread_t thread;
	char line[64];

	pthread_barrier_init(&quiet, NULL, (unsigned)threads + 1);
	for (long i = 0; i < threads; i++)
		if (!control || pthread_create(&thread, NULL, keep_quiet, NULL) != 0)
			exit(1);
	pthread_barrier_wait(&quiet);
	free(malloc(3 << 20));
	printf("numbers\n"); /* the last allocation: its buffer */
	control("epoch", NULL, NULL, &epoch, sizeof(epoch));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t value, size = sizeof(value);
		snprintf(line, sizeof(line), "stats.%s", names[i]);
		if (control(line, &value, &size, NULL, 0) != 0)
			exit(1);
		printf("%s %zu\n", names[i], value);
	}
	ready("ready\n", 0);
	stay();
}

/* Steps of what keeps the processor's registers full, of both kinds. */
static uint64_t step(unsigned seed)
{
	uint64_t a = seed, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6;
	double p = 1, q = 2, r = 3, s = 4, t = 5, u = 6, v = 7, w = 8;

	for (int i = 0; i < 2000; i++) {
		a = (a << 7 | a >> 57) + b, b ^= c * 3, c += d >> 3, d ^= e + 1;
		e = (e << 9 | e >> 55) ^ f, f += g * 5, g ^= a + (uint64_t)i;
		p = p * 0.5 + q, q = q * 0.25 + r, r = r * 0.5 + s, s = s * 0.25 + t;
		t = t * 0.5 + u, u = u * 0.25 + v, v = v * 0.5 + w, w = w * 0.25 + (double)(i & 7);
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ (uint64_t)((p + q + r + s + t + u + v + w) * 1e6);
}

static volatile uint64_t ticks;

static void tick(int unused)
{
	(void)unused;
	ticks += step(3) & 1;
}

/* Computes, allocates and meets signals for ever, and says "wrong" once something
 * is not as it was. Each time that it sets its identity, the background thread ends. */
static void run_work(void)
{
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } };
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
	uint64_t right[16];
	char *texts[16] = { NULL };

	for (unsigned i = 0; i < 16; i++)
		right[i] = step(i);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	ready("ready\n", 0);
	for (unsigned n = 0;; n++) {
		unsigned i = n % 16;
		if (step(i) != right[i] || (texts[i] && strspn(texts[i], "x") != i * 50)) {
			ready("wrong\n", 0);
			stay();
		}
		free(texts[i]);
		texts[i] = malloc(i * 50 + 1);
		memset(texts[i], 'x', i * 50);
		texts[i][i * 50] = '\0';
		if (n % 32768 == 0 && setgid(getgid()) != 0)
			exit(1);
	}
}

static void woken(int unused)
{
	(void)unused;
}

/* Waits for a signal again and again, and says "wrong" where one came and it waits on. */
static void run_await(void)
{
	static volatile unsigned *rounds; /* begun, ended */
	struct sigaction action = { .sa_handler = woken };
	sigset_t usual, none;

	rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGUSR1);
	sigaction(SIGUSR1, &action, NULL);
	sigprocmask(SIG_BLOCK, &usual, NULL);
	pid_t parent = getpid();
	if (fork() == 0) {
		for (unsigned n = 0;;) {
			while (rounds[0] == n)
				if (getppid() != parent)
					_exit(0);
			n = rounds[0];
			usleep(n % 100);
			kill(parent, SIGUSR1);
			for (int i = 0; rounds[1] < n && i < 5000; i++)
				usleep(200);
			if (rounds[1] < n) {
				ready("wrong\n", 0);
				kill(parent, SIGUSR1);
			}
		}
	}
	ready("ready\n", 0);
	for (unsigned n = 1;; n++) {
		if (n % 300 == 0 && setgid(getgid()) != 0)
			exit(1);
		rounds[0] = n;
		sigsuspend(&none);
		rounds[1] = n;
	}
}

/* Computes with the flag set that makes accesses fail which are not aligned. */
static void run_flags(void)
{
	ready("ready\n", 0);
#ifdef __x86_64__
	__asm__ volatile("pushfq\n\torl $0x40000, (%%rsp)\n\tpopfq" ::: "memory", "cc");
	for (;;)
		__asm__ volatile("");
#endif
}

/* Ends at once when a line comes. */
static void run_exit(void)
{
	grow();
	ready("ready\n", 0);
	getchar();
	_exit(0);
}

/* From now on what this library allocates is asked for when a line comes. */
static void run_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	void *(*allocate)(size_t) = library ?
	    (void *(*)(size_t))dlsym(library, "allocate") : NULL;

	if (!allocate)
		exit(1);
	grow();
	ready("ready\n", 0);
	getchar();
	for (int i = 0; i < 100; i++)
		memset(allocate(50000), 1, 50000);
	ready("done\n", 0);
	stay();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "sleep";

	if (strcmp(kind, "sleep") == 0) {
		grow();
		ready("ready\n", 0);
		stay();
	}
	if (strcmp(kind, "spin") == 0)
		run_spin(argc > 2 ? atol(argv[2]) : 16);
	if (strcmp(kind, "free") == 0)
		run_free();
	if (strcmp(kind, "whale") == 0)
		run_whale();
	if (strcmp(kind, "slack") == 0)
		run_slack();
	if (strcmp(kind, "whales") == 0)
		run_whales();
	if (strcmp(kind, "closefrom") == 0)
		run_closefrom();
	if (strcmp(kind, "fork") == 0)
		run_fork();
	if (strcmp(kind, "quiet-fork") == 0)
		run_quiet_fork();
	if (strcmp(kind, "first-ends") == 0)
		run_first_ends();
	if (strcmp(kind, "quiet") == 0)
		run_quiet(argc > 2 ? atol(argv[2]) : 4);
	if (strcmp(kind, "work") == 0)
		run_work();
	if (strcmp(kind, "await") == 0)
		run_await();
	if (strcmp(kind, "flags") == 0)
		run_flags();
	if (strcmp(kind, "exit") == 0)
		run_exit();
	if (strcmp(kind, "library") == 0 && argc > 2)
		run_library(argv[2]);
	return 1;
}
