/*
 * A mutex of 24 bytes: spins briefly, then sleeps in futex(2). It counts how
 * often it was taken, how often it was not free at once, and how long was waited
 * then; the counters belong to the holder and may be read by anyone.
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
	AO_t waited_ns;
};

#define LOCK_INITIALIZER { 0, 0, 0, 0 }

/* How often the calling thread found a lock taken, and how long it waited then, at most
 * 50 us a time. */
extern __thread struct lock_waits {
	size_t count;
	uint64_t ns;
} lock_waits __attribute__((tls_model("initial-exec"), visibility("hidden")));

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

/* Start the counters anew; of a lock that is in use, too. */
static inline void lock_reset_counters(struct lock *lock)
{
	lock_acquire(lock);
	AO_int_store(&lock->contended, 0);
	AO_store(&lock->acquired, 0);
	AO_store(&lock->waited_ns, 0);
	lock_release(lock);
}

/* Sleep until *word is not value, a wake-up, or timeout_ms (-1: none). */
void futex_wait(unsigned *word, unsigned value, long timeout_ms);
void futex_wake(unsigned *word, int count);
/* The same on word (NULL: none) or shared, which other processes may wake. May
 * return early: the caller looks again. */
void futex_wait_two(unsigned *word, unsigned value, unsigned *shared,
    unsigned shared_value, long timeout_ms);

static inline void spin_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

#endif
