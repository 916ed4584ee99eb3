/*
 * Arenas in use follow contention: one where threads do not contend; more, up
 * to all of narenas, where every call takes an arena's lock or threads wait long,
 * as with batches that no cache holds. Threads change their arena then, and nothing
 * may be lost: each object's content holds, and at the end no more is allocated than
 * at the beginning.
 *
 * usage: contention [calm | batches | NARENAS]	one of the cases
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <sys/wait.h>

#define LIVE 400
#define MAX_SECONDS 60
#define BATCH 20000
#define BATCHES_SECONDS 20
/* In src/tcache/tcache.c, and what a wait counts for at most: in src/base/lock.c. */
#define WAITED_SHARE 8
#define LONG_WAIT_MS 0.05

static int stop;
static int threads;
static size_t max_size;

static size_t
size_of(uint64_t value)
{
	return 16 + value % max_size;
}

static void *
churn(void *arg)
{
	uint64_t rng = (uintptr_t)arg, word;
	unsigned char *p[LIVE] = { NULL };
	int i;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		i = (int)rng_below(&rng, LIVE);
		if (p[i] != NULL) {
			uint64_t end;
			size_t size;

			memcpy(&word, p[i], sizeof(word));
			size = size_of(word);
			memcpy(&end, p[i] + size - sizeof(end), sizeof(end));
			CHECK(end == word || size < 2 * sizeof(word));
			hak_free(p[i]);
		}
		word = rng_next(&rng);
		p[i] = opaque(hak_malloc(size_of(word)));
		CHECK(p[i] != NULL);
		memcpy(p[i] + size_of(word) - sizeof(word), &word, sizeof(word));
		memcpy(p[i], &word, sizeof(word));
	}
	for (i = 0; i < LIVE; i++)
		hak_free(p[i]);
	return NULL;
}

/* All are made, then all are freed, in another order: through the depots to slabs and
 * back. */
static void *
make_batches(void *arg)
{
	unsigned char **p = hak_malloc(BATCH * sizeof(*p)), mark = (unsigned char)(uintptr_t)arg;
	size_t i;

	CHECK(p != NULL);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < BATCH; i++) {
			p[i] = opaque(hak_malloc(64));
			CHECK(p[i] != NULL);
			*p[i] = mark;
		}
		for (i = 0; i < BATCH; i++) {
			unsigned char *object = p[i * 7919 % BATCH];
			CHECK(*object == mark);
			hak_free(object);
		}
	}
	hak_free(p);
	return NULL;
}

/* Until so many arenas are in use, or for some seconds. */
static long long
run(void *(*work)(void *), long long wanted, double seconds)
{
	pthread_t thread[64];
	double start = now();
	long long in_use;
	int t;

	for (t = 0; t < threads; t++)
		CHECK(pthread_create(&thread[t], NULL, work,
		    (void *)(uintptr_t)(t + 1)) == 0);
	do {
		sleep_ms(50);
		in_use = stat_get("stats.arenas_in_use");
	} while (in_use < wanted && now() - start < seconds);
	/* Go on a while with what there is now. */
	sleep_ms(300);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (t = 0; t < threads; t++)
		pthread_join(thread[t], NULL);
	return stat_get("stats.arenas_in_use");
}

static int
one_case(const char *name)
{
	long long allocated, left, in_use;

	hak_free(opaque(hak_malloc(1)));
	allocated = stat_get("stats.allocated");
	if (strcmp(name, "calm") == 0) {
		threads = 2;
		max_size = 500;
		in_use = run(churn, 2, 3);
		printf("contention: calm: %lld arenas in use\n", in_use);
		CHECK(in_use == 1);
	} else if (strcmp(name, "batches") == 0) {
		double start = now();
		double waited_ms, counted_ms;

		threads = 2;
		in_use = run(make_batches, 2, BATCHES_SECONDS);
		waited_ms = (double)stat_get("stats.locks.waited") / 1e6;
		counted_ms = (double)stat_get("stats.locks.contended") * LONG_WAIT_MS;
		if (counted_ms > waited_ms)
			counted_ms = waited_ms;
		printf("contention: batches: %lld arenas in use, waited %.0f ms, "
		    "of which at most %.0f count\n", in_use, waited_ms, counted_ms);
		/* Where both hardly ran at once, or a sanitizer takes the time, they
		 * did not wait for so much of it. */
		CHECK(in_use >= 2 || counted_ms < (now() - start) * 1000 * threads / WAITED_SHARE);
	} else {
		CHECK(stat_get("arenas.narenas") == atoll(name));
		threads = 16;
		max_size = 2000;
		in_use = run(churn, atoll(name), MAX_SECONDS);
		printf("contention: narenas %s: %lld arenas in use, "
		    "%lld of %lld locks contended\n", name, in_use,
		    stat_get("stats.locks.contended"),
		    stat_get("stats.locks.acquired"));
		CHECK(in_use == atoll(name));
	}
	hak_malloc_trim(0);
	left = stat_get("stats.allocated") - allocated;
	if (left > 100000)
		fail("contention: %s: %lld bytes lost", name, left);
	return 0;
}

static void
start(char *self, const char *name, const char *conf)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		setenv("HAKMEM_CONF", conf, 1);
		execl("/proc/self/exe", self, name, (char *)NULL);
		_exit(2);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status != 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	static const char *const forced[][2] = {
		{ "2", "narenas:2,tls_tiny:false,tls_l2:false" },
		{ "3", "narenas:3,tls_tiny:false,tls_l2:false" },
		{ "4", "narenas:4,tls_tiny:false,tls_l2:false" },
	};
	size_t i;

	alarm(400);
	if (argc > 1 && argv[1] != NULL)
		return one_case(argv[1]);
	if (stat_get("stats.arenas_in_use") < 0) {
		puts("skip: contention: no statistics in this build");
		return SKIP;
	}
	start(argv[0], "calm", "narenas:4");
	/* One processor has no two threads that run. */
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		start(argv[0], "batches", "narenas:4");
	for (i = 0; i < sizeof(forced) / sizeof(*forced); i++)
		start(argv[0], forced[i][0], forced[i][1]);
	puts("contention: ok");
	return 0;
}
