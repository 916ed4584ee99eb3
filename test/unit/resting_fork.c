/*
 * fork while another thread uses an explicit cache, and a signal holds that thread
 * anywhere for a moment: the child's background thread must leave alone what is half
 * done in there, and the child may use the cache.
 */
#include "../harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "arena/background.h"
#include "page/os.h"
#include "tcache/tcache.h"

#define FORKS 2500
#define OBJECTS 4000
#define SIZE 16

static unsigned cache;

static void
pause_here(int signal)
{
	(void)signal;
	nanosleep(&(struct timespec) { .tv_nsec = 1500000 }, NULL);
}

static void *
use(void *unused)
{
	static void *objects[OBJECTS];
	int i;

	for (;;) {
		for (i = 0; i < OBJECTS; i++)
			objects[i] = hak_mallocx(SIZE, HAK_TCACHE(cache));
		for (i = 0; i < OBJECTS; i++)
			hak_dallocx(objects[i], HAK_TCACHE(cache));
	}
	return unused;
}

static void
child(void)
{
	void *p;

	alarm(10);
	tcaches_take_resting(true, true);
	background_pass(true);
	background_pass(true);
	p = hak_mallocx(SIZE, HAK_TCACHE(cache));
	CHECK(p != NULL);
	hak_dallocx(p, HAK_TCACHE(cache));
	CHECK(hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)) == 0);
	background_pass(true);
	_exit(0);
}

int
main(void)
{
	struct sigaction action = { .sa_handler = pause_here, .sa_flags = SA_RESTART };
	size_t size = sizeof(cache);
	pthread_t user;
	int i, status;

	if (!os_fence_threads()) {
		printf("resting_fork: no fence of other threads here\n");
		return SKIP;
	}
	CHECK(hak_mallctl("tcache.create", &cache, &size, NULL, 0) == 0);
	sigaction(SIGUSR1, &action, NULL);
	CHECK(pthread_create(&user, NULL, use, NULL) == 0);
	for (i = 0; i < FORKS; i++) {
		usleep(1700 + (unsigned)rand() % 300);
		pthread_kill(user, SIGUSR1);
		usleep(300);
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			child();
		CHECK(waitpid(pid, &status, 0) == pid);
		if (status != 0)
			fail("child %d: status %#x", i, (unsigned)status);
	}
	printf("resting_fork: %d forks\n", FORKS);
	return 0;
}
