/*
 * lifetimes: what a compiler does to its heap. One object in 64 stays for the
 * whole run, the others live for 1 to 131,071 allocations, as many of each power
 * of two. Sizes follow a power law: half of them are twice as large as the rest,
 * half of those again, up to 1 MiB.
 *
 * usage: lifetimes [-t threads] [-n thousand objects] [-s seed]
 */
#include "bench.h"

#define OCTAVES 17
#define WHEEL ((size_t)1 << OCTAVES)
#define MIN_SIZE 16
#define MAX_SIZE (1 << 20)
#define STAYS 64

static size_t draw_size(uint64_t *rng)
{
	size_t from = (size_t)MIN_SIZE << __builtin_ctzll(next_random(rng) | 1 << 16);
	size_t size = from + next_random(rng) % from;

	return size < MAX_SIZE ? size : MAX_SIZE;
}

static void push(struct item **list, struct item *i)
{
	i->next = *list;
	*list = i;
}

static uint64_t work(struct share *s)
{
	/* What dies at each of the next allocations. */
	struct item **wheel = own_pages(WHEEL * sizeof(struct item *));
	struct item *stay = NULL;
	uint64_t sum = 0;

	for (size_t now = 0; now < s->work * 1000; now++) {
		struct item *i = make_item(draw_size(&s->rng));
		uint64_t r = next_random(&s->rng);
		sum += i->size;
		if (r % STAYS == 0) {
			push(&stay, i);
		} else {
			size_t least = (size_t)1 << (r >> 8) % OCTAVES;
			push(&wheel[(now + least + (r >> 32) % least) % WHEEL], i);
		}
		struct item **due = &wheel[now % WHEEL];
		drop_items(*due);
		*due = NULL;
	}
	for (size_t i = 0; i < WHEEL; i++)
		drop_items(wheel[i]);
	drop_items(stay);
	munmap(wheel, WHEEL * sizeof(struct item *));
	return sum;
}

int main(int argc, char **argv)
{
	struct options options = parse_options(argc, argv, 30000);

	run_shares(&options, work);
	return 0;
}
