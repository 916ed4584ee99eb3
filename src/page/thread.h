/*
 * A thread of the allocator's own that libc does not know of, where that can be.
 *
 * libc, stdio and libstdc++ do without locks and atomics while a program has one
 * thread, and pthread_create ends that for good: a program that hands shared_ptrs
 * around runs 2.2 x as long, one that prints by putc 1.2 x (doc/design.md). So the
 * thread is made by clone(2), with thread-local storage that begins as a copy of its
 * maker's. It may call what of libc needs no more than that: system calls, strings,
 * clocks; nothing of the program's.
 *
 * Identity is a thread's own to the kernel, and libc would not change this one's: who
 * calls setuid(2) and the like must end it first (entry/identity.c). Where that cannot
 * be seen to (a static library, other names) or the copy is not known to work (other
 * processors, sanitizers), it is a pthread.
 */
#ifndef HAK_PAGE_THREAD_H
#define HAK_PAGE_THREAD_H

#include <stdbool.h>

#include "config.h"

/* Are changes of identity seen? libtool compiles with PIC what goes into the shared
 * library, which can stand before libc. */
#if defined(PIC) && HAK_OVERRIDE && !defined(HAK_INTERNAL)
#define THREAD_FOLLOWS_IDENTITY 1
#else
#define THREAD_FOLLOWS_IDENTITY 0
#endif
#if THREAD_FOLLOWS_IDENTITY && defined(__x86_64__) && __has_include(<sys/single_threaded.h>)
#define THREAD_CAN_HIDE 1
#else
#define THREAD_CAN_HIDE 0
#endif

/* Set at the start: do the program's changes of identity pass through ours? Not where
 * the library was loaded by dlopen, or another one stands before it. */
extern bool thread_identity_is_followed;

/* Run it on a new thread, hidden from libc where that is of use; false: there can be
 * none now. One at a time; leaves errno. The caller holds no lock that allocating needs,
 * and has all signals blocked, as the thread will: the program's are not for it. */
bool thread_start(void (*run)(void), bool may_hide);
/* The same, hidden or not at all, whatever the calling thread is in the middle of: takes
 * no lock and allocates nothing. */
bool thread_start_amid(void (*run)(void));
/* Once at the start, on the program's first thread; nothing else holds the dynamic
 * linker's lock. */
void thread_init(void);
/* Has the program no thread but the caller, for all that libc knows? */
bool thread_is_alone(void);
/* Does libc not know of the thread that was started last? */
bool thread_is_hidden(void);
/* Wait for the end of a hidden thread; false: not within a second. */
bool thread_join(void);
/* In the child of a fork, where it does not run. The caller is the first thread. */
void thread_forget(void);

/* The thread pointer of the program's first thread; NULL: no thread can start amid. */
extern char *thread_first;

#endif
