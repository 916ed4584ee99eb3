/*
 * A thread that only frees lays its frees aside, without a lock, while others take
 * them (hak_malloc_trim does what the background thread does, all the time) and give
 * them out again. Nothing may be lost, and nothing taken for a double free.
 * Under ThreadSanitizer it fails where the order of aside_to is weakened.
 *
 * And what is freed twice in a row, or with one other free in between, is seen at once,
 * however much lies aside already: tried with each number of frees, each in a process
 * of its own.
 */
#include "../harness.h"

#include <pthread.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PLACES 64
#define FREES_MIN 10000
#define SECONDS 3
/* Enough frees to begin to lay aside, and more than fit there. */
#define BEFORE 4000
#define FILLS 1100

static void *_Atomic places[PLACES];
static atomic_bool stop;
static _Atomic unsigned long freed;

static void *
allocate(void *unused)
{
	bool off = false;

	/* Past its cache: what was just taken is the next that is given out. */
	CHECK(hak_mallctl("thread.tcache.enabled", NULL, NULL, &off, sizeof(off)) == 0);
	for (size_t i = 0; !stop; i++) {
		void *p = hak_malloc(16 + i % 3 * 16), *none = NULL;
		memset(p, (int)i, 16);
		while (!atomic_compare_exchange_strong(&places[i % PLACES], &none, p) && !stop) {
			none = NULL;
			sched_yield();
		}
		if (none != NULL)
			hak_free(p);
	}
	return unused;
}

static void *
only_free(void *unused)
{
	for (size_t i = 0; !stop; i++) {
		void *p = atomic_exchange(&places[i % PLACES], NULL);
		if (p == NULL) {
			sched_yield();
			continue;
		}
		hak_free(p);
		freed++;
	}
	return unused;
}

static void *
trim(void *unused)
{
	while (!stop) {
		hak_malloc_trim(0);
		sched_yield();
	}
	return unused;
}

static void
see_each_double_free(void)
{
	static void *objects[BEFORE + FILLS];

	for (size_t i = 0; i < BEFORE + FILLS; i++)
		objects[i] = hak_malloc(64);
	for (size_t i = 0; i < BEFORE + FILLS; i++) {
		hak_free(objects[i]);
		if (i < BEFORE)
			continue;
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			/* Its message is expected. */
			dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
			hak_free(opaque(objects[i - i % 2]));
			_exit(0);
		}
		int status;
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

int
main(void)
{
	see_each_double_free();
	void *(*const roles[])(void *) = { allocate, only_free, trim };
	struct timespec while_running = { .tv_sec = SECONDS };
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, roles[i], NULL) == 0);
	nanosleep(&while_running, NULL);
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < PLACES; i++)
		hak_free(places[i]);
	printf("laid_aside: %lu freed\n", (unsigned long)freed);
	CHECK(freed >= FREES_MIN);
	return 0;
}
