#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* About as long as a batch of frees takes; longer, and the holder is likely
 * not running. */
#define SPINS 60

__thread size_t lock_waits;

void lock_init(struct lock *lock)
{
	lock->state = 0;
	lock->contended = 0;
	lock->acquired = 0;
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
	lock_waits++;
}

SLOW_PATH void lock_wake(struct lock *lock)
{
	AO_int_store_release(&lock->state, 0);
	futex_wake(&lock->state, 1);
}
