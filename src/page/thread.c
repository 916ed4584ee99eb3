#define _GNU_SOURCE
#include "page/thread.h"

#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/size_class.h"
#include "page/os.h"

#define NAME "hakmem"
/* It runs shallow code of ours alone. */
#define STACK_BYTES (256 * KiB)

bool thread_identity_is_followed;
char *thread_first;
static void (*to_run)(void);

static void *run_known(void *unused)
{
	pthread_setname_np(pthread_self(), NAME);
	to_run();
	return unused;
}

static bool start_known_of(size_t stack_bytes)
{
	pthread_attr_t attributes;
	pthread_t thread;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (stack_bytes)
		pthread_attr_setstacksize(&attributes, stack_bytes);
	int error = pthread_create(&thread, &attributes, run_known, NULL);
	pthread_attr_destroy(&attributes);
	/* Static TLS may not fit: the default stack holds it. */
	return error == 0 || (error == EINVAL && stack_bytes && start_known_of(0));
}

bool thread_is_alone(void)
{
#if __has_include(<sys/single_threaded.h>)
	return __libc_single_threaded;
#else
	return false;
#endif
}

#if THREAD_CAN_HIDE
/* What libc keeps where the thread pointer points (x86-64): itself, the thread's
 * data, and up to HEADER_BYTES what compiled code reads, as the stack protector's
 * value. The kernel's thread number lies further up, at no documented place. */
#define TCB_SELF 0x00
#define TCB_THREAD 0x10
#define HEADER_BYTES 0x80
#define SEARCHED_BYTES 0x700
#define TCB_BYTES PAGE
#define TLS_MAX (1 * MiB)
#define JOIN_MS 1000
#define GONE_TRIES 100
#define GONE_NS 50000

/* Stack, thread-local storage and control block, one above the other. Made once, with so
 * much room. */
static char *memory;
static size_t tls_room;
static size_t tls_bytes; /* static TLS, when it was last looked for; 0: not known */
/* The kernel's: not 0 while the thread lives; a futex that it wakes at the end. */
static pid_t alive;
static int number;        /* the last one's */
static size_t tid_offset; /* in the control block; 0: not found */

static char *thread_pointer(void)
{
	char *p;

	__asm__("mov %%fs:0, %0" : "=r" (p));
	return p;
}

struct static_tls {
	char *lowest;
	size_t alignment; /* of the block there */
};

/* Go down by one block, where one ends at the lowest known. A gap is what alignment
 * asks for; a block that dlopen took from the heap is no neighbour. */
static int go_down(struct dl_phdr_info *info, size_t size, void *context)
{
	struct static_tls *tls = context;
	char *data = info->dlpi_tls_data;

	(void)size;
	for (int i = 0; data && data < tls->lowest && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		size_t slack = header->p_align > tls->alignment ? header->p_align : tls->alignment;
		if (header->p_type == PT_TLS && (size_t)(tls->lowest - data) < header->p_memsz + slack)
			*tls = (struct static_tls) { data, header->p_align };
	}
	return 0;
}

/* How much static TLS lies below the thread pointer; 0: not known, or too much. */
static size_t find_tls(void)
{
	char *self = thread_pointer(), *last;
	struct static_tls tls = { self, PAGE };

	do {
		last = tls.lowest;
		dl_iterate_phdr(go_down, &tls);
	} while (tls.lowest != last);
	/* libc's and ours are what the thread will use. */
	bool is_whole = (char *)&errno >= tls.lowest && (char *)&lock_waits >= tls.lowest;
	size_t bytes = (size_t)(self - tls.lowest);
	return is_whole && bytes <= TLS_MAX ? bytes : 0;
}

static bool make_memory(void)
{
	/* At the same place in its page, and so aligned as the maker's. */
	tls_room = round_up(tls_bytes, PAGE);
	if (!tls_room)
		return false;
	memory = os_map(NULL, STACK_BYTES + tls_room + TCB_BYTES + PAGE);
	/* The stack ends in a fault. */
	return memory && mprotect(memory, PAGE, PROT_NONE) == 0;
}

static char *make_control_block(void)
{
	char *self = thread_pointer();
	char *own = memory + STACK_BYTES + tls_room + ((uintptr_t)self & (PAGE - 1));
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (!tls_bytes || tls_bytes > tls_room)
		return NULL;
	memset(own, 0, TCB_BYTES);
	memcpy(own - tls_bytes, self - tls_bytes, tls_bytes);
	memcpy(own, self, HEADER_BYTES);
	memcpy(own + TCB_SELF, &own, sizeof(own));
	memcpy(own + TCB_THREAD, &own, sizeof(own));
	tid_offset = 0;
	for (size_t at = HEADER_BYTES; at < SEARCHED_BYTES && !tid_offset; at += sizeof(tid))
		if (memcmp(self + at, &tid, sizeof(tid)) == 0)
			tid_offset = at;
	return own;
}

static int run_hidden(void *own)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	/* libc's recursive locks know their owner by it. */
	memcpy((char *)own + tid_offset, &tid, sizeof(tid));
	/* Past our own prctl (entry/identity.c). */
	syscall(SYS_prctl, PR_SET_NAME, NAME);
	/* The maker's may be freed. */
	uselocale(LC_GLOBAL_LOCALE);
	to_run();
	return 0;
}

static bool start_hidden(void)
{
	if (!thread_identity_is_followed || (!memory && !make_memory()))
		return false;
	char *own = make_control_block();
	/* Without the number's place libc's locks would take it for their owner. */
	if (!own || !tid_offset)
		return false;
	number = clone(run_hidden, memory + STACK_BYTES,
	    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
	    CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
	    own, &alive, own, &alive);
	return number != -1;
}

/* To hide is of no use in a program that has threads. */
static bool start_hidden_if_alone(void)
{
	if (!thread_is_alone())
		return false;
	/* Anew: a library that was loaded since may have taken some. */
	tls_bytes = find_tls();
	return start_hidden();
}

void thread_init(void)
{
	tls_bytes = find_tls();
	thread_first = tls_bytes ? thread_pointer() : NULL;
}

bool thread_is_hidden(void)
{
	return AO_int_load_acquire((const volatile unsigned *)&alive) != 0;
}

/* In a child that libc knows nothing of neither does. */
static bool lives(pid_t tid)
{
	return tid > 0 && syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

static bool is_gone(void)
{
	return !lives((pid_t)AO_int_load_acquire((const volatile unsigned *)&alive)) &&
	    !lives(number);
}

bool thread_join(void)
{
	uint64_t until = os_now_ms() + JOIN_MS;
	struct timespec wait = { .tv_sec = JOIN_MS / 1000 };
	unsigned tid;

	/* Pairs with the kernel's store at the thread's end. Its wake-up is for all
	 * processes, so this is no private futex. */
	while ((tid = AO_int_load_acquire((const volatile unsigned *)&alive)) != 0) {
		if (!lives((pid_t)tid))
			break;
		if (os_now_ms() >= until)
			return false;
		syscall(SYS_futex, &alive, FUTEX_WAIT, tid, &wait, NULL, 0);
	}
	/* The kernel tells a little before the process is one of one thread again. */
	for (int i = 0; i < GONE_TRIES && lives(number); i++)
		nanosleep(&(struct timespec) { .tv_nsec = GONE_NS }, NULL);
	number = 0;
	return true;
}

void thread_forget(void)
{
	alive = number = 0;
	thread_first = tls_bytes ? thread_pointer() : NULL;
}

#else

static bool start_hidden(void)
{
	return false;
}

static bool start_hidden_if_alone(void)
{
	return false;
}

void thread_init(void)
{
}

static bool is_gone(void)
{
	return false;
}

bool thread_is_hidden(void)
{
	return false;
}

bool thread_join(void)
{
	return true;
}

void thread_forget(void)
{
}

#endif

bool thread_start(void (*run)(void), bool may_hide)
{
	int saved = errno;

	to_run = run;
	/* Its memory is used again. */
	bool started = thread_join() &&
	    ((may_hide && start_hidden_if_alone()) || start_known_of(2 * STACK_BYTES));
	errno = saved;
	return started;
}

bool thread_start_amid(void (*run)(void))
{
	int saved = errno;
	/* No waiting for the last one: it would be a system call beside the one that the
	 * thread is in, which the kernel begins again. */
	bool started = is_gone();

	if (started) {
		to_run = run;
		started = start_hidden();
	}
	errno = saved;
	return started;
}
