#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* About as long as a batch of frees takes; longer, and the holder is likely
 * not running. */
#define SPINS 60
/* Of a longer wait so much counts for the thread: the holder did not run. */
#define LONG_WAIT_NS 50000u
/* Where futex_waitv is missing. */
#define POLL_MS 250

__thread struct lock_waits lock_waits;

void lock_init(struct lock *lock)
{
	lock->state = 0;
	lock->contended = 0;
	lock->acquired = 0;
	lock->waited_ns = 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void futex_wait(unsigned *word, unsigned value, long timeout_ms)
{
	struct timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000,
	};
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
	    timeout_ms < 0 ? NULL : &timeout, NULL, 0);
	errno = saved;
}

/* futex_waitv(2), Linux 5.16: not in every libc's headers. */
#define FUTEX_WAITV_NUMBER 449
#define WORD_32 2u
struct waited_word {
	uint64_t value, address;
	uint32_t flags, reserved;
};

void futex_wait_two(unsigned *word, unsigned value, unsigned *shared,
    unsigned shared_value, long timeout_ms)
{
	struct waited_word words[2] = {
		{ shared_value, (uintptr_t)shared, WORD_32, 0 },
		{ value, (uintptr_t)word, WORD_32 | FUTEX_PRIVATE_FLAG, 0 },
	};
	uint64_t end = now_ns() + (uint64_t)timeout_ms * 1000000;
	struct timespec until = {
		.tv_sec = (time_t)(end / 1000000000),
		.tv_nsec = (long)(end % 1000000000),
	};
	int saved = errno;
	/* An older system, or a filter: look at the other word now and then. */
	static AO_t has_none;

	if (!flag_load(&has_none) && syscall(FUTEX_WAITV_NUMBER, words, word ? 2 : 1, 0,
	    timeout_ms < 0 ? NULL : &until, CLOCK_MONOTONIC) < 0 &&
	    errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
		flag_store(&has_none, 1);
	if (flag_load(&has_none)) {
		static unsigned never;
		bool poll = timeout_ms < 0 || timeout_ms > POLL_MS;
		futex_wait(word ? word : &never, word ? value : 0,
		    poll ? POLL_MS : timeout_ms);
	}
	errno = saved;
}

void futex_wake(unsigned *word, int count)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
	errno = saved;
}

/* Make the state 2 and tell what it was; 0 means that the lock is ours. */
static unsigned mark_waited(struct lock *lock)
{
	unsigned old;

	do
		old = AO_int_load(&lock->state);
	while (!AO_int_compare_and_swap_acquire(&lock->state, old, 2));
	return old;
}

SLOW_PATH void lock_wait(struct lock *lock)
{
	bool taken = false;
	uint64_t start = now_ns();

	for (int i = 0; i < SPINS && !taken; i++) {
		spin_pause();
		taken = AO_int_load(&lock->state) == 0 && lock_try(lock);
	}
	while (!taken) {
		taken = mark_waited(lock) == 0;
		if (!taken)
			futex_wait(&lock->state, 2, -1);
	}
	AO_int_store(&lock->contended, lock->contended + 1);
	uint64_t ns = now_ns() - start;
	counter_add_owned(&lock->waited_ns, ns);
	lock_waits.count++;
	lock_waits.ns += ns < LONG_WAIT_NS ? ns : LONG_WAIT_NS;
}

SLOW_PATH void lock_wake(struct lock *lock)
{
	AO_int_store_release(&lock->state, 0);
	futex_wake(&lock->state, 1);
}
