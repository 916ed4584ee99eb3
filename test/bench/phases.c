/*
 * phases: fragmentation over time. Each phase fills memory with sizes of its own,
 * replaces half of it at random and frees the rest, but for a few survivors that
 * stay to the end, among which the next phase has to find room. Tells at the end of
 * each phase what is live and what is resident; after the last one with -i also
 * when the threads did nothing for a while.
 *
 * usage: phases [-t threads] [-n phases] [-s seed] [-m MiB live in a phase]
 *               [-k one in how many survives] [-i idle seconds]
 */
#include "bench.h"

static const struct mix {
	size_t least, most;
} mixes[] = {
	{ 16, 64 }, { 256, 2048 }, { 24, 512 }, { 4096, 32768 }, { 80, 200 },
	{ 65536, 524288 }, { 16, 1024 }, { 2048, 16384 },
};
#define MIXES (sizeof(mixes) / sizeof(mixes[0]))

static size_t phases, mib = 64, one_in = 50;
static _Atomic int64_t live;

static uint64_t phase(struct share *s, const struct mix *mix, struct item **survivors)
{
	size_t n = (mib << 20) / s->threads / ((mix->least + mix->most) / 2) + 1;
	struct item **items = own_pages(n * sizeof(struct item *));
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		items[i] = make_item(between(&s->rng, mix->least, mix->most));
	for (size_t k = 0; k < n / 2; k++) {
		struct item **i = &items[next_random(&s->rng) % n];
		sum += drop_item(*i);
		*i = make_item(between(&s->rng, mix->least, mix->most));
	}
	for (size_t i = 0; i < n; i++) {
		if (next_random(&s->rng) % one_in == 0) {
			items[i]->next = *survivors;
			*survivors = items[i];
		} else {
			sum += drop_item(items[i]);
		}
	}
	/* Gone before what is resident is counted. */
	munmap(items, n * sizeof(struct item *));
	return sum;
}

static uint64_t work(struct share *s)
{
	struct item *survivors = NULL;
	uint64_t sum = 0;
	int64_t before = 0;

	for (size_t p = 0; p < phases; p++) {
		sum = sum * 31 + phase(s, &mixes[p % MIXES], &survivors);
		atomic_fetch_add(&live, live_bytes - before);
		before = live_bytes;
		meet();
		if (s->index == 0)
			printf("phase %zu live %lld resident %ld\n", p + 1,
			    (long long)atomic_load(&live) / 1024, resident_kib());
		meet();
	}
	work_ends(s);
	/* What stayed is as it was. */
	for (struct item *next; survivors; survivors = next) {
		next = survivors->next;
		sum += drop_item(survivors);
	}
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('m', "MiB live in a phase", &mib, 1, 1 << 20),
		NUMBER_SETTING('k', "one in how many survives", &one_in, 1, SIZE_MAX),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 2 * MIXES, settings);

	phases = options.work;
	run_shares(&options, work);
	return 0;
}
