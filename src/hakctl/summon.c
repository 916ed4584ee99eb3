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
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "ctl/anchor.h"
#include "ctl/collect.h"
#include "ctl/segment.h"
#include "ctl/summon.h"
#include "hakctl/proc.h"

const char summon_again[] = "it could not be stopped for a moment (is it being debugged?)";

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/user.h>

/* A process that does not stop in this time waits for the system. */
#define STOP_NS 1000000000u
#define LOOK_NS 20000
/* What the kernel has in rax while a system call is to be begun again; it never
 * shows them to programs (include/linux/errno.h). */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define SYSCALL_RESTART 219 /* restart_syscall(2) */
#define SYSCALL_BYTES 2     /* of the instruction, 0f 05 */
#define X32_SYSCALL (1 << 30)
#define CS_64_BITS 0x33

#define ENDING "it is about to end"

struct subject {
	pid_t pid;
	int mem;
	struct anchor anchor;
};

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
	if (!proc_read(path, status, sizeof(status)))
		return ENDING;
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
	const char *shadow = features ? strstr(features, "shstk") : NULL;
	if (shadow && (size_t)(shadow - features) < strcspn(features, "\n"))
		return "it has a shadow stack";
	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return "this processor has no xsave";
	return NULL;
}

static const char *read_anchor(struct subject *s, uint64_t anchor)
{
	size_t wanted;

	if (!proc_read_at(s->mem, &s->anchor, anchor, sizeof(s->anchor)) ||
	    memcmp(s->anchor.magic, ANCHOR_MAGIC, sizeof(ANCHOR_MAGIC)) != 0 ||
	    s->anchor.version != SEGMENT_VERSION || s->anchor.size != sizeof(s->anchor))
		return "it runs another version of hakmem";
	if (!s->anchor.summon)
		return "hakmem is linked into it, or is of another processor";
	if (!proc_read_at(s->mem, &wanted, (uintptr_t)s->anchor.settings +
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
	return proc_read_at(s->mem, &descriptor, rseq.rseq_abi_pointer + 8, sizeof(descriptor)) &&
	    descriptor && proc_read_at(s->mem, range, descriptor + 8, sizeof(range)) &&
	    at - range[0] < range[1];
}

/* As the kernel would for a thread that meets no signal handler. Returns where it goes on
 * if it meets one (summon.h). */
static uint64_t begin_call_again(struct user_regs_struct *r)
{
	uint64_t interrupted = 0;

	switch (-(long)r->rax) {
	case ERESTARTSYS:
		interrupted = r->rip;
		break;
	case ERESTARTNOHAND:
		interrupted = r->rip | SUMMON_ANY_HANDLER;
		break;
	case ERESTARTNOINTR:
		break;
	case ERESTART_RESTARTBLOCK:
		r->orig_rax = SYSCALL_RESTART;
		break;
	default:
		/* And not by the kernel once more. */
		r->orig_rax = (unsigned long long)-1;
		return 0;
	}
	r->rax = r->orig_rax;
	r->rip -= SYSCALL_BYTES;
	r->orig_rax = (unsigned long long)-1;
	return interrupted;
}

static bool is_in_call(const struct user_regs_struct *r)
{
	return (long)r->orig_rax >= 0;
}

/* Of this processor's 64 bits, and if it is in a system call, in one of these. */
static bool is_usual(const struct subject *s, const struct user_regs_struct *r)
{
	static const unsigned char syscall_code[SYSCALL_BYTES] = { 0x0f, 0x05 };
	unsigned char code[SYSCALL_BYTES];

	return r->cs == CS_64_BITS && (!is_in_call(r) || (!(r->orig_rax & X32_SYSCALL) &&
	    proc_read_at(s->mem, code, r->rip - sizeof(code), sizeof(code)) &&
	    memcmp(code, syscall_code, sizeof(code)) == 0));
}

/* What summon finds, and is there the room that it needs? Not by ptrace(2), which writes to
 * what the program may not. */
static bool push_words(pid_t pid, unsigned long long *rsp, uint64_t mask,
    uint64_t interrupted, uint64_t resume)
{
	uint64_t words[SUMMON_STACK_BYTES / sizeof(uint64_t)] = { 0 };
	size_t n = sizeof(words) / sizeof(words[0]);
	uint64_t end = *rsp - SUMMON_RED_ZONE;
	struct iovec from = { words, sizeof(words) };
	struct iovec to = { (void *)(uintptr_t)(end - sizeof(words)), sizeof(words) };

	words[n - 3] = mask;
	words[n - 2] = interrupted;
	words[n - 1] = resume;
	*rsp = end - 3 * sizeof(words[0]);
	return process_vm_writev(pid, &from, 1, &to, 1, 0) == (ssize_t)sizeof(words);
}

static const char *send_through(const struct subject *s)
{
	const uint64_t all = ~(uint64_t)0;
	struct user_regs_struct r;
	size_t state;
	uint64_t first, mask;

	if (!proc_read_at(s->mem, &state, (uintptr_t)s->anchor.background_state, sizeof(state)) ||
	    !proc_read_at(s->mem, &first, (uintptr_t)s->anchor.first_thread, sizeof(first)) ||
	    ptrace(PTRACE_GETREGS, s->pid, NULL, &r) != 0)
		return ENDING;
	if (state > BACKGROUND_NOT_RUNNING)
		return NULL;
	if (state < BACKGROUND_NOT_RUNNING)
		return "it may have none (a process that is just beginning, or had a filter "
		    "of system calls)";
	/* Under valgrind or an emulator the registers are not the program's. */
	if (!first || first != r.fs_base)
		return "its first thread is not what the library saw at the start";
	if (!is_usual(s, &r) || is_in_sequence(s, r.rip))
		return summon_again;
	uint64_t interrupted = is_in_call(&r) ? begin_call_again(&r) : 0;
	if (ptrace(PTRACE_GETSIGMASK, s->pid, sizeof(mask), &mask) != 0)
		return ENDING;
	if (!push_words(s->pid, &r.rsp, mask, interrupted, r.rip))
		return "its stack has no room";
	r.rip = (uintptr_t)s->anchor.summon;
	/* From here on it needs us no more. */
	if (ptrace(PTRACE_SETREGS, s->pid, NULL, &r) != 0)
		return summon_again;
	/* A handler that runs before its first instruction would see the call as one that was
	 * not interrupted. In this order: who died in between left nothing blocked. */
	ptrace(PTRACE_SETSIGMASK, s->pid, sizeof(all), &all);
	return NULL;
}

/* Wait until it stops on our account; what else happens to it goes on. */
static const char *await_stop(pid_t pid)
{
	uint64_t deadline = collect_now_ns() + STOP_NS;
	pid_t found;
	int status;

	while ((found = waitpid(pid, &status, __WALL | WNOHANG)) >= 0) {
		if (found == 0) {
			if (collect_now_ns() >= deadline)
				return "it waits for the system";
			nanosleep(&(struct timespec) { .tv_nsec = LOOK_NS }, NULL);
			continue;
		}
		if (!WIFSTOPPED(status))
			break;
		int signal = WSTOPSIG(status);
		if (status >> 16 == PTRACE_EVENT_STOP)
			return signal == SIGTRAP ? NULL : "it is stopped";
		if (ptrace(PTRACE_CONT, pid, NULL, signal) != 0)
			break;
	}
	return ENDING;
}

static const char *open_memory(struct subject *s, uint64_t anchor)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", s->pid);
	s->mem = open(path, O_RDONLY | O_CLOEXEC);
	return s->mem < 0 ? "permission denied to read its memory" : read_anchor(s, anchor);
}

static const char *stop_and_send(struct subject *s, uint64_t anchor)
{
	if (ptrace(PTRACE_SEIZE, s->pid, NULL, NULL) != 0)
		return errno == EPERM ? summon_again : ENDING;
	if (ptrace(PTRACE_INTERRUPT, s->pid, NULL, NULL) != 0)
		return ENDING;
	const char *objection = await_stop(s->pid);
	if (objection)
		return objection;
	/* Anew: it may run another program by now. */
	close(s->mem);
	objection = open_memory(s, anchor);
	if (!objection)
		objection = send_through(s);
	ptrace(PTRACE_DETACH, s->pid, NULL, NULL);
	return objection;
}

/* By a child of ours: when it ends, whatever befalls it, the kernel lets the process go.
 * With no signals: between waitpid and PTRACE_CONT one of the process's would be lost. */
static const char *by_a_child(struct subject *s, uint64_t anchor)
{
	const char *objection = summon_again;
	sigset_t all, old;
	int answer[2];

	if (pipe2(answer, O_CLOEXEC) != 0)
		return summon_again;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t child = fork();
	if (child == 0) {
		objection = stop_and_send(s, anchor);
		_exit(write(answer[1], &objection, sizeof(objection)) !=
		    (ssize_t)sizeof(objection));
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
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
	struct subject s = { .pid = pid };
	const char *objection = objection_of(pid);

	if (objection)
		return objection;
	objection = open_memory(&s, anchor);
	if (!objection)
		objection = by_a_child(&s, anchor);
	if (s.mem >= 0)
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
