/*
 * syscall(2) as libc has it, but for calls that identity.c meets by their names: programs
 * also make them by number, as libseccomp and what raw clone(2)s do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena/background.h"
#include "entry/entry.h"
#include "page/thread.h"

#if THREAD_CAN_HIDE

#define NUMBERS 512

/* Those that is_met is asked about. Hidden, for what follows. */
extern const unsigned char calls_to_meet[NUMBERS];
bool is_met(long number, long a, long b);
long meet_call(long number, long a, long b, long c, long d, long e, long f);
long failed_call(long result);

const unsigned char calls_to_meet[NUMBERS] = {
	[SYS_setuid] = 1, [SYS_setgid] = 1, [SYS_setreuid] = 1, [SYS_setregid] = 1,
	[SYS_setresuid] = 1, [SYS_setresgid] = 1, [SYS_setgroups] = 1, [SYS_capset] = 1,
	[SYS_unshare] = 1, [SYS_setns] = 1, [SYS_fork] = 1, [SYS_clone] = 1,
	[SYS_clone3] = 1, [SYS_prctl] = 1, [SYS_seccomp] = 1,
};

/* A child that shares our memory or has a stack of its own returns where C may not
 * have been. */
__attribute__((used)) bool is_met(long number, long a, long b)
{
	const struct clone_args *args = (const struct clone_args *)(uintptr_t)a;

	switch (number) {
	case SYS_clone:
		return !(a & CLONE_VM) && b == 0;
	case SYS_clone3:
		return args && !(args->flags & CLONE_VM) && args->stack == 0;
	case SYS_prctl:
		return a == PR_SET_SECCOMP || a == PR_SET_NO_NEW_PRIVS;
	case SYS_seccomp:
		return a == SECCOMP_SET_MODE_STRICT || a == SECCOMP_SET_MODE_FILTER;
	default:
		return true;
	}
}

__attribute__((used)) long failed_call(long result)
{
	errno = (int)-result;
	return -1;
}

static long call(long number, const long argument[6])
{
	register long fourth __asm__("r10") = argument[3];
	register long fifth __asm__("r8") = argument[4];
	register long sixth __asm__("r9") = argument[5];
	long result;

	__asm__ volatile("syscall" : "=a" (result) : "0" (number), "D" (argument[0]),
	    "S" (argument[1]), "d" (argument[2]), "r" (fourth), "r" (fifth), "r" (sixth)
	    : "rcx", "r11", "memory");
	return result;
}

__attribute__((used)) long meet_call(long number, long a, long b, long c, long d, long e,
    long f)
{
	bool splits = number == SYS_fork || number == SYS_clone || number == SYS_clone3;
	bool held = false;

	if (number == SYS_prctl || number == SYS_seccomp)
		background_stop();
	else
		held = background_hold();
	long result = call(number, (const long[]) { a, b, c, d, e, f });
	if (splits && result == 0)
		/* The child. */
		background_after_fork_in_child();
	else if (held)
		background_release();
	return result < 0 && result >= -4095 ? failed_call(result) : result;
}

/* The last argument lies above the return address, for both. */
__asm__(
	".pushsection .text, \"ax\", @progbits\n"
	".globl syscall\n"
	".type syscall, @function\n"
	".p2align 4\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	cmp $511, %rdi\n" /* NUMBERS */
	"	ja 1f\n"
	"	lea calls_to_meet(%rip), %rax\n"
	"	cmpb $0, (%rax, %rdi)\n"
	"	jne 3f\n"
	"1:	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %r10\n"
	"	mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmp $-4095, %rax\n"
	"	jae 2f\n"
	"	ret\n"
	"2:	mov %rax, %rdi\n"
	"	jmp failed_call\n"
	"3:	push %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %rdx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %rcx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r8\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r9\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	sub $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call is_met\n"
	"	add $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %r9\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %r8\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rcx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rdx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	test %al, %al\n"
	"	jz 1b\n"
	"	jmp meet_call\n"
	"	.cfi_endproc\n"
	".size syscall, . - syscall\n"
	".popsection\n");

_Static_assert(NUMBERS == 512, "as where syscall looks");

#endif
