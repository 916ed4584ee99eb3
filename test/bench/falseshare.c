/*
 * falseshare: small objects that are written to often, after Hoard's cache-thrash
 * and cache-scratch. Active (-a): each thread makes, writes and frees its own; an
 * allocator that gives threads parts of one cache line makes them slow. Passive
 * (-p): each begins by freeing an object of the first thread's, all made in a row;
 * an allocator that gives it out again to the thread that freed it shares lines for
 * good. More than one thread is needed to see either.
 *
 * usage: falseshare [-t threads] [-n thousand objects] [-s seed]
 *                   [-a | -p] [-w writes to each] [-z size]
 */
#include "bench.h"

static size_t active, passive, writes = 1000, size = 8;
static unsigned char **given;

static uint64_t work(struct share *s)
{
	uint64_t sum = 0;

	if (s->index == 0 && passive)
		for (size_t t = 0; t < s->threads; t++) {
			given[t] = make(size);
			memset(given[t], (int)t, size);
		}
	work_begins(s);
	if (passive) {
		check_that(given[s->index][size - 1] == (unsigned char)s->index,
		    "what was given changed, thread", s->index);
		drop(given[s->index]);
	}
	for (size_t n = s->work * 1000; n > 0; n--) {
		volatile unsigned char *p = make(size);
		unsigned char from = (unsigned char)next_random(&s->rng);
		for (size_t i = 0; i < size; i++)
			p[i] = from;
		for (size_t w = 0, at = 0; w < writes; w++) {
			p[at]++;
			at = at + 1 < size ? at + 1 : 0;
		}
		for (size_t i = 0; i < size; i++)
			check_that(p[i] == (unsigned char)(from + writes / size +
			    (i < writes % size)), "another thread wrote, to byte", i);
		sum = sum * 31 + p[0];
		drop((void *)(uintptr_t)p);
	}
	work_ends(s);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		SWITCH_SETTING('a', &active),
		SWITCH_SETTING('p', &passive),
		NUMBER_SETTING('w', "writes to each", &writes, 0, 1 << 30),
		NUMBER_SETTING('z', "size", &size, 1, 1 << 20),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 1000, settings);

	if (active && passive) {
		fprintf(stderr, "falseshare: -a or -p\n");
		return 2;
	}
	given = own_pages(options.threads * sizeof(*given));
	run_shares(&options, work);
	return 0;
}
