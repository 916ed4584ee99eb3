/*
 * growth: does an operation cost more when more is live? The heap is filled to -m
 * MiB with sizes of 16 bytes to 4 KiB, by power law; then are timed
 *
 *   hot    replacing random objects of 1,000: what lies in the caches
 *   refill emptying and filling rows of 5,000 objects: more than a thread's cache
 *          keeps, so that the allocator's lower layers serve
 *   whole  replacing random objects of the whole heap
 *   touch  only writing to random objects of the whole heap, as much as whole does:
 *          the program's own cache and TLB misses
 *
 * in nanoseconds an operation (a malloc or a free; a touch is two). Threads (-t)
 * share the heap and the hot objects, each its part, and wait for each other before
 * each figure.
 *
 * Under hakmem, -a puts the threads into so many arenas by turns, and what its metadata
 * takes is printed, too.
 *
 * usage: growth [-t threads] [-n thousand operations] [-s seed] [-m MiB live]
 *               [-a arenas, 0: as hakmem does]
 */
#include "bench.h"

/* There under hakmem only. */
extern int hak_mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));

#define HOT 1000
#define ROW 5000

enum figure { HOT_FIGURE, REFILL_FIGURE, WHOLE_FIGURE, TOUCH_FIGURE, FIGURES };

static size_t mib = 64, arenas;
static double took[FIGURES], *begins;
static _Atomic uint64_t all_live;

static size_t draw_size(uint64_t *rng)
{
	return log_between(rng, 16, 4096);
}

static uint64_t replace(struct item **items, size_t from, size_t n, uint64_t *rng)
{
	uint64_t sum = 0;

	for (; n > 0; n--) {
		struct item **i = &items[next_random(rng) % from];
		sum += drop_item(*i);
		*i = make_item(draw_size(rng));
	}
	return sum;
}

static uint64_t rows(struct item **row, size_t n, uint64_t *rng)
{
	uint64_t sum = 0;

	for (; n > 0; n -= ROW) {
		for (size_t i = 0; i < ROW; i++)
			row[i] = make_item(64 + next_random(rng) % 4 * 64);
		for (size_t i = 0; i < ROW; i++)
			sum += drop_item(row[i]);
	}
	return sum;
}

static uint64_t touch(struct item **items, size_t from, size_t n, uint64_t *rng)
{
	uint64_t sum = 0;

	for (; n > 0; n--) {
		struct item *i = items[next_random(rng) % from];
		unsigned char *last = (unsigned char *)i + i->size - 1;
		sum += i->size;
		*last ^= 1;
		*last ^= 1;
		draw_size(rng);
	}
	return sum;
}

/* Where there are more threads than processors the first to run begins. */
static void begin(const struct share *s)
{
	meet();
	begins[s->index] = seconds();
}

static void note(const struct share *s, enum figure figure, size_t n)
{
	meet();
	if (s->index == 0) {
		double first = begins[0];
		for (size_t t = 1; t < s->threads; t++)
			first = begins[t] < first ? begins[t] : first;
		took[figure] = (seconds() - first) / (double)(2 * n * s->threads) * 1e9;
	}
	meet();
}

static void join_arena(unsigned arena)
{
	if (hak_mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena)) == 0)
		return;
	fprintf(stderr, "growth: there is no arena %u\n", arena);
	exit(1);
}

/* Bytes; 0: not told. */
static size_t metadata(void)
{
	size_t bytes = 0, length = sizeof(bytes);
	uint64_t epoch = 1;

	if (!hak_mallctl)
		return 0;
	hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	hak_mallctl("stats.metadata", &bytes, &length, NULL, 0);
	return bytes;
}

static uint64_t work(struct share *s)
{
	size_t bytes = (mib << 20) / s->threads, held = 0, count = 0, n = s->work * 1000;
	size_t hot = HOT / s->threads ? HOT / s->threads : 1;
	struct item **items = own_pages((bytes / 16 + hot) * sizeof(*items));
	struct item **row = own_pages(ROW * sizeof(*row));
	uint64_t sum = 0;

	if (arenas)
		join_arena((unsigned)(s->index % arenas));
	while (held < bytes || count < hot) {
		items[count] = make_item(draw_size(&s->rng));
		held += items[count++]->size;
	}
	atomic_fetch_add(&all_live, held);
	work_begins(s);
	begin(s);
	sum += replace(items, hot, n, &s->rng);
	note(s, HOT_FIGURE, n);
	begin(s);
	size_t in_rows = (n + ROW - 1) / ROW * ROW;
	sum += rows(row, in_rows, &s->rng);
	note(s, REFILL_FIGURE, in_rows);
	begin(s);
	sum += touch(items, count, n, &s->rng);
	note(s, TOUCH_FIGURE, n);
	begin(s);
	sum += replace(items, count, n, &s->rng);
	note(s, WHOLE_FIGURE, n);
	work_ends(s);
	if (s->index == 0)
		printf("growth live_mib %zu hot %.2f refill %.2f whole %.2f touch %.2f "
		    "resident/live %.3f metadata/live %.4f\n", mib, took[HOT_FIGURE], took[REFILL_FIGURE],
		    took[WHOLE_FIGURE], took[TOUCH_FIGURE],
		    (double)resident_kib() * 1024 / (double)atomic_load(&all_live),
		    (double)metadata() / (double)atomic_load(&all_live));
	meet();
	for (size_t i = 0; i < count; i++)
		sum += drop_item(items[i]);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('m', "MiB live", &mib, 1, 1 << 20),
		NUMBER_SETTING('a', "arenas", &arenas, 0, 4096),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 1000, settings);

	if (arenas && !hak_mallctl) {
		fprintf(stderr, "growth: -a is for hakmem\n");
		return 2;
	}
	begins = own_pages(options.threads * sizeof(*begins));
	run_shares(&options, work);
	return 0;
}
