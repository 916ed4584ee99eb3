/*
 * Programs that filter their system calls (seccomp) allow what libc's malloc needs, and
 * services are started under filters that end the process for what they do not know:
 * neither may meet anything of ours. Each case runs in a child of its own, whose filter
 * kills it for any other call.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ALLOW(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define FILTER(code) \
	{ .len = (unsigned short)(sizeof(code) / sizeof(*(code))), .filter = (code) }

/* What glibc 2.36's malloc calls, and what ends this. */
static struct sock_filter only_malloc[] = {
	NUMBER,
	ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(madvise), ALLOW(mprotect),
	ALLOW(brk), ALLOW(futex), ALLOW(clock_gettime), ALLOW(clock_nanosleep),
	ALLOW(exit), ALLOW(exit_group), ALLOW(rt_sigreturn),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
};
/* Some of what systemd's @system-service does not have. */
static struct sock_filter service[] = {
	NUMBER,
	KILL(mincore), KILL(process_madvise), KILL(process_vm_readv), KILL(ptrace),
	KILL(userfaultfd), KILL(kcmp), KILL(migrate_pages),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
/* What the thread calls and libc's malloc does not. */
static struct sock_filter no_barrier[] = {
	NUMBER,
	KILL(membarrier), KILL(clone),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static const struct sock_fprog barrier_filter = FILTER(no_barrier);
static const struct sock_fprog malloc_filter = FILTER(only_malloc);
static const struct sock_fprog service_filter = FILTER(service);

static void
allocate(void)
{
	static void *p[20000];
	size_t i;

	for (i = 0; i < 20000; i++) {
		p[i] = opaque(malloc(i % 3000));
		if (p[i] == NULL)
			_exit(2);
	}
	for (i = 0; i < 20000; i++)
		free(p[i]);
	for (i = 0; i < 50; i++) {
		p[i] = opaque(malloc((1 + i % 9) * MIB));
		memset(p[i], 1, MIB);
		p[i] = opaque(realloc(p[i], (2 + i % 11) * MIB));
	}
	for (i = 0; i < 50; i++)
		free(p[i]);
}

static void
wait_for_thread(void)
{
	size_t n = 0, size = sizeof(n);
	uint64_t epoch = 1;

	for (int i = 0; i < 500 && n == 0; i++) {
		allocate();
		usleep(10000);
		CHECK(hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) == 0);
		CHECK(hak_mallctl("stats.background_thread.num_threads", &n, &size,
		    NULL, 0) == 0);
	}
	CHECK(n != 0);
	usleep(50000);
}

static void
no_new_privileges(void)
{
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void
go_on(void)
{
	for (int i = 0; i < 30; i++) {
		allocate();
		usleep(10000);
	}
	_exit(0);
}

static void
filter_before_the_thread(void)
{
	no_new_privileges();
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &malloc_filter, 0, 0) == 0);
	go_on();
}

static void
filter_after_the_thread(void)
{
	wait_for_thread();
	no_new_privileges();
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &malloc_filter, 0, 0) == 0);
	go_on();
}

/* As libseccomp does it. */
static void
filter_of_all_threads(void)
{
	wait_for_thread();
	no_new_privileges();
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
	    &malloc_filter) == 0);
	go_on();
}

/* Who may administrate the system needs no PR_SET_NO_NEW_PRIVS. Others are refused. */
static void
filter_of_root(void)
{
	wait_for_thread();
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
	    &barrier_filter) != 0)
		CHECK(errno == EACCES);
	allocate();
	/* Some passes. */
	sleep(2);
	go_on();
}

/* The filter is there before the program is. */
static void
as_a_service(void)
{
	no_new_privileges();
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &service_filter, 0, 0) == 0);
	execl("/proc/self/exe", "sandbox", "service", (char *)NULL);
	_exit(3);
}

static const struct child_case cases[] = {
	{ "before the thread", filter_before_the_thread },
	{ "after the thread", filter_after_the_thread },
	{ "of all threads", filter_of_all_threads },
	{ "of root", filter_of_root },
	{ "as a service", as_a_service },
};

int
main(int argc, char **argv)
{
	skip_without_background_thread();
	if (argc > 1 && strcmp(argv[1], "service") == 0) {
		wait_for_thread();
		usleep(300000);
		return 0;
	}
	run_in_children("sandbox", cases, sizeof(cases) / sizeof(*cases));
	return 0;
}
