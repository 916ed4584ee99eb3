/*
 * batch: a batch of objects of one size is made, then freed: the last one first
 * (lifo), the first one first (fifo), or in random order. Large batches run
 * through any cache of a thread's and back.
 *
 * usage: batch [-t threads] [-n thousand objects] [-s seed]
 *              [-o lifo|fifo|random] [-b objects in a batch] [-z size]
 */
#include "bench.h"

enum order { LIFO, FIFO, RANDOM };

static size_t order = LIFO, batch = 1000, size = 64;

static void shuffle(uint32_t *at, uint64_t *rng)
{
	for (size_t i = 0; i < batch; i++) {
		size_t j = next_random(rng) % (i + 1);
		at[i] = at[j];
		at[j] = (uint32_t)i;
	}
}

static uint64_t work(struct share *s)
{
	struct item **items = own_pages(batch * sizeof(struct item *));
	uint32_t *random = own_pages(batch * sizeof(*random));
	uint64_t sum = 0;

	shuffle(random, &s->rng);
	work_begins(s);
	for (size_t left = s->work * 1000; left > 0;) {
		size_t n = left < batch ? left : batch;
		for (size_t i = 0; i < n; i++)
			items[i] = make_item(size);
		left -= n;
		if (order == LIFO)
			for (size_t i = n; i-- > 0;)
				sum = sum * 31 + drop_item(items[i]);
		else if (order == FIFO || n < batch)
			for (size_t i = 0; i < n; i++)
				sum = sum * 31 + drop_item(items[i]);
		else
			/* One order, begun elsewhere each time. */
			for (size_t i = 0, from = next_random(&s->rng) % n; i < n; i++) {
				sum = sum * 31 + drop_item(items[random[from]]);
				from = from + 1 == n ? 0 : from + 1;
			}
	}
	work_ends(s);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		WORD_SETTING('o', "lifo|fifo|random", &order),
		NUMBER_SETTING('b', "objects in a batch", &batch, 1, 1 << 24),
		NUMBER_SETTING('z', "size", &size, sizeof(struct item), 1 << 30),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 80000, settings);

	run_shares(&options, work);
	return 0;
}
