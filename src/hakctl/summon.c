#define _GNU_SOURCE
#include "hakctl/summon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"
#include "ctl/anchor.h"
#include "ctl/segment.h"
#include "ctl/summon.h"

const char summon_again[] = "it could not be stopped for a moment (is it being debugged?)";

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/user.h>

/* A process that does not stop in this time waits for the system. */
#define STOP_SECONDS 1
/* What the kernel has in rax while a system call is to be begun again; it never
 * shows them to programs (include/linux/errno.h). */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define SYSCALL_RESTART 219 /* restart_syscall(2) */
#define SYSCALL_BYTES 2     /* of the instruction */

struct subject {
	pid_t pid;
	int mem;
	struct anchor anchor;
};

static bool read_at(int mem, void *to, uint64_t from, size_t size)
{
	return pread(mem, to, size, (off_t)from) == (ssize_t)size;
}

/* ---- May it be done? ---- */

/* A line of /proc/PID/status, from its colon on; NULL: there is none. */
static const char *line_of(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? at + strlen(name) : NULL;
}

static const char *objection_of(pid_t pid)
{
	char path[64], status[8192];
	unsigned eax, ebx, ecx = 0, edx;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return "it is about to end";
	status[n] = '\0';
	const char *state = line_of(status, "\nState:\t");
	const char *filter = line_of(status, "\nSeccomp:\t");
	const char *tracer = line_of(status, "\nTracerPid:\t");
	const char *features = line_of(status, "\nx86_Thread_features:");
	if (state && *state == 'Z')
		return "its first thread ended";
	/* The filter may end the process for what the thread calls. */
	if (filter && *filter != '0')
		return "its system calls are filtered (seccomp)";
	/* By another hakctl, maybe. */
	if (tracer && *tracer != '0')
		return summon_again;
	/* It would not let us return to where the thread was. */
	if (features && strcspn(features, "\n") > (size_t)(strstr(features, "shstk") ?
	    strstr(features, "shstk") - features : n))
		return "it has a shadow stack";
	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return "this processor has no xsave";
	return NULL;
}

static const char *read_anchor(struct subject *s, uint64_t anchor)
{
	size_t wanted;

	if (!read_at(s->mem, &s->anchor, anchor, sizeof(s->anchor)) ||
	    memcmp(s->anchor.magic, ANCHOR_MAGIC, sizeof(ANCHOR_MAGIC)) != 0 ||
	    s->anchor.version != SEGMENT_VERSION || s->anchor.size != sizeof(s->anchor))
		return "it runs another version of hakmem";
	if (!s->anchor.summon)
		return "hakmem is linked into it, or is of another processor";
	if (!read_at(s->mem, &wanted, (uintptr_t)s->anchor.settings +
	    offsetof(struct settings, background_thread), sizeof(wanted)) || !wanted)
		return "it runs with background_thread:false";
	return NULL;
}

/* ---- The stopped thread ---- */

/* Is it within a restartable sequence (rseq(2))? Then it may not be sent elsewhere. */
static bool is_in_sequence(const struct subject *s, uint64_t at)
{
	struct __ptrace_rseq_configuration rseq;
	uint64_t descriptor, range[2]; /* start, length */

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, s->pid, sizeof(rseq), &rseq) !=
	    (long)sizeof(rseq) || !rseq.rseq_abi_pointer)
		return false;
	/* struct rseq: rseq_cs; struct rseq_cs: start_ip, post_commit_offset. */
	return read_at(s->mem, &descriptor, rseq.rseq_abi_pointer + 8, sizeof(descriptor)) &&
	    descriptor && read_at(s->mem, range, descriptor + 8, sizeof(range)) &&
	    at - range[0] < range[1];
}

/* As the kernel would for a thread that meets no signal handler. */
static void begin_call_again(struct user_regs_struct *r)
{
	if ((long)r->orig_rax < 0)
		return;
	switch (-(long)r->rax) {
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
		r->rax = r->orig_rax;
		r->rip -= SYSCALL_BYTES;
		break;
	case ERESTART_RESTARTBLOCK:
		r->rax = SYSCALL_RESTART;
		r->rip -= SYSCALL_BYTES;
		break;
	default:
		break;
	}
	/* And not by the kernel once more. */
	r->orig_rax = (unsigned long long)-1;
}

static const char *send_through(const struct subject *s)
{
	struct user_regs_struct r;
	size_t state;
	uint64_t first;

	if (!read_at(s->mem, &state, (uintptr_t)s->anchor.background_state, sizeof(state)) ||
	    !read_at(s->mem, &first, (uintptr_t)s->anchor.first_thread, sizeof(first)) ||
	    ptrace(PTRACE_GETREGS, s->pid, NULL, &r) != 0)
		return "it is about to end";
	if (state > BACKGROUND_NOT_RUNNING)
		return NULL;
	if (state < BACKGROUND_NOT_RUNNING)
		return "it may have none (a process that is just beginning, or had a filter "
		    "of system calls)";
	/* Under valgrind or an emulator the registers are not the program's. */
	if (!first || first != r.fs_base)
		return "its first thread is not what the library saw at the start";
	if (is_in_sequence(s, r.rip))
		return summon_again;
	begin_call_again(&r);
	r.rsp -= SUMMON_RED_ZONE + sizeof(r.rip);
	if (ptrace(PTRACE_POKEDATA, s->pid, r.rsp, r.rip) != 0)
		return "its stack cannot be written to";
	r.rip = (uintptr_t)s->anchor.summon;
	/* The last: from here on it needs us no more. */
	return ptrace(PTRACE_SETREGS, s->pid, NULL, &r) == 0 ? NULL : summon_again;
}

/* Wait until it stops on our account; what else happens to it goes on. */
static const char *await_stop(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		int signal = WSTOPSIG(status);
		if (status >> 16 == PTRACE_EVENT_STOP)
			return signal == SIGTRAP ? NULL : "it is stopped";
		if (ptrace(PTRACE_CONT, pid, NULL, signal) != 0)
			break;
	}
	return "it is about to end";
}

static const char *stop_and_send(const struct subject *s)
{
	if (ptrace(PTRACE_SEIZE, s->pid, NULL, NULL) != 0)
		return errno == EPERM ? summon_again : "it is about to end";
	if (ptrace(PTRACE_INTERRUPT, s->pid, NULL, NULL) != 0)
		return "it is about to end";
	const char *objection = await_stop(s->pid);
	if (!objection)
		objection = send_through(s);
	ptrace(PTRACE_DETACH, s->pid, NULL, NULL);
	return objection;
}

/* By a child of ours: when it ends, after its time or whatever befalls it, the kernel
 * lets the process go. */
static const char *by_a_child(const struct subject *s)
{
	const char *objection = summon_again;
	int answer[2];

	if (pipe2(answer, O_CLOEXEC) != 0)
		return summon_again;
	pid_t child = fork();
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		signal(SIGALRM, SIG_DFL);
		sigprocmask(SIG_SETMASK, &none, NULL);
		alarm(STOP_SECONDS);
		objection = stop_and_send(s);
		_exit(write(answer[1], &objection, sizeof(objection)) !=
		    (ssize_t)sizeof(objection));
	}
	close(answer[1]);
	/* The same program: its text lies at the same address. */
	if (child > 0 && read(answer[0], &objection, sizeof(objection)) != sizeof(objection))
		objection = summon_again;
	close(answer[0]);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		continue;
	return objection;
}

const char *summon_thread(pid_t pid, uint64_t anchor)
{
	char path[64];
	struct subject s = { .pid = pid };
	const char *objection = objection_of(pid);

	if (objection)
		return objection;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	s.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (s.mem < 0)
		return "permission denied to read its memory";
	objection = read_anchor(&s, anchor);
	if (!objection)
		objection = by_a_child(&s);
	close(s.mem);
	return objection;
}

#else

const char *summon_thread(pid_t pid, uint64_t anchor)
{
	(void)pid;
	(void)anchor;
	return "it allocated too little so far, or runs with background_thread:false";
}

#endif
