/*
 * crossfree: each thread holds objects of 16 to 16,000 bytes and replaces random
 * ones; a share of what it replaces another thread frees, which gets it through a
 * mailbox. A full mailbox is waited for, so that what is live stays bounded.
 *
 * usage: crossfree [-t threads] [-n thousand replacements] [-s seed]
 *                  [-x percent freed by another] [-c objects a thread]
 */
#include "bench.h"

#include <sched.h>

#define MIN_SIZE 16
#define MAX_SIZE 16000
/* Objects in a mailbox. */
#define FULL 256

static struct mailbox {
	_Alignas(64) _Atomic(struct item *) items;
	_Atomic size_t count;
} *mailboxes;
static size_t percent = 50, held = 1000;
static _Atomic size_t done;

static void receive(struct share *s)
{
	struct mailbox *m = &mailboxes[s->index];
	size_t n = 0;

	if (!atomic_load_explicit(&m->items, memory_order_relaxed))
		return;
	struct item *list = atomic_exchange(&m->items, NULL);
	for (struct item *i = list; i; i = i->next)
		n++;
	drop_items(list);
	atomic_fetch_sub(&m->count, n);
}

static void send(struct share *s, struct item *i)
{
	size_t other = (s->index + 1 + next_random(&s->rng) % (s->threads - 1)) % s->threads;
	struct mailbox *m = &mailboxes[other];

	/* Receiving meanwhile: the other one may be waiting for this one. */
	while (atomic_load(&m->count) >= FULL) {
		receive(s);
		sched_yield();
	}
	atomic_fetch_add(&m->count, 1);
	i->next = atomic_load(&m->items);
	while (!atomic_compare_exchange_weak(&m->items, &i->next, i))
		;
}

static uint64_t work(struct share *s)
{
	struct item **items = own_pages(held * sizeof(struct item *));
	uint64_t sum = 0;

	for (size_t i = 0; i < held; i++)
		items[i] = make_item(between(&s->rng, MIN_SIZE, MAX_SIZE));
	work_begins(s);
	for (size_t n = s->work * 1000; n > 0; n--) {
		uint64_t r = next_random(&s->rng);
		struct item **i = &items[(r >> 32) % held];
		sum += (*i)->size;
		if (s->threads > 1 && r % 100 < percent)
			send(s, *i);
		else
			drop_item(*i);
		*i = make_item(between(&s->rng, MIN_SIZE, MAX_SIZE));
		receive(s);
	}
	/* Until no one can send any more. */
	atomic_fetch_add(&done, 1);
	do {
		sched_yield();
		receive(s);
	} while (atomic_load(&done) < s->threads);
	work_ends(s);
	receive(s);
	for (size_t i = 0; i < held; i++)
		sum += drop_item(items[i]);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('x', "percent freed by another", &percent, 0, 100),
		NUMBER_SETTING('c', "objects a thread", &held, 1, 1 << 24),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 10000, settings);

	mailboxes = own_pages(options.threads * sizeof(*mailboxes));
	run_shares(&options, work);
	return 0;
}
