/*
 * blocks: a few large blocks, of 64 KiB to 32 MiB, are held, touched page by page
 * and freed at random: what page faults cost, and what is kept of freed memory.
 * In the end all are freed; with -i the threads then do nothing, and what is
 * resident is told before and after.
 *
 * usage: blocks [-t threads] [-n blocks] [-s seed] [-c held by a thread]
 *               [-z greatest KiB, a power of two] [-i idle seconds]
 */
#include "bench.h"

#define MIN_SIZE ((size_t)64 << 10)

static size_t held = 8, greatest = 32 << 10;

static uint64_t work(struct share *s)
{
	struct item **blocks = own_pages(held * sizeof(struct item *));
	uint64_t sum = 0;

	for (size_t n = 0; n < s->work;) {
		struct item **b = &blocks[next_random(&s->rng) % held];
		if (*b) {
			sum = sum * 31 + drop_item(*b);
			*b = NULL;
		} else {
			*b = make_item(log_between(&s->rng, MIN_SIZE, greatest << 10));
			n++;
		}
	}
	for (size_t i = 0; i < held; i++)
		if (blocks[i])
			sum = sum * 31 + drop_item(blocks[i]);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('c', "held by a thread", &held, 1, 1 << 20),
		NUMBER_SETTING('z', "greatest KiB", &greatest, 64, 1 << 20),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 1000, settings);

	if (greatest & (greatest - 1)) {
		fprintf(stderr, "blocks: -z takes a power of two\n");
		return 2;
	}
	run_shares(&options, work);
	return 0;
}
