/*
 * What rests on the stacks of threads that sleep, or have no use for a class any more:
 * the background thread takes it back, with no instruction of the fast paths spent.
 *
 * It may take a stack only while its thread is on no other way than the fast paths
 * (tcache_enter and tcache_leave tell), and then must be sure that the thread is not
 * about to pop what is taken. Both by an asymmetric fence, membarrier(2): after it, each
 * thread has done all that it did before, and nothing that it will do.
 *
 *   1. is_visited is set, fence. A cache that is_entered is left alone; from now on
 *      whoever enters sees is_visited, and waits for tcaches_lock.
 *   2. The top slot's object is exchanged for NULL, fence. A thread that pops from now
 *      on finds none, and enters. Who loaded the object before has, in this order, moved
 *      the head beyond it before; the head can come back there only by a push, which
 *      stores another object in the slot.
 *   3. So if the head is as it was, fence, and the slot still NULL, the object is ours,
 *      and with it all below, to which only that pop would have led. If not, the object
 *      is put back, unless something else is there.
 *
 * (A push to a thread's own cache meets the doorbell of is_visited first; one to its cache
 * for a site does not, so the slot must be looked at, too.)
 *
 * slots[cut] is where the stack ends then, until its thread enters: it moves what it
 * pushed since to the end of the slots.
 *
 * (The asymmetric Dekker of Dice, Huang and Yang, "Asymmetric Dekker Synchronization",
 * 2001, with the fence of membarrier(2).)
 */
#ifndef HAK_TCACHE_REST_H
#define HAK_TCACHE_REST_H

#include "tcache/tcache.h"

/* Stacks looked at under one hold of tcaches_lock. */
#define REST_MAX (2 * CLASSES)

struct rest {
	unsigned count;
	struct resting {
		struct tcache *cache;
		size_t class;
		void **head;
		void *top;
	} stacks[REST_MAX];
};

/* Where the stack ends. */
static inline void **rest_end(const struct cache_bin *b)
{
	return &b->slots[b->cut ? b->cut : b->capacity + 1u];
}

/* Under tcaches_lock; only where membarrier(2) may be called, which a filter of system
 * calls could answer by killing the process. */

/* Note the stacks of t that rest since the last look; all: that are not empty. There must
 * be room for CLASSES. True: something is left to look at again. */
bool rest_look(struct rest *rest, struct tcache *t, bool all);
/* Take what was noted, but for what is in use after all. */
void rest_take(struct rest *rest);
/* Its thread's: mend the stacks that were cut. */
void rest_mend(struct tcache *t);

#endif
