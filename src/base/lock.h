/*
 * A mutex of 16 bytes: spins briefly, then sleeps in futex(2). It counts how
 * often it was taken and how often it was not free at once; both counters
 * belong to the holder and may be read by anyone.
 *
 * state: 0 free, 1 held, 2 held and somebody may sleep (Drepper, "Futexes Are
 * Tricky", mutex 2). The acquire of lock_acquire pairs with the release of
 * lock_release.
 */
#ifndef HAK_BASE_LOCK_H
#define HAK_BASE_LOCK_H

#include "base/atomic.h"
#include "base/bits.h"

struct lock {
	unsigned state;
	unsigned contended;
	AO_t acquired;
};

#define LOCK_INITIALIZER { 0, 0, 0 }

/* How often the calling thread found a lock taken. */
extern __thread size_t lock_waits
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

void lock_init(struct lock *lock);
void lock_wait(struct lock *lock);
void lock_wake(struct lock *lock);

static inline bool lock_try(struct lock *lock)
{
	return AO_int_compare_and_swap_acquire(&lock->state, 0, 1);
}

static inline void lock_acquire(struct lock *lock)
{
	if (unlikely(!lock_try(lock)))
		lock_wait(lock);
	counter_add_owned(&lock->acquired, 1);
}

static inline void lock_release(struct lock *lock)
{
	if (unlikely(AO_int_fetch_and_sub1_release(&lock->state) != 1))
		lock_wake(lock);
}

static inline unsigned lock_contended(const struct lock *lock)
{
	return AO_int_load((const volatile unsigned *)&lock->contended);
}

/* Sleep until *word is not value, a wake-up, or timeout_ms (-1: none). */
void futex_wait(unsigned *word, unsigned value, long timeout_ms);
void futex_wake(unsigned *word, int count);

static inline void spin_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

#endif
