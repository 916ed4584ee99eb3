/*
 * fork in a program whose other threads allocate all the while: the child, and
 * a child of it, must be able to allocate and free at once, what the parent
 * left it included. A hang ends by alarm.
 *
 * usage: fork_storm [-n forks] [-t threads]
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define KEPT 256
#define CHILD_SECONDS 20

static const size_t sizes[] = {
	1, 8, 16, 24, 64, 100, 256, 592, 1024, 1025, 2000, 4096, 10000, 32768,
	32769, 65536, 200000, 1 << 20, (1 << 20) + 1, 3 << 20
};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

static int stop;
static void *inherited[SIZES];

static void *
filled(size_t size)
{
	unsigned char *p = opaque(hak_malloc(size));

	CHECK(p != NULL);
	p[0] = (unsigned char)size;
	p[size - 1] = (unsigned char)size;
	return p;
}

static void
check_free(void *ptr, size_t size)
{
	unsigned char *p = ptr;

	CHECK(p[0] == (unsigned char)size && p[size - 1] == (unsigned char)size);
	hak_free(p);
}

static void *
allocate(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	struct {
		void *p;
		size_t size;
	} kept[KEPT] = { { 0 } };
	int i;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		i = (int)rng_below(&rng, KEPT);
		if (kept[i].p != NULL)
			check_free(kept[i].p, kept[i].size);
		/* Mostly small: the locks shall be busy, not the kernel. */
		kept[i].size = rng_below(&rng, 50) == 0 ?
		    sizes[rng_below(&rng, SIZES)] : 1 + rng_below(&rng, 4000);
		kept[i].p = filled(kept[i].size);
		if (rng_below(&rng, 5000) == 0)
			hak_malloc_trim(0);
	}
	for (i = 0; i < KEPT; i++)
		if (kept[i].p != NULL)
			check_free(kept[i].p, kept[i].size);
	return NULL;
}

/* Its cache lives on in a child, in whatever state the fork found it. */
static void *
free_to_explicit(void *arg)
{
	unsigned cache;
	size_t length = sizeof(cache);
	void *p[256];

	CHECK(hak_mallctl("tcache.create", &cache, &length, NULL, 0) == 0);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < 256; i++)
			p[i] = hak_mallocx(96, HAK_TCACHE_NONE);
		for (int i = 0; i < 256; i++)
			hak_dallocx(p[i], HAK_TCACHE(cache));
	}
	CHECK(hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)) == 0);
	return arg;
}

static void *
allocate_a_little(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < SIZES; i++)
		check_free(filled(sizes[i]), sizes[i]);
	return NULL;
}

static void
use_all_sizes(void)
{
	void *p[SIZES][3];
	size_t i, j;

	for (j = 0; j < 3; j++)
		for (i = 0; i < SIZES; i++)
			p[i][j] = filled(sizes[i]);
	for (i = 0; i < SIZES; i++)
		for (j = 0; j < 3; j++)
			check_free(p[i][j], sizes[i]);
}

static void __attribute__((noreturn))
child(unsigned round)
{
	size_t i;

	alarm(CHILD_SECONDS);
	hak_malloc_trim(0);
	use_all_sizes();
	for (i = 0; i < SIZES; i++)
		check_free(inherited[i], sizes[i]);
	/* A sanitizer's own locks do not survive fork: no thread there. */
	if (round % 8 == 0 && !HAVE_SANITIZER) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, allocate_a_little,
		    NULL) == 0);
		pthread_join(thread, NULL);
	}
	if (round % 8 == 2) {
		int status;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(CHILD_SECONDS);
			use_all_sizes();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	_exit(0);
}

static void
expect_success(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		fail("fork_storm: a child ended by signal %d%s",
		    WTERMSIG(status),
		    WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
	if (WEXITSTATUS(status) != 0)
		fail("fork_storm: a child failed");
}

static void __attribute__((noinline))
vfork_true(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execlp("true", "true", (char *)NULL);
		_exit(1);
	}
	expect_success(pid);
}

static void *
fork_often(void *arg)
{
	unsigned forks = *(unsigned *)arg;
	unsigned i;

	for (i = 0; i < forks; i++) {
		pid_t pid = fork();

		if (pid == 0)
			child(i);
		CHECK(pid > 0);
		use_all_sizes();
		expect_success(pid);
		if (i % 16 == 0) {
			char *argv[] = { (char *)"true", NULL };
			extern char **environ;

			CHECK(posix_spawnp(&pid, "true", NULL, NULL, argv,
			    environ) == 0);
			expect_success(pid);
		}
		if (i % 16 == 8)
			vfork_true();
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	unsigned forks = HAVE_SANITIZER ? 30 : 150;
	int threads = 3;
	pthread_t thread[64], forker, explicit[4];
	size_t i;
	int c, t;

	while ((c = getopt(argc, argv, "n:t:")) != -1) {
		if (c == 'n')
			forks = (unsigned)atoi(optarg);
		else if (c == 't' && atoi(optarg) <= 64)
			threads = atoi(optarg);
		else
			return 2;
	}
	if (HAVE_SANITIZER && getenv("HAKMEM_CONF") == NULL) {
		setenv("HAKMEM_CONF", "background_thread:false", 1);
		execv("/proc/self/exe", argv);
	}
	alarm(300);
	for (i = 0; i < SIZES; i++)
		inherited[i] = filled(sizes[i]);
	for (t = 0; t < threads; t++)
		CHECK(pthread_create(&thread[t], NULL, allocate,
		    (void *)(uintptr_t)(t + 1)) == 0);
	for (t = 0; t < 4; t++)
		CHECK(pthread_create(&explicit[t], NULL, free_to_explicit, NULL) == 0);
	/* From a thread, too, at the same time. */
	CHECK(pthread_create(&forker, NULL, fork_often, &forks) == 0);
	fork_often(&forks);
	pthread_join(forker, NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (t = 0; t < threads; t++)
		pthread_join(thread[t], NULL);
	for (t = 0; t < 4; t++)
		pthread_join(explicit[t], NULL);
	for (i = 0; i < SIZES; i++)
		check_free(inherited[i], sizes[i]);
	printf("fork_storm: ok (%u forks)\n", 2 * forks);
	return 0;
}
