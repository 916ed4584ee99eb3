/*
 * Signals interrupt the allocator all the time; the handlers do not allocate,
 * but use stack and errno. Nothing may be corrupt, and no call may fail.
 *
 * usage: signals [-w seconds] [-t threads]
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#define LIVE 500

static int handled;
static int stop;

static void
handler(int signo)
{
	volatile char stack[2000];
	int saved = errno;
	size_t i;

	for (i = 0; i < sizeof(stack); i++)
		stack[i] = (char)signo;
	errno = EINTR;
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
	errno = saved;
}

static void *
work(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	struct {
		unsigned char *p;
		size_t size;
	} o[LIVE];
	size_t i, j, size;
	unsigned char *p;

	memset(o, 0, sizeof(o));
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		i = rng_below(&rng, LIVE);
		size = rng_below(&rng, 200) == 0 ? rng_below(&rng, 2 * MIB) :
		    rng_below(&rng, 3000);
		if (o[i].p != NULL)
			for (j = 0; j < o[i].size; j += 1 + o[i].size / 8)
				CHECK(o[i].p[j] == (unsigned char)i);
		if (o[i].p != NULL && rng_below(&rng, 3) != 0) {
			hak_free(o[i].p);
			o[i].p = NULL;
			continue;
		}
		p = opaque(hak_realloc(o[i].p, size + 1));
		CHECK(p != NULL);
		memset(p, (int)i, size + 1);
		o[i].p = p;
		o[i].size = size + 1;
	}
	for (i = 0; i < LIVE; i++)
		hak_free(o[i].p);
	return NULL;
}

int
main(int argc, char **argv)
{
	struct itimerval timer = { { 0, 200 }, { 0, 200 } };
	struct sigaction action;
	double start, seconds = 3;
	pthread_t thread[64];
	int c, t, threads = 2;

	while ((c = getopt(argc, argv, "w:t:")) != -1) {
		if (c == 'w')
			seconds = atof(optarg);
		else if (c == 't' && atoi(optarg) <= 64)
			threads = atoi(optarg);
		else
			return 2;
	}
	alarm(200);
	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = SA_RESTART;
	sigaction(SIGPROF, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	for (t = 0; t < threads; t++)
		CHECK(pthread_create(&thread[t], NULL, work,
		    (void *)(uintptr_t)(t + 1)) == 0);
	/* By processor time, and from here to a certain thread. */
	CHECK(setitimer(ITIMER_PROF, &timer, NULL) == 0);
	start = now();
	while (now() - start < seconds) {
		struct timespec ts = { 0, 50000 };

		nanosleep(&ts, NULL);
		for (t = 0; t < threads; t++)
			pthread_kill(thread[t], SIGUSR1);
	}
	memset(&timer, 0, sizeof(timer));
	setitimer(ITIMER_PROF, &timer, NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (t = 0; t < threads; t++)
		pthread_join(thread[t], NULL);
	CHECK(handled > 100);
	printf("signals: ok (%d handled)\n", handled);
	return 0;
}
