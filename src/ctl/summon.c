#define _GNU_SOURCE
#include "ctl/summon.h"

#if THREAD_CAN_HIDE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena/background.h"

/* What lies on the thread's stack, from where summon's stack pointer is. */
struct summoned {
	uint64_t all;        /* signals */
	uint64_t r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax, flags;
	uint64_t mask, interrupted, resume; /* hakctl's (summon.h) */
};
_Static_assert(offsetof(struct summoned, mask) == 104, "as in the code below");
_Static_assert(sizeof(struct summoned) <= SUMMON_STACK_BYTES, "hakctl saw that it fits");

/* Does the signal have a handler that would have ended the system call? */
static bool interrupts(int signal, bool any)
{
	struct { /* the kernel's */
		uintptr_t handler;
		unsigned long flags;
		uintptr_t restorer;
		uint64_t mask;
	} action;

	return syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof(action.mask)) == 0 &&
	    action.handler != (uintptr_t)SIG_DFL && action.handler != (uintptr_t)SIG_IGN &&
	    (any || !(action.flags & SA_RESTART));
}

/* A signal that came meanwhile ends the call that was to be begun again, or a program
 * that waits for it would wait on (sigsuspend). */
static void notice_signals(struct summoned *s)
{
	bool any = s->interrupted & SUMMON_ANY_HANDLER;
	uint64_t pending;

	if (!s->interrupted ||
	    syscall(SYS_rt_sigpending, &pending, sizeof(pending)) != 0)
		return;
	for (pending &= ~s->mask; pending; pending &= pending - 1)
		if (interrupts(__builtin_ctzll(pending) + 1, any)) {
			s->resume = s->interrupted & ~SUMMON_ANY_HANDLER;
			s->rax = (uint64_t)-EINTR;
			return;
		}
}

__attribute__((used)) static void summon_on_own_stack(struct summoned *s)
{
	int saved = errno;

	background_summon();
	notice_signals(s);
	errno = saved;
}

/* All signals are blocked meanwhile: a handler finds the program's own stack. Only
 * one thread at a time has summon_stack (a second one goes back at once; the word is a pid,
 * so that a child of fork is not kept out for ever), where xsave's area
 * is up to 11 KiB (AMX). It has the size that cpuid 0xd tells, aligned to 64, and bytes
 * 512 to 575 of it 0 (Intel's manual, volume 1, 13.4). The program's flags may not be what
 * compiled code expects (AC). */
__asm__(
	".local summon_stack\n"
	".comm summon_stack, 32768, 64\n"
	".local summon_occupied\n"
	".comm summon_occupied, 4, 4\n"
	".pushsection .text, \"ax\", @progbits\n"
	".globl summon\n"
	".hidden summon\n"
	".type summon, @function\n"
	".p2align 4\n"
	"summon:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	pushfq\n"
	"	push $2\n"
	"	popfq\n"
	"	push %rax\n"
	"	push %rbx\n"
	"	push %rcx\n"
	"	push %rdx\n"
	"	push %rsi\n"
	"	push %rdi\n"
	"	push %rbp\n"
	"	push %r8\n"
	"	push %r9\n"
	"	push %r10\n"
	"	push %r11\n"
	"	push $-1\n"
	"	mov %rsp, %rsi\n"
	"	xor %edx, %edx\n"
	"	mov $2, %edi\n" /* SIG_SETMASK */
	"	mov $8, %r10d\n"
	"	mov $14, %eax\n" /* SYS_rt_sigprocmask */
	"	syscall\n"
	"	mov $39, %eax\n" /* SYS_getpid */
	"	syscall\n"
	"	mov %eax, %edx\n"
	"	xchg %eax, summon_occupied(%rip)\n"
	"	cmp %eax, %edx\n"
	"	je 1f\n"
	"	mov %rsp, %rbp\n"
	"	mov $0xd, %eax\n"
	"	xor %ecx, %ecx\n"
	"	cpuid\n"
	"	lea summon_stack + 32768(%rip), %rsp\n"
	"	sub %rbx, %rsp\n"
	"	and $-64, %rsp\n"
	"	lea 512(%rsp), %rdi\n"
	"	mov $8, %ecx\n"
	"	xor %eax, %eax\n"
	"	rep stosq\n"
	"	mov $-1, %eax\n"
	"	mov $-1, %edx\n"
	"	xsave64 (%rsp)\n"
	"	mov %rbp, %rdi\n"
	"	call summon_on_own_stack\n"
	"	mov $-1, %eax\n"
	"	mov $-1, %edx\n"
	"	xrstor64 (%rsp)\n"
	"	mov %rbp, %rsp\n"
	"	movl $0, summon_occupied(%rip)\n"
	"1:	lea 104(%rsp), %rsi\n" /* mask */
	"	xor %edx, %edx\n"
	"	mov $2, %edi\n"
	"	mov $8, %r10d\n"
	"	mov $14, %eax\n"
	"	syscall\n"
	"	add $8, %rsp\n"
	"	pop %r11\n"
	"	pop %r10\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rbp\n"
	"	pop %rdi\n"
	"	pop %rsi\n"
	"	pop %rdx\n"
	"	pop %rcx\n"
	"	pop %rbx\n"
	"	pop %rax\n"
	"	popfq\n"
	"	lea 16(%rsp), %rsp\n"
	"	ret $128\n" /* SUMMON_RED_ZONE */
	"	.cfi_endproc\n"
	".size summon, . - summon\n"
	".popsection\n");

_Static_assert(SUMMON_RED_ZONE == 128, "as in the last line");

#endif
