/*
 * A program of one thread stays one to libc while hakmem's background thread runs,
 * and that thread has the process's identity at all times.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <dirent.h>
#include <grp.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>

#define OTHER 65534

struct thread {
	long tid;
	int uid, gid;
};

/* The background thread, or one with tid 0: there is none. A thread that ends is
 * listed a moment longer. */
static struct thread find(long other_than)
{
	struct thread found = { 0 };
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;

	CHECK(tasks != NULL);
	while ((entry = readdir(tasks))) {
		char path[300], text[2048];
		long tid = atol(entry->d_name);
		if (tid == 0 || tid == getpid() || tid == other_than)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%ld/status", tid);
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n <= 0)
			continue;
		text[n] = '\0';
		CHECK(strncmp(text, "Name:\thakmem\n", 13) == 0 ||
		    strncmp(text, "Name:\tone_thread\n", 17) == 0);
		CHECK(sscanf(strstr(text, "\nUid:"), " Uid: %d", &found.uid) == 1);
		CHECK(sscanf(strstr(text, "\nGid:"), " Gid: %d", &found.gid) == 1);
		found.tid = tid;
	}
	closedir(tasks);
	return found;
}

/* Go on allocating, on slow paths too, until there is one. */
static struct thread wait_for_thread(long other_than)
{
	static void *volatile objects[4096];
	struct thread t = { 0 };

	for (int i = 0; i < 500 && !t.tid; i++) {
		for (int k = 0; k < 4096; k++)
			objects[k] = malloc(1000);
		for (int k = 0; k < 4096; k++)
			free(objects[k]);
		usleep(10000);
		t = find(other_than);
	}
	CHECK(t.tid != 0);
	return t;
}

static void in_child(void (*work)(long), long tid)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		work(tid);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* One of its own, libc is told nothing, and the process may become another's. */
static void as_other(long parents)
{
	struct thread t = wait_for_thread(0);

	CHECK(t.tid != parents && __libc_single_threaded);
	CHECK(setgroups(0, NULL) == 0 && setgid(OTHER) == 0);
	t = wait_for_thread(t.tid);
	CHECK(t.uid == 0 && t.gid == OTHER && __libc_single_threaded);
	CHECK(setuid(OTHER) == 0);
	CHECK(setuid(0) == -1 && errno == EPERM);
	t = wait_for_thread(t.tid);
	CHECK(t.uid == OTHER && t.gid == OTHER && __libc_single_threaded);
}

static void callback(size_t resident)
{
	(void)resident;
}

/* Code of the program's runs on a thread that libc knows of. */
static void with_callback(long parents)
{
	void (*wanted)(size_t) = callback;
	struct thread t = wait_for_thread(0);

	(void)parents;
	CHECK(hak_mallctl("limit.callback", NULL, NULL, (void *)&wanted, sizeof(wanted)) == 0);
	wait_for_thread(t.tid);
	CHECK(!__libc_single_threaded);
}

/* Looking allocates nothing. */
static void check_is_alone(void)
{
	CHECK(proc_kib("/proc/self/status", "\nThreads:") == 1);
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		check_is_alone();
		wait_for_thread(0);
		_exit(0);
	}
	check_is_alone();
	return pid;
}

static void set_decay(ssize_t ms)
{
	CHECK(hak_mallctl("arenas.dirty_decay_ms", NULL, NULL, &ms, sizeof(ms)) == 0);
}

/* To a program of one thread that forks the process has one: what it counts right after
 * says so (python 3.12 warns of two). What was free goes before, and what is freed later
 * goes in time, as by the thread that ended: without a call that allocates. */
static void with_fork(void)
{
	static void *held[40000], *freed[5000];
	int status;

	set_decay(600000);
	for (int i = 0; i < 40000; i++) {
		held[i] = opaque(malloc(1000));
		memset(held[i], 1, 1000);
	}
	for (int i = 0; i < 5000; i++) {
		freed[i] = opaque(malloc(8000));
		memset(freed[i], 1, 8000);
	}
	wait_for_thread(0);
	for (int i = 0; i < 5000; i++)
		free(freed[i]);
	double before = resident_mib();
	pid_t pid = start_child();
	CHECK(HAVE_SANITIZER || resident_mib() < before - 30);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);

	set_decay(300);
	wait_for_thread(0);
	/* So soon after another a fork leaves the thread. */
	usleep(200000);
	before = resident_mib();
	pid = start_child();
	for (int i = 0; i < 40000; i++)
		free(held[i]);
	double start = now();
	while (!HAVE_SANITIZER && resident_mib() > before - 30) {
		CHECK(now() - start < 10);
		usleep(10000);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static volatile sig_atomic_t forks;

static void fork_again(int unused)
{
	pid_t pid = fork();

	(void)unused;
	if (pid == 0)
		_exit(0);
	CHECK(pid > 0);
	forks++;
}

/* A signal that comes during a fork is handled when fork's handlers are not done. */
static void with_fork_in_handler(void)
{
	CHECK(signal(SIGUSR1, fork_again) != SIG_ERR);
	for (int i = 0; i < 200; i++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			kill(getppid(), SIGUSR1);
			_exit(0);
		}
		while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR)
			;
	}
	CHECK(forks > 0);
	wait_for_thread(0);
}

int main(void)
{
#if !defined(__x86_64__)
	printf("skip: the background thread is a pthread here\n");
	return SKIP;
#endif
	skip_without_background_thread();
	CHECK(__libc_single_threaded);
	struct thread t = wait_for_thread(0);
	CHECK(__libc_single_threaded);
	/* To what it is: any change ends the thread, and one starts again. */
	CHECK(setuid(getuid()) == 0);
	struct thread next = wait_for_thread(t.tid);
	CHECK(next.uid == t.uid);
	/* A child of vfork changes itself alone. */
	pid_t pid = vfork();
	if (pid == 0)
		_exit(setgid(getgid()) != 0);
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(find(0).tid == next.tid);
	in_child(with_callback, next.tid);
	if (getuid() == 0)
		in_child(as_other, next.tid);
	with_fork();
	with_fork_in_handler();
	CHECK(__libc_single_threaded);
	printf("one_thread: passed\n");
	return 0;
}
