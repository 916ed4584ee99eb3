/*
 * A process changes its identity, or splits, at the worst moments for the background
 * thread, which must end and start around it: each case runs in a child of its own and
 * must end by itself.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <dirent.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#define BLOCK (3 * MIB)
#define OBJECTS 4000

static void *objects[OBJECTS];
static bool stop;
static pthread_barrier_t barrier;

/* A mapping of its own makes the thread due. */
static void allocate_large(void)
{
	char *volatile p = malloc(BLOCK);

	CHECK(p != NULL);
	*p = 1;
	free(p);
}

static void allocate(void)
{
	for (int i = 0; i < OBJECTS; i++)
		CHECK((objects[i] = malloc(64 + (size_t)i % 2000)) != NULL);
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
	allocate_large();
}

static bool has_thread(void)
{
	uint64_t epoch = 1;
	size_t n = 0, size = sizeof(n);

	CHECK(hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) == 0);
	CHECK(hak_mallctl("stats.background_thread.num_threads", &n, &size, NULL, 0) == 0);
	return n != 0;
}

/* Those there are, whatever the library counts. */
static int threads_of_hakmem(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	CHECK(tasks != NULL);
	while ((entry = readdir(tasks))) {
		char path[300], name[16] = "";
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		int fd = open(path, O_RDONLY);
		n += read(fd, name, sizeof(name) - 1) > 0 && strcmp(name, "hakmem\n") == 0;
		close(fd);
	}
	closedir(tasks);
	return n;
}

static void wait_for_thread(void)
{
	for (int i = 0; i < 500 && !has_thread(); i++) {
		allocate();
		usleep(10000);
	}
	CHECK(has_thread());
	/* Past its start. */
	usleep(50000);
}

static void *change(void *unused)
{
	pthread_barrier_wait(&barrier);
	CHECK(setuid(getuid()) == 0);
	return unused;
}

static void *allocate_on(void *unused)
{
	pthread_barrier_wait(&barrier);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		allocate_large();
	return unused;
}

/* Two end it at once, while a third is quick to start it. */
static void two_threads(void)
{
	pthread_t threads[3];

	wait_for_thread();
	pthread_barrier_init(&barrier, NULL, 3);
	pthread_create(&threads[0], NULL, allocate_on, NULL);
	pthread_create(&threads[1], NULL, change, NULL);
	pthread_create(&threads[2], NULL, change, NULL);
	pthread_join(threads[1], NULL);
	pthread_join(threads[2], NULL);
	usleep(200000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(threads[0], NULL);
	wait_for_thread();
	CHECK(threads_of_hakmem() == 1);
}

static void *change_often(void *unused)
{
	for (int i = 0; i < 200; i++)
		CHECK(setuid(getuid()) == 0);
	for (int i = 0; i < 30; i++) {
		allocate_large();
		usleep(10000);
	}
	return unused;
}

/* libc waits for the last thread it knows, and the process for ours. */
static void main_ends(void)
{
	pthread_t thread;

	wait_for_thread();
	pthread_create(&thread, NULL, change_often, NULL);
	usleep(1000);
	pthread_exit(NULL);
}

static void handle(int signal)
{
	int saved = errno;

	(void)signal;
	CHECK(seteuid(geteuid()) == 0);
	errno = saved;
}

/* A handler may change the identity wherever it interrupts the program. */
static void handler(bool with_fork)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 700 }, { 0, 700 } };

	wait_for_thread();
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
	for (time_t end = time(NULL) + 2; time(NULL) < end;) {
		int status;
		pid_t pid = with_fork ? fork() : 0;
		if (with_fork && pid == 0)
			_exit(0);
		CHECK(pid >= 0);
		if (with_fork)
			CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		allocate();
	}
	memset(&timer, 0, sizeof(timer));
	setitimer(ITIMER_REAL, &timer, NULL);
	wait_for_thread();
}

static bool changes_in_fork;

/* Registered before the library's own, and so called with its locks held. */
static void prepare(void)
{
	if (!changes_in_fork)
		return;
	/* By then the thread waits for one of them. */
	usleep(300000);
	CHECK(setuid(getuid()) == 0);
}

static void register_first(void)
{
	pthread_atfork(prepare, NULL, NULL);
}
__attribute__((section(".preinit_array"), used))
static void (*first)(void) = register_first;

/* As a handler would that interrupts the allocator: the thread cannot end at once. */
static void locks_held(void)
{
	int status;

	wait_for_thread();
	allocate();
	changes_in_fork = true;
	pid_t pid = fork();
	changes_in_fork = false;
	if (pid == 0)
		_exit(0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	usleep(200000);
	wait_for_thread();
	CHECK(threads_of_hakmem() == 1);
}

static void handler_in_malloc(void)
{
	handler(false);
}

static void handler_in_fork(void)
{
	handler(true);
}

static void freed_locale(void)
{
	locale_t own = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);

	CHECK(own != (locale_t)0);
	uselocale(own);
	wait_for_thread();
	uselocale(LC_GLOBAL_LOCALE);
	freelocale(own);
	/* It reads numbers once a second. */
	for (int i = 0; i < 200; i++) {
		/* What was freed gets other contents. */
		for (size_t size = 16; size < 4096; size += 8) {
			objects[size / 8] = malloc(size);
			memset(objects[size / 8], 'A', size);
		}
		for (size_t size = 16; size < 4096; size += 8)
			free(objects[size / 8]);
		allocate();
		usleep(10000);
	}
}

/* A child with its parent's number. */
static void same_number(void)
{
	int status;

	if (unshare(CLONE_NEWPID) != 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		wait_for_thread();
		CHECK(getpid() == 1 && unshare(CLONE_NEWPID) == 0);
		pid = fork();
		if (pid == 0) {
			CHECK(getpid() == 1);
			wait_for_thread();
			_exit(0);
		}
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* The kernel refuses it to a process of two threads. */
static void new_namespace(void)
{
	wait_for_thread();
	if (unshare(CLONE_NEWUSER) != 0)
		CHECK(errno != EINVAL);
	wait_for_thread();
}

/* A child that fork's handlers know nothing of, at any moment of the thread's. */
static void raw_child(void)
{
	ssize_t often = 0;
	int status;

	wait_for_thread();
	CHECK(hak_mallctl("arenas.dirty_decay_ms", NULL, NULL, &often, sizeof(often)) == 0);
	for (int i = 0; i < 3000; i++) {
		allocate();
		pid_t pid = (pid_t)(i % 2 ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) :
		    syscall(SYS_fork));
		CHECK(pid >= 0);
		if (pid == 0) {
			for (int k = 0; k < 200; k++)
				CHECK((objects[k] = malloc(64 + (size_t)k * 20)) != NULL);
			for (int k = 0; k < 200; k++)
				free(objects[k]);
			allocate_large();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	wait_for_thread();
}

/* By number, what is met by name, and what is not: six arguments, results, errors. */
static void by_number(void)
{
	int file = memfd_create("six", 0);
	char page[4096];

	memset(page, '6', sizeof(page));
	CHECK(pwrite(file, page, sizeof(page), sizeof(page)) == sizeof(page));
	char *p = (char *)syscall(SYS_mmap, NULL, sizeof(page), PROT_READ, MAP_SHARED, file,
	    sizeof(page));
	CHECK(p != MAP_FAILED && memcmp(p, page, sizeof(page)) == 0);
	errno = 0;
	CHECK(syscall(SYS_close, -1) == -1 && errno == EBADF);
	CHECK(syscall(SYS_getpid) == getpid());
	errno = 0;
	CHECK(syscall(100000) == -1 && errno == ENOSYS);
	errno = 0;
	CHECK(syscall(SYS_setns, -1, 0) == -1 && errno == EBADF);
	wait_for_thread();
	CHECK(threads_of_hakmem() == 1);
	CHECK(syscall(SYS_setgid, getgid()) == 0);
#if defined(__x86_64__)
	CHECK(threads_of_hakmem() == 0);
	wait_for_thread();
	if (syscall(SYS_unshare, CLONE_NEWUSER) != 0)
		CHECK(errno != EINVAL);
#endif
	wait_for_thread();
}

static const struct child_case cases[] = {
	{ "two threads", two_threads },
	{ "main ends", main_ends },
	{ "handler in malloc", handler_in_malloc },
	{ "handler in fork", handler_in_fork },
	{ "locks held", locks_held },
	{ "freed locale", freed_locale },
	{ "same number", same_number },
	{ "new namespace", new_namespace },
	{ "raw child", raw_child },
	{ "by number", by_number },
};

int main(void)
{
	skip_without_background_thread();
	run_in_children("identity", cases, sizeof(cases) / sizeof(*cases));
	return 0;
}
