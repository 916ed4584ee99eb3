/*
 * lookup: whose is an address? Three ways to find the owner of a slab, over the same
 * slabs of 64 KiB, scattered over four times as much address space: a scan of an
 * array of their ranges, a hash table by granule (open addressing, half full), and
 * a flat map of 16 bits a granule, as hakmem has. Addresses come from four of the
 * slabs (hot) or from all of them. The ways must agree. Nothing is allocated by
 * malloc, so it is the same under any.
 *
 * usage: lookup [seed]
 */
#include "bench.h"

#define LG_SLAB 16
#define ADDRESSES (16 * 1024)
#define BASE ((uintptr_t)1 << 40)
/* Lookups by what is fast; scans of many slabs make so many comparisons at most. */
#define LOOKUPS 10000000u
#define COMPARISONS 400000000u

struct range {
	uintptr_t start;
	uint16_t owner;
};

static struct range *ranges, *table;
static uint16_t *map;
static size_t slabs, table_mask;

static unsigned by_scan(uintptr_t address)
{
	for (size_t i = 0; i < slabs; i++)
		if (address - ranges[i].start < (uintptr_t)1 << LG_SLAB)
			return ranges[i].owner;
	return 0;
}

static size_t hash_of(uintptr_t start)
{
	return (start >> LG_SLAB) * 0x9e3779b97f4a7c15u >> 32 & table_mask;
}

static unsigned by_hash(uintptr_t address)
{
	uintptr_t start = address >> LG_SLAB << LG_SLAB;
	size_t at = hash_of(start);

	while (table[at].owner && table[at].start != start)
		at = (at + 1) & table_mask;
	return table[at].owner;
}

static unsigned by_map(uintptr_t address)
{
	return map[(address - BASE) >> LG_SLAB];
}

/* What the loop itself takes. */
static unsigned by_nothing(uintptr_t address)
{
	return address != 0;
}

static void make_slabs(size_t n, uint64_t *rng)
{
	slabs = n;
	for (table_mask = 16; table_mask < 2 * n; table_mask *= 2)
		;
	ranges = own_pages(n * sizeof(*ranges));
	table = own_pages(table_mask * sizeof(*table));
	map = own_pages(4 * n * sizeof(*map));
	table_mask--;
	for (size_t i = 0; i < n; i++) {
		size_t at = 4 * i + next_random(rng) % 4;
		ranges[i].start = BASE + (at << LG_SLAB);
		ranges[i].owner = map[at] = (uint16_t)(i % 65535 + 1);
	}
	/* In no order, as slabs come and go. */
	for (size_t i = n - 1; i > 0; i--) {
		size_t j = next_random(rng) % (i + 1);
		struct range other = ranges[i];
		ranges[i] = ranges[j];
		ranges[j] = other;
	}
	for (size_t i = 0; i < n; i++) {
		size_t at = hash_of(ranges[i].start);
		while (table[at].owner)
			at = (at + 1) & table_mask;
		table[at] = ranges[i];
	}
}

/* Nanoseconds a lookup; the next one's address depends on what the last one found. */
static double measure(unsigned (*look_up)(uintptr_t), const uintptr_t *addresses,
    size_t n, uint64_t *sum)
{
	unsigned owner = 0;
	double began = seconds();

	*sum = 0;
	for (size_t i = 0; i < n; i++) {
		owner = look_up(addresses[(i + (owner == 0)) % ADDRESSES]);
		*sum = *sum * 31 + owner;
	}
	return (seconds() - began) / (double)n * 1e9;
}

static void compare(const char *which, size_t from, uint64_t *rng)
{
	static unsigned (*const ways[])(uintptr_t) = { by_scan, by_hash, by_map, by_nothing };
	static const char *const names[] = { "scan", "hash", "map", "nothing" };
	uintptr_t *addresses = own_pages(ADDRESSES * sizeof(*addresses));
	size_t scans = COMPARISONS / slabs < LOOKUPS ? COMPARISONS / slabs : LOOKUPS;
	uint64_t sums[4], sum;

	for (size_t i = 0; i < ADDRESSES; i++)
		addresses[i] = ranges[next_random(rng) % from * (slabs / from)].start +
		    next_random(rng) % ((uintptr_t)1 << LG_SLAB);
	printf("%7zu slabs, %-4s", slabs, which);
	for (int w = 0; w < 4; w++) {
		/* As many of each, so that they can be compared; it warms the caches, too. */
		double took = measure(ways[w], addresses, scans, &sums[w]);
		if (w != 0)
			took = measure(ways[w], addresses, LOOKUPS, &sum);
		printf("  %s %8.2f ns", names[w], took);
	}
	printf("\n");
	check_that(sums[0] == sums[1] && sums[0] == sums[2], "the ways differ, slabs", slabs);
	munmap(addresses, ADDRESSES * sizeof(*addresses));
}

int main(int argc, char **argv)
{
	static const size_t counts[] = { 8, 32, 1000, 100000 };
	uint64_t rng = seeded(argc > 1 ? strtoull(argv[1], NULL, 10) : SEED, 0);

	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		make_slabs(counts[c], &rng);
		compare("hot", 4, &rng);
		compare("all", slabs, &rng);
	}
	return 0;
}
