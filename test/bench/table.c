/*
 * table: a table of a million random slots; each step replaces one. The sizes make
 * up what is live, from 64 MiB to 4 GiB: more than any cache of the processor's
 * holds, so that what an allocator touches beside the object counts. To fill the
 * table and to empty it is not timed.
 *
 * usage: table [-t threads] [-n thousand replacements] [-s seed]
 *              [-c slots] [-m MiB live]     (both of all threads together)
 */
#include "bench.h"

static size_t slots = 1000000, mib = 64;

static uint64_t work(struct share *s)
{
	/* Sizes are from half of the mean to half as much again. */
	size_t mean = (mib << 20) / slots, least = mean / 2, most = mean + mean / 2;
	size_t count = slots / s->threads;
	struct item **items = own_pages(count * sizeof(struct item *));
	uint64_t sum = 0;

	if (least < sizeof(struct item))
		least = sizeof(struct item);
	for (size_t i = 0; i < count; i++)
		items[i] = make_item(between(&s->rng, least, most));
	work_begins(s);
	for (size_t n = s->work * 1000; n > 0; n--) {
		struct item **i = &items[next_random(&s->rng) % count];
		sum += drop_item(*i);
		*i = make_item(between(&s->rng, least, most));
	}
	work_ends(s);
	for (size_t i = 0; i < count; i++)
		sum += drop_item(items[i]);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('c', "slots", &slots, 1, 1 << 30),
		NUMBER_SETTING('m', "MiB live", &mib, 1, 1 << 20),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 10000, settings);
	size_t mean = (mib << 20) / slots;

	if (mean < 2 * sizeof(struct item) || mean > UINT32_MAX / 2 || slots < options.threads) {
		fprintf(stderr, "table: %zu slots of %zu bytes are not possible\n", slots, mean);
		return 2;
	}
	run_shares(&options, work);
	return 0;
}
