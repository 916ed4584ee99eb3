/* Unit tests of the modules below the entry layer, a case a module. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "arena/arena.h"
#include "arena/background.h"
#include "base/bits.h"
#include "base/list.h"
#include "base/options.h"
#include "base/size_class.h"
#include "ctl/conf.h"
#include "entry/entry.h"
#include "page/decay.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"

START_TEST(size_class_each_size_fits_and_wastes_little)
{
	for (size_t size = 1; size <= L25_MAX; size += size < 4096 ? 1 : 61) {
		size_t class = size_class_of(size), fit = size_class_size(class);
		ck_assert_uint_ge(fit, size);
		if (class > 1)
			ck_assert_uint_lt(size_class_size(class - 1), size);
		/* Three classes have no neighbour below within a fifth: 48 and 64 KiB, of
		 * whole granules, and 768 KiB. */
		if (size > 128)
			ck_assert_uint_le((fit - size) * (fit == 48 * KiB || fit == 64 * KiB ||
			    fit == 768 * KiB ? 3 : 5), fit);
		if (fit >= 16)
			ck_assert_uint_eq(fit % 16, 0);
	}
	for (size_t page = 1 * KiB; page <= 16 * KiB; page *= page == 1 * KiB ? 4 : 2)
		ck_assert_uint_eq(size_class_size(size_class_of(page + 8)), page + page / 8);
	ck_assert_uint_eq(size_class_of(1024), CLASS_L2 - 1);
	ck_assert_uint_eq(size_class_of(32 * KiB), CLASS_L25 - 1);
	ck_assert_uint_eq(size_class_of(L25_MAX), CLASS_WHALE - 1);
}
END_TEST

/* What aligned allocations count on; of L2.5 each object starts at a granule. */
START_TEST(size_class_of_a_multiple_of_an_alignment_is_one)
{
	for (size_t alignment = 8; alignment <= GRANULE; alignment *= 2)
		for (size_t size = alignment; size <= L2_MAX; size += alignment)
			ck_assert_uint_eq(size_class_size(size_class_of(size)) % alignment, 0);
}
END_TEST

START_TEST(size_class_slot_is_exact_in_the_whole_slab)
{
	for (size_t class = 1; class < CLASS_L25; class++) {
		size_t size = size_class_size(class);
		size_t slab = size_classes[class].granules * GRANULE;
		ck_assert_uint_le(size_classes[class].slots, SLAB_SLOTS_MAX);
		for (size_t offset = 0; offset < slab; offset++)
			ck_assert_uint_eq(size_class_slot(class, offset), offset / size);
	}
}
END_TEST

START_TEST(bits_all_set_sees_each_bit)
{
	uint64_t words[3] = { ~0ull, ~0ull, ~0ull };

	ck_assert(bits_all_set(words, 0, 191));
	for (unsigned hole = 0; hole < 192; hole++) {
		words[hole / 64] &= ~(1ull << hole % 64);
		for (unsigned first = 0; first < 192; first += 7)
			for (unsigned last = first; last < 192; last += 5)
				ck_assert(bits_all_set(words, first, last) ==
				    (hole < first || hole > last));
		words[hole / 64] = ~0ull;
	}
}
END_TEST

START_TEST(lock_excludes_and_counts)
{
	struct lock lock = LOCK_INITIALIZER;

	lock_acquire(&lock);
	ck_assert(!lock_try(&lock));
	lock_release(&lock);
	ck_assert(lock_try(&lock));
	lock_release(&lock);
	ck_assert_uint_eq(counter_get(&lock.acquired), 1);
	ck_assert_uint_eq(lock_contended(&lock), 0);
}
END_TEST

START_TEST(decay_lets_go_of_all_after_its_time_and_of_nothing_at_first)
{
	struct decay decay = { 0 };
	size_t unused = 1000, last = 1000;

	ck_assert_uint_eq(decay_limit(&decay, 0, 1, unused), 0);
	ck_assert_uint_eq(decay_limit(&decay, -1, 1, unused), unused);
	ck_assert_uint_eq(decay_limit(&decay, 1000, 1, unused), unused);
	for (uint64_t now = 40; now < 600; now += 40) {
		size_t limit = decay_limit(&decay, 1000, now, unused);
		ck_assert_uint_le(limit, last);
		last = unused = limit;
	}
	ck_assert_uint_gt(last, 300);
	ck_assert_uint_lt(last, 800);
	for (uint64_t now = 600; now < 1200; now += 40)
		unused = decay_limit(&decay, 1000, now, unused);
	ck_assert_uint_eq(unused, 0);
}
END_TEST

START_TEST(decay_follows_a_shorter_time)
{
	struct decay decay = { 0 };
	size_t unused = 1000;

	ck_assert_uint_eq(decay_limit(&decay, 600000, 1, unused), unused);
	for (uint64_t now = 100; now < 800; now += 20)
		unused = decay_limit(&decay, 300, now, unused);
	ck_assert_uint_eq(unused, 0);
}
END_TEST

START_TEST(os_purged_memory_reads_zero_even_where_it_is_locked)
{
	size_t size = 4 * PAGE;
	char *p = os_map(NULL, size);

	for (int locked = 0; locked < 2; locked++) {
		memset(p, 7, size);
		if (locked && mlock(p, size) != 0)
			break; /* RLIMIT_MEMLOCK */
		os_purge(p, size);
		for (size_t i = 0; i < size; i++)
			ck_assert_int_eq(p[i], 0);
	}
	os_unmap(p, size);
}
END_TEST

START_TEST(bin_asks_for_the_background_thread_when_the_depot_fills)
{
	/* The depot holds 1,024 of these. */
	struct bin *bin = &arena_ensure(1)->bins[size_class_of(256)];
	static void *objects[1000];
	bool asked = false;
	unsigned n = 0;

	while (n < 1000)
		n += bin_refill(bin, 0, objects + n, 1000 - n, NULL);
	for (unsigned i = 0; i < 1000; i += 50)
		asked |= bin_flush(bin, 0, objects + i, 50);
	ck_assert_uint_eq(bin_depot_objects(bin), 1000);
	ck_assert(!asked);
	ck_assert_uint_eq(bin_refill(bin, 0, objects, 50, NULL), 50);
	asked = bin_flush(bin, 0, objects, 50);
	ck_assert(asked);
	bin_purge(bin, os_now_ms(), 0, true);
}
END_TEST

static void give_back(struct slab *slab, void *object)
{
	struct slab *given[GIVEN_SLABS];
	unsigned ngiven;

	ck_assert_uint_eq(slabs_give(slab->extent.arena, slab->extent.class, &object, 1, given,
	    &ngiven), 1);
	ck_assert_uint_eq(ngiven, 1);
	ck_assert_ptr_eq(given[0], slab);
}

START_TEST(arena_sees_that_a_parcel_brings_what_is_not_its_own)
{
	struct arena *arena = arena_ensure(1);
	struct parcel *p = parcel_new();
	struct slab *slab;
	bool zeroed;

	/* Freed by its owner, too: its slab has gone back meanwhile. */
	slab = slab_new(1, size_class_of(64), 0, &zeroed);
	slab_take(slab, &p->objects[0], 1);
	p->arena = 1;
	p->count = 1;
	p->bytes = 64;
	give_back(slab, p->objects[0]);
	slab_delete(slab);
	inbox_push(&arena->inbox, p);
	arena_drain_inbox(arena);
}
END_TEST

START_TEST(metadata_is_zero_and_reused)
{
	char *p = metadata_alloc(100);

	for (int i = 0; i < 128; i++)
		ck_assert_int_eq(p[i], 0);
	p[5] = 1;
	metadata_free(p, 100);
	char *q = metadata_alloc(128);
	ck_assert_ptr_eq(p, q);
	ck_assert_int_eq(q[5], 0);
	metadata_free(q, 128);
}
END_TEST

START_TEST(metadata_shares_no_cache_line_but_between_descriptors)
{
	static const size_t sizes[] = { 8, 64, 128, 192, 4096, 5000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		metadata_alloc(96);
		ck_assert_uint_eq((uintptr_t)metadata_alloc(sizes[i]) % CACHE_LINE, 0);
		metadata_alloc(96);
		ck_assert_uint_eq((uintptr_t)metadata_alloc(sizes[i]) % CACHE_LINE, 0);
	}
	/* Two in three lines. */
	metadata_alloc(8);
	char *p = metadata_alloc(96);
	ck_assert_ptr_eq((char *)metadata_alloc(96), p + 96);
}
END_TEST

/* Where address space is limited, or charged (overcommit mode 2), what is not used is not
 * to be taken. */
START_TEST(page_heap_takes_a_chunk_at_a_time)
{
	struct page_heap_stats stats;
	bool zeroed;

	for (int i = 0; i < 1000; i++) {
		struct extent *e = metadata_alloc(sizeof(*e));
		e->arena = 1;
		e->class = 1;
		ck_assert(page_heap_alloc(e, 1, &zeroed));
		page_heap_stats(&stats);
		ck_assert_uint_lt(stats.mapped - stats.active, CHUNK);
	}
}
END_TEST

START_TEST(page_heap_runs_are_apart_and_come_back_together)
{
	struct extent extents[200] = { 0 };
	struct page_heap_stats before, after;
	bool zeroed;

	page_heap_stats(&before);
	for (int i = 0; i < 200; i++) {
		extents[i].class = 5;
		extents[i].arena = 1;
		ck_assert(page_heap_alloc(&extents[i], (size_t)i % 64 + 1, &zeroed));
		ck_assert_uint_eq((uintptr_t)extents[i].base % GRANULE, 0);
		ck_assert_uint_eq(page_map_get(extents[i].base + extents[i].size - 1),
		    page_map_entry(1, 5));
		ck_assert_ptr_eq(page_map_extent(extents[i].base), &extents[i]);
		for (int k = 0; k < i; k++)
			ck_assert(extents[k].base + extents[k].size <= extents[i].base ||
			    extents[i].base + extents[i].size <= extents[k].base);
	}
	for (int i = 0; i < 200; i++) {
		page_heap_free(&extents[i]);
		ck_assert_uint_eq(page_map_get(extents[i].base), 0);
		ck_assert(page_map_was_ours(extents[i].base));
	}
	page_heap_stats(&after);
	ck_assert_uint_eq(after.active, before.active);
	ck_assert_uint_gt(page_heap_purge(true), 0);
	page_heap_stats(&after);
	ck_assert_uint_eq(after.dirty + after.muzzy, 0);
}
END_TEST

START_TEST(page_heap_says_truly_what_reads_zero)
{
	struct extent extent = { .class = 1, .arena = 1 };
	bool zeroed;

	page_heap_purge(true);
	for (int round = 0; round < 3; round++) {
		ck_assert(page_heap_alloc(&extent, 2, &zeroed));
		if (zeroed)
			for (size_t i = 0; i < extent.size; i++)
				ck_assert_int_eq(extent.base[i], 0);
		ck_assert(zeroed == (round != 1));
		memset(extent.base, 1, extent.size);
		page_heap_free(&extent);
		if (round == 1)
			page_heap_purge(true);
	}
}
END_TEST

START_TEST(page_heap_serves_again_what_was_freed_and_joins_it_for_more)
{
	/* Fewer than are kept as they are, and more; 42 are a chunk, but for two granules. */
	static const int counts[] = { 42, 600 };
	static struct extent small[600], large;
	struct page_heap_stats before, after;
	bool zeroed;

	/* No decay in between. */
	AO_store(&settings.dirty_decay_ms, (AO_t)-1);
	for (int k = 0; k < 2; k++) {
		int n = counts[k];
		page_heap_purge(true);
		for (int i = 0; i < n; i++)
			ck_assert(page_heap_alloc(&small[i], 3, &zeroed));
		for (int i = 0; i < n; i++)
			page_heap_free(&small[i]);
		page_heap_stats(&before);
		ck_assert_uint_eq(before.dirty, (size_t)n * 3 * GRANULE);
		char *last = small[n - 1].base;
		ck_assert(page_heap_alloc(&small[0], 3, &zeroed));
		ck_assert(!zeroed);
		ck_assert_ptr_eq(small[0].base, last);
		ck_assert(page_heap_alloc(&large, 100, &zeroed));
		ck_assert(!zeroed);
		page_heap_stats(&after);
		ck_assert_uint_eq(after.mapped, before.mapped);
		ck_assert_uint_eq(after.dirty, before.dirty - 103 * GRANULE);
		page_heap_free(&large);
		page_heap_free(&small[0]);
		ck_assert_uint_eq(page_heap_purge(true), before.dirty);
	}
	page_heap_release();
	page_heap_stats(&after);
	ck_assert_uint_lt(after.mapped, before.mapped);
}
END_TEST

START_TEST(page_heap_leaves_kept_runs_alone_where_another_fits)
{
	static struct extent extents[3], taken;
	struct chunk_view view;
	bool zeroed;

	AO_store(&settings.dirty_decay_ms, (AO_t)-1);
	page_heap_purge(true);
	ck_assert(page_heap_alloc(&extents[0], 10, &zeroed));
	ck_assert(page_heap_alloc(&extents[1], 3, &zeroed));
	ck_assert(page_heap_alloc(&extents[2], 10, &zeroed));
	ck_assert_ptr_eq(extents[1].base, extents[0].base + 10 * GRANULE);
	char *fitting = extents[0].base, *kept = extents[1].base;
	page_heap_free(&extents[0]);
	page_heap_view(0, &view); /* joins */
	page_heap_free(&extents[1]);
	ck_assert(page_heap_alloc(&taken, 9, &zeroed));
	ck_assert_ptr_eq(taken.base, fitting);
	ck_assert(page_heap_alloc(&extents[1], 3, &zeroed));
	ck_assert_ptr_eq(extents[1].base, kept);
	/* Of 10 and the 3 behind it all are for one of 12; no run fits as they are. */
	page_heap_free(&taken);
	page_heap_free(&extents[1]);
	ck_assert(page_heap_alloc(&taken, 12, &zeroed));
	ck_assert_ptr_eq(taken.base, fitting);
	page_heap_free(&taken);
	page_heap_free(&extents[2]);
}
END_TEST

START_TEST(page_heap_gives_a_side_what_it_had)
{
	static struct extent extents[SIDES];
	char *had[SIDES];
	bool zeroed;

	for (unsigned i = 0; i < SIDES; i++) {
		extents[i] = (struct extent) { .class = 1, .arena = 1, .side = (uint8_t)i };
		ck_assert(page_heap_alloc(&extents[i], 7, &zeroed));
		had[i] = extents[i].base;
	}
	for (unsigned i = 0; i < SIDES; i++)
		page_heap_free(&extents[i]);
	/* Neither the first nor the last freed come first. */
	for (unsigned n = 0; n < SIDES; n++) {
		unsigned i = (n + 1) % SIDES;
		ck_assert(page_heap_alloc(&extents[i], 7, &zeroed));
		ck_assert_ptr_eq(extents[i].base, had[i]);
	}
	/* The heap does not grow for it: what another had is taken, too. */
	page_heap_free(&extents[1]);
	extents[1].side = 3;
	ck_assert(page_heap_alloc(&extents[1], 7, &zeroed));
	ck_assert_ptr_eq(extents[1].base, had[1]);
	for (unsigned i = 0; i < SIDES; i++)
		page_heap_free(&extents[i]);
}
END_TEST

START_TEST(page_heap_describes_one_object_by_its_start)
{
	struct extent extent = { .class = CLASS_L25 + 2, .arena = 1 };
	bool zeroed;

	ck_assert(page_heap_alloc(&extent, 4, &zeroed));
	ck_assert_uint_eq(page_map_get(extent.base), page_map_entry(1, CLASS_L25 + 2));
	for (size_t g = 1; g < 4; g++) {
		ck_assert_uint_eq(page_map_get(extent.base + g * GRANULE), 0);
		ck_assert_ptr_eq(page_map_find_around(extent.base + g * GRANULE + 5), &extent);
	}
	ck_assert_ptr_ne(page_map_find_around(extent.base + 4 * GRANULE), &extent);
	page_heap_free(&extent);
	ck_assert(page_map_was_ours(extent.base));
}
END_TEST

START_TEST(page_heap_resizes_where_it_is)
{
	static struct extent extents[5];
	struct page_heap_stats before, after;
	char *base;
	bool zeroed;

	AO_store(&settings.dirty_decay_ms, (AO_t)-1);
	for (int i = 0; i < 5; i++) {
		extents[i].arena = 1;
		extents[i].class = 1;
		ck_assert(page_heap_alloc(&extents[i], 3, &zeroed));
		if (i > 0)
			ck_assert_ptr_eq(extents[i].base, extents[i - 1].base + 3 * GRANULE);
	}
	base = extents[0].base;
	/* Taken; in part; free, but dirty, and kept aside. */
	ck_assert(!page_heap_grow(&extents[0], 4, &zeroed));
	page_heap_free(&extents[1]);
	ck_assert(!page_heap_grow(&extents[0], 7, &zeroed));
	ck_assert_uint_eq(extents[0].size, 3 * GRANULE);
	ck_assert_uint_eq(page_map_get(base + 3 * GRANULE), 0);
	page_heap_stats(&before);
	extents[0].class = 2;
	zeroed = true;
	ck_assert(page_heap_grow(&extents[0], 5, &zeroed));
	ck_assert(!zeroed);
	page_heap_stats(&after);
	ck_assert_uint_eq(after.active, before.active + 2 * GRANULE);
	ck_assert_uint_eq(after.dirty, before.dirty - 2 * GRANULE);
	ck_assert_uint_eq(extents[0].size, 5 * GRANULE);
	ck_assert_uint_eq(page_map_get(base), page_map_entry(1, 2));
	ck_assert_uint_eq(page_map_get(base + 4 * GRANULE), page_map_entry(1, 2));
	ck_assert_ptr_eq(page_map_extent(base + 4 * GRANULE), &extents[0]);
	/* Nobody gets what it has now, and what it gives up somebody does. */
	ck_assert(page_heap_alloc(&extents[1], 1, &zeroed));
	ck_assert_ptr_eq(extents[1].base, base + 5 * GRANULE);
	page_heap_free(&extents[1]);
	page_heap_shrink(&extents[0], 2);
	ck_assert_uint_eq(extents[0].size, 2 * GRANULE);
	ck_assert_uint_eq(page_map_get(base + 2 * GRANULE), 0);
	ck_assert(page_heap_alloc(&extents[1], 4, &zeroed));
	ck_assert_ptr_eq(extents[1].base, base + 2 * GRANULE);
	page_heap_stats(&after);
	ck_assert_uint_eq(after.active, before.active + 3 * GRANULE);
	/* Behind the last nothing was used yet; and no extent leaves its chunk. */
	ck_assert(page_heap_grow(&extents[4], 6, &zeroed));
	ck_assert(zeroed);
	ck_assert(!page_heap_grow(&extents[4], CHUNK_GRANULES, &zeroed));
	for (int i = 0; i < 5; i++)
		page_heap_free(&extents[i]);
	page_heap_stats(&after);
	ck_assert_uint_eq(after.active, before.active - 12 * GRANULE);
}
END_TEST

START_TEST(whale_cache_serves_again_and_decays)
{
	struct whale_stats stats;
	bool zeroed;
	char *p = whale_alloc(3 * MiB / 2, GRANULE, 0, 0, &zeroed);

	ck_assert(zeroed);
	ck_assert_uint_eq(whale_size(p), 3 * MiB / 2);
	ck_assert_uint_eq(whale_size(p + GRANULE), 0);
	memset(p, 7, 3 * MiB / 2);
	whale_free(p, 0);
	ck_assert_uint_eq(whale_size(p), 0);
	ck_assert_ptr_eq(whale_alloc(3 * MiB / 2, GRANULE, 0, 0, &zeroed), p);
	ck_assert(!zeroed);
	whale_free(p, 0);
	ck_assert_uint_gt(whale_purge(true), 0);
	whale_stats(&stats);
	ck_assert_uint_eq(stats.cached_bytes, 0);
	ck_assert_uint_eq(stats.live, 0);
}
END_TEST

START_TEST(whale_cache_gives_a_side_what_it_had)
{
	void *held[3]; /* the one between keeps the others apart */
	bool zeroed;

	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(held[i] = whale_alloc(MiB / 2, GRANULE, 0, 0, &zeroed));
	whale_free(held[0], 1);
	whale_free(held[2], 2);
	ck_assert_ptr_eq(whale_alloc(MiB / 2, GRANULE, 0, 1, &zeroed), held[0]);
	/* No more is mapped for it. */
	ck_assert_ptr_eq(whale_alloc(MiB / 2, GRANULE, 0, 1, &zeroed), held[2]);
	for (int i = 0; i < 3; i++)
		whale_free(held[i], 0);
	whale_purge(true);
}
END_TEST

/* Else the page map grows with every mapping that ever was. */
static void allocate_and_free_whales(void)
{
	void *held[4];
	bool zeroed;

	for (int i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(held[i] = whale_alloc(2 * MiB, GRANULE, 0, 0, &zeroed));
	for (int i = 0; i < 4; i++)
		whale_free(held[i], 0);
}

START_TEST(whale_cache_keeps_what_it_missed)
{
	struct whale_stats first, second, third;

	allocate_and_free_whales();
	whale_stats(&first);
	ck_assert_uint_eq(first.cached_bytes, 2 * MiB);
	/* Three are missed that had been let go of. */
	allocate_and_free_whales();
	whale_stats(&second);
	ck_assert_uint_eq(second.misses - first.misses, 3);
	ck_assert_uint_eq(second.cached_bytes, 8 * MiB);
	allocate_and_free_whales();
	whale_stats(&third);
	ck_assert_uint_eq(third.misses, second.misses);
	whale_purge(true);
	whale_stats(&third);
	ck_assert_uint_eq(third.cached_bytes, 0);
}
END_TEST

static void grow_and_free_whale(void)
{
	bool zeroed;
	char *p = whale_alloc(2 * MiB, GRANULE, 0, 0, &zeroed);

	for (size_t size = 4 * MiB; size <= 16 * MiB; size *= 2)
		ck_assert_ptr_nonnull(p = whale_resize(p, size, true, false));
	whale_free(p, 0);
}

START_TEST(whale_cache_keeps_what_a_growth_missed)
{
	struct whale_stats first, second;

	grow_and_free_whale();
	whale_stats(&first);
	ck_assert_uint_eq(first.cached_bytes, 2 * MiB);
	grow_and_free_whale();
	whale_stats(&second);
	ck_assert_uint_ge(second.cached_bytes, 16 * MiB);
	whale_purge(true);
}
END_TEST

/* Unless nothing is ever to go back (-1). */
START_TEST(whale_cache_makes_room_for_the_heap)
{
	static struct extent extents[3];
	size_t cached[4];
	struct whale_stats stats;
	bool zeroed;

	allocate_and_free_whales();
	allocate_and_free_whales();
	/* To rest, it has to lie there for a while. */
	nanosleep(&(struct timespec) { 0, 40000000 }, NULL);
	for (int i = 0; i < 4; i++) {
		whale_stats(&stats);
		cached[i] = stats.cached_bytes;
		if (i == 2)
			AO_store(&settings.dirty_decay_ms, (AO_t)-1);
		if (i == 3)
			break;
		extents[i].arena = extents[i].class = 1;
		ck_assert(page_heap_alloc(&extents[i], CHUNK_GRANULES, &zeroed));
	}
	ck_assert_uint_ge(cached[0], 2 * CHUNK);
	ck_assert_uint_eq(cached[1], cached[0] - CHUNK);
	ck_assert_uint_eq(cached[2], cached[1] - CHUNK);
	ck_assert_uint_eq(cached[3], cached[2]);
}
END_TEST

START_TEST(whales_use_address_space_again)
{
	char *held[16] = { NULL }, *lowest = NULL, *highest = NULL;
	unsigned seed = 7;
	bool zeroed;

	for (int i = 0; i < 20000; i++) {
		unsigned r = (unsigned)rand_r(&seed);
		char **place = &held[r % 16];
		if (*place)
			whale_free(*place, 0);
		*place = whale_alloc(MiB + r / 16 % (8 * MiB), GRANULE, 0, 0, &zeroed);
		ck_assert_ptr_nonnull(*place);
		if (!lowest || *place < lowest)
			lowest = *place;
		if (!highest || *place > highest)
			highest = *place;
		if (i % 7 == 0)
			whale_purge(true);
	}
	ck_assert_uint_lt((size_t)(highest - lowest), 2 * GiB);
	for (int i = 0; i < 16; i++)
		if (held[i])
			whale_free(held[i], 0);
}
END_TEST

START_TEST(whale_keeps_its_contents_when_it_grows)
{
	bool zeroed;
	char *p = whale_alloc(2 * MiB, GRANULE, 0, 0, &zeroed);

	memset(p, 3, 2 * MiB);
	char *grown = whale_resize(p, 40 * MiB, true, true);
	ck_assert_ptr_nonnull(grown);
	for (size_t i = 0; i < 2 * MiB; i += 512)
		ck_assert_int_eq(grown[i], 3);
	for (size_t i = 2 * MiB; i < 40 * MiB; i += 4096)
		ck_assert_int_eq(grown[i], 0);
	ck_assert_ptr_eq(whale_resize(grown, 5 * MiB, false, false), grown);
	ck_assert_uint_eq(whale_size(grown), 5 * MiB);
	whale_free(grown, 0);
}
END_TEST

/* What one grows by comes out of the cache: by a copy to what serves it whole, or by as
 * much being let go of. */
START_TEST(a_whale_grows_at_the_expense_of_the_cache)
{
	struct whale_stats before, after;
	bool zeroed;

	allocate_and_free_whales();
	allocate_and_free_whales();
	char *p = whale_alloc(3 * MiB / 2, GRANULE, 0, 0, &zeroed);
	whale_stats(&before);
	ck_assert_uint_gt(before.cached_bytes, 4 * MiB);
	/* By a tenth: not worth the copy. To 2 MiB and more: it is. */
	p = whale_resize(p, 13 * MiB / 8, true, false);
	ck_assert_ptr_nonnull(p);
	memset(p, 7, 13 * MiB / 8);
	whale_stats(&before);
	char *copy = whale_resize(p, 5 * MiB / 2, true, true);
	ck_assert_ptr_ne(copy, p);
	for (size_t i = 0; i < 5 * MiB / 2; i++)
		ck_assert_int_eq(copy[i], i < 13 * MiB / 8 ? 7 : 0);
	whale_stats(&after);
	ck_assert_uint_eq(after.live, before.live);
	ck_assert_uint_eq(after.live_bytes + after.cached_bytes,
	    before.live_bytes + before.cached_bytes);
	p = copy;
	/* Not there: the system's. */
	p = whale_resize(p, 12 * MiB, true, false);
	ck_assert_ptr_nonnull(p);
	whale_stats(&after);
	ck_assert_uint_eq(after.live_bytes, 12 * MiB);
	ck_assert_uint_eq(after.cached_bytes, 0);
	whale_free(p, 0);
	whale_purge(true);
}
END_TEST

START_TEST(whale_alignment_holds)
{
	bool zeroed;

	for (size_t alignment = GRANULE; alignment <= 64 * MiB; alignment *= 2) {
		char *p = whale_alloc(100, alignment, 0, 0, &zeroed);
		ck_assert_uint_eq((uintptr_t)p % alignment, 0);
		whale_free(p, 0);
	}
}
END_TEST

START_TEST(slab_takes_lowest_first_and_purges_only_free_pages)
{
	bool zeroed;
	struct slab *slab = slab_new(1, size_class_of(64), 0, &zeroed);
	void *objects[1024];

	ck_assert_uint_eq(slab_take(slab, objects, 1024), 1024);
	for (int i = 0; i < 1024; i++) {
		ck_assert_ptr_eq(objects[i], slab->extent.base + i * 64);
		memset(objects[i], i | 1, 64);
	}
	ck_assert_uint_eq(slab_purge(slab), 0);
	for (int i = 0; i < 1024; i++)
		if (i != 100)
			give_back(slab, objects[i]);
	ck_assert_uint_eq(slab_purge(slab), slab->extent.size - PAGE);
	ck_assert_uint_eq(slab_purge(slab), 0);
	ck_assert_int_eq(*(char *)objects[100], 101);
	ck_assert_int_eq(*(char *)objects[0], 0);
	give_back(slab, objects[100]);
	slab_delete(slab);
}
END_TEST

/* Slabs that follow each other have their first slots at each of the places in turn, all
 * slots within, at multiples of SLAB_COLOUR where the class is one; and pages with a live slot
 * stay whatever place that is. */
START_TEST(slabs_begin_at_each_colour)
{
	static const struct { size_t size; unsigned colours; } classes[] = {
		{ 128, 1 }, { 192, 1 }, { 256, 2 }, { 384, 1 }, { 512, 4 }, { 768, 2 },
		{ 896, 1 }, { 1024, 8 }, { 1152, 1 }, { 4096, 1 },
	};
	bool zeroed;

	for (unsigned i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		size_t size = classes[i].size, class = size_class_of(size);
		unsigned n = classes[i].colours, seen = 0;
		struct slab *slabs[8];
		void *objects[SLAB_SLOTS_MAX];
		ck_assert_uint_eq(size_classes[class].colours, n);
		for (unsigned k = 0; k < n; k++) {
			struct slab *slab = slabs[k] = slab_new(1, class, 0, &zeroed);
			char *base = slab->extent.base;
			unsigned slots = slab_take(slab, objects, SLAB_SLOTS_MAX);
			ck_assert_uint_eq(slots, size_classes[class].slots);
			ck_assert_uint_ge(slots * size + size, slab->extent.size - size);
			for (unsigned s = 0; s < slots; s++) {
				char *object = objects[s];
				ck_assert_ptr_eq(object, (char *)objects[0] + s * size);
				if (size % SLAB_COLOUR == 0)
					ck_assert_uint_eq((uintptr_t)object % SLAB_COLOUR, 0);
				memset(object, (int)s + 1, size);
			}
			ck_assert((char *)objects[0] >= base);
			ck_assert((char *)objects[slots - 1] + size <= base + slab->extent.size);
			seen |= 1u << ((char *)objects[0] - base) / (ptrdiff_t)SLAB_COLOUR;
			for (unsigned s = 0; s < slots; s++)
				if (s % 7 != 3)
					give_back(slab, objects[s]);
			slab_purge(slab);
			for (unsigned s = 3; s < slots; s += 7) {
				for (size_t b = 0; b < size; b++)
					ck_assert_int_eq(((unsigned char *)objects[s])[b], (unsigned char)(s + 1));
				give_back(slab, objects[s]);
			}
		}
		ck_assert_uint_eq(seen, (1u << n) - 1);
		for (unsigned k = 0; k < n; k++)
			slab_delete(slabs[k]);
		page_heap_purge(true);
	}
}
END_TEST

START_TEST(slab_gives_cache_lines_that_are_whole)
{
	for (size_t class = 1; size_class_size(class) < CACHE_LINE; class++) {
		size_t size = size_class_size(class), group = size_class_line_group(class);
		bool zeroed;
		struct slab *slab = slab_new(1, class, 0, &zeroed);
		static void *all[SLAB_SLOTS_MAX], *objects[16];

		ck_assert_uint_eq(group * size % CACHE_LINE, 0);
		unsigned n = slab_take(slab, all, SLAB_SLOTS_MAX);
		/* A group but for its last slot, then two whole ones. */
		for (size_t i = 0; i < 3 * group; i++)
			if (i != group - 1)
				give_back(slab, all[i]);
		ck_assert_uint_eq(slab_take_lines(slab, objects, 16), 2 * group);
		for (size_t i = 0; i < 2 * group; i++)
			ck_assert_ptr_eq(objects[i], all[group + i]);
		ck_assert_uint_eq(slab->free, group - 1);
		ck_assert_uint_eq(slab_take(slab, objects, 16), group - 1);
		ck_assert_ptr_eq(objects[0], all[0]);
		for (unsigned i = 0; i < n; i++)
			give_back(slab, all[i]);
		slab_delete(slab);
	}
}
END_TEST

START_TEST(slab_sees_a_double_free)
{
	bool zeroed;
	struct slab *slab = slab_new(1, size_class_of(64), 0, &zeroed);
	void *object;

	slab_take(slab, &object, 1);
	give_back(slab, object);
	give_back(slab, object);
}
END_TEST

START_TEST(arena_is_kept_where_others_have_no_fewer_threads)
{
	arenas_grow(1);
	struct arena *by_hash = arena_join(NULL), *other = arena_join(NULL);

	ck_assert_ptr_ne(by_hash, other);
	/* One more there, beside the one that asks. */
	counter_add(&other->threads, 1);
	ck_assert_ptr_eq(arena_join(other), other);
	/* Which counted it a second time. */
	ck_assert_ptr_eq(arena_join(other), by_hash);
}
END_TEST

START_TEST(slabs_take_back_what_is_mixed)
{
	enum { SLABS = GIVEN_SLABS + 10, EACH = 8 };
	static struct slab *slabs[SLABS], *given[GIVEN_SLABS];
	static void *objects[SLABS * EACH];
	size_t class = size_class_of(2048);
	unsigned ngiven, n = 0;
	bool zeroed;

	for (unsigned i = 0; i < SLABS; i++) {
		void *all[EACH];
		slabs[i] = slab_new(1, class, 0, &zeroed);
		ck_assert_uint_eq(slab_take(slabs[i], all, EACH), EACH);
		for (unsigned k = 0; k < EACH; k++)
			objects[k * SLABS + i] = all[k];
	}
	/* As many slabs as it has room for, and their objects. */
	while (n < SLABS * EACH) {
		unsigned got = slabs_give(1, class, objects + n, SLABS * EACH - n, given, &ngiven);
		ck_assert_uint_ge(got, ngiven);
		ck_assert_uint_le(ngiven, GIVEN_SLABS);
		for (unsigned i = 0; i < ngiven; i++)
			ck_assert(!given[i]->is_given);
		n += got;
	}
	for (unsigned i = 0; i < SLABS; i++) {
		ck_assert_uint_eq(slabs[i]->free, slabs[i]->slots);
		slab_delete(slabs[i]);
	}
}
END_TEST

static bool is_among(const void *object, void *const *objects, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (objects[i] == object)
			return true;
	return false;
}

START_TEST(bin_leaves_a_thread_its_own)
{
	struct bin *bin = &arena_ensure(2)->bins[size_class_of(64)];
	/* 0's and 2's slabs are of one side, and have room. */
	void *of_1[100], *taken[50], *again[50], *of_2[100];

	ck_assert_uint_eq(bin_refill(bin, 0, of_2, 100, NULL), 100);
	ck_assert_uint_eq(bin_refill(bin, 1, of_1, 100, NULL), 100);
	/* Thread 1 only frees, so far. */
	bin_flush(bin, 1, of_1, 100);
	ck_assert_uint_eq(bin_refill(bin, 2, taken, 50, NULL), 50);
	ck_assert(is_among(taken[0], of_1, 100));
	/* Now it allocates what it frees. */
	ck_assert_uint_eq(bin_refill(bin, 1, again, 50, NULL), 50);
	bin_flush(bin, 1, again, 50);
	bin_flush(bin, 1, taken, 50);
	ck_assert_uint_eq(bin_refill(bin, 2, taken, 50, NULL), 50);
	ck_assert(!is_among(taken[0], of_1, 100));
	/* Not alone in its depot, though. */
	bin_flush(bin, 1 + SIDES, taken, 50);
	ck_assert_uint_eq(bin_refill(bin, 2, again, 50, NULL), 50);
	ck_assert(is_among(again[0], taken, 50));
	bin_flush(bin, 2, again, 50);
	bin_flush(bin, 2, of_2, 100);
	bin_purge(bin, os_now_ms(), 0, true);
	ck_assert_uint_eq(counter_get(&bin->live), 0);
}
END_TEST

START_TEST(bin_gives_a_thread_the_slabs_that_it_emptied)
{
	enum { OBJECTS = 60, THREADS = 2 };
	struct bin *bin = &arena_ensure(2)->bins[size_class_of(1024)];
	static void *objects[THREADS][OBJECTS], *again[OBJECTS];

	bin->empties_max = 2 * OBJECTS;
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned n = 0; n < OBJECTS;)
			n += bin_refill(bin, t, objects[t] + n, OBJECTS - n, NULL);
	for (unsigned t = 0; t < THREADS; t++)
		bin_return(bin, objects[t], OBJECTS);
	ck_assert_uint_eq(counter_get(&bin->live), 0);
	for (unsigned t = 0; t < THREADS; t++) {
		for (unsigned n = 0; n < OBJECTS;)
			n += bin_refill(bin, t, again + n, OBJECTS - n, NULL);
		for (unsigned i = 0; i < OBJECTS; i++)
			ck_assert(is_among(again[i], objects[t], OBJECTS));
		bin_return(bin, again, OBJECTS);
	}
}
END_TEST

START_TEST(bin_loses_nothing_between_depot_and_slabs)
{
	struct bin *bin = &arena_ensure(1)->bins[size_class_of(512)];
	static void *objects[10000];
	size_t live = counter_get(&bin->live);
	unsigned n = 0;

	while (n < 10000)
		n += bin_refill(bin, 0, objects + n, 10000 - n < 50 ? 10000 - n : 50, NULL);
	ck_assert_uint_ge(counter_get(&bin->live), live + 10000 - 2048);
	for (unsigned i = 0; i < 10000; i += 50)
		bin_flush(bin, 0, objects + i, 50);
	ck_assert_uint_gt(bin_depot_objects(bin), 0);
	bin_purge(bin, os_now_ms(), 0, true);
	ck_assert_uint_eq(bin_depot_objects(bin), 0);
	ck_assert_uint_eq(counter_get(&bin->live), live);
	ck_assert_uint_eq(counter_get(&bin->slabs), counter_get(&bin->empties));
}
END_TEST

/* Some 100 slabs, empty again. Returns how many of them had to be made. */
static size_t fill_and_empty(struct bin *bin)
{
	static void *objects[400];
	size_t made = counter_get(&bin->slabs_made);
	unsigned n = 0;

	while (n < 400)
		n += bin_refill(bin, 0, objects + n, 400 - n, NULL);
	bin_return(bin, objects, 400);
	return counter_get(&bin->slabs_made) - made;
}

START_TEST(bin_keeps_the_empty_slabs_that_it_missed)
{
	struct bin *bin = &arena_ensure(1)->bins[size_class_of(4000)];
	size_t all = fill_and_empty(bin), made = all;

	ck_assert_uint_eq(counter_get(&bin->empties), 1);
	/* Nobody would give back what is kept. */
	AO_store(&background_state, BACKGROUND_NOT_ALLOWED);
	for (int round = 0; round < 3; round++)
		made = fill_and_empty(bin);
	ck_assert_uint_eq(made, all - 1);
	AO_store(&background_state, BACKGROUND_RUNNING);
	/* Some rounds, as it may be too late for those that went before. */
	for (int round = 0; made > 0 && round < 20; round++)
		made = fill_and_empty(bin);
	ck_assert_uint_eq(made, 0);
	ck_assert_uint_eq(counter_get(&bin->empties), all);
	/* Not for ever. */
	bin_purge(bin, os_now_ms(), 0, true);
	ck_assert_uint_eq(counter_get(&bin->empties), 0);
	ck_assert_uint_eq(bin->empties_max, 1);
}
END_TEST

START_TEST(inbox_gives_all_that_was_pushed)
{
	struct inbox inbox = { 0 };
	size_t seen = 0;

	ck_assert(inbox_is_empty(&inbox));
	for (size_t i = 1; i <= 10; i++) {
		struct parcel *p = parcel_new();
		p->count = (uint16_t)i;
		p->bytes = 100;
		inbox_push(&inbox, p);
	}
	for (struct parcel *p = inbox_take(&inbox), *next; p; p = next) {
		next = p->next;
		seen += p->count;
		parcel_delete(p);
	}
	ck_assert_uint_eq(seen, 55);
	ck_assert(inbox_is_empty(&inbox));
	ck_assert_uint_eq(counter_get(&inbox.bytes), 0);
}
END_TEST

START_TEST(conf_applies_what_is_good)
{
	struct options saved = options;

	ck_assert(conf_parse("test", "narenas:3,dirty_decay_ms:-1,thp:never,whale:false"));
	ck_assert_uint_eq(options.narenas, 3);
	ck_assert_int_eq(options.dirty_decay_ms, -1);
	ck_assert_int_eq(options.thp, THP_NEVER);
	ck_assert(!options.whale);
	ck_assert(!conf_parse("test", "narenas:0,junk:true,nonsense:1,zero:maybe,colon"));
	ck_assert_uint_eq(options.narenas, 3);
	ck_assert(options.junk);
	ck_assert(!options.zero);
	ck_assert(conf_parse("test", NULL));
	ck_assert(conf_parse("test", ""));
	options = saved;
}
END_TEST

struct test_case {
	const char *module;
	const TTest *test;
	int signal; /* that it must end by */
};

static const struct test_case *cases(size_t *count)
{
	static struct test_case all[48];
	size_t n = 0;

#define ADD(module, test, signal) \
	all[n++] = (struct test_case) { module, test, signal }
	ADD("size_class", size_class_each_size_fits_and_wastes_little, 0);
	ADD("size_class", size_class_of_a_multiple_of_an_alignment_is_one, 0);
	ADD("size_class", size_class_slot_is_exact_in_the_whole_slab, 0);
	ADD("bits", bits_all_set_sees_each_bit, 0);
	ADD("lock", lock_excludes_and_counts, 0);
	ADD("decay", decay_lets_go_of_all_after_its_time_and_of_nothing_at_first, 0);
	ADD("decay", decay_follows_a_shorter_time, 0);
	ADD("os", os_purged_memory_reads_zero_even_where_it_is_locked, 0);
	ADD("bin", bin_asks_for_the_background_thread_when_the_depot_fills, 0);
	ADD("arena", arena_sees_that_a_parcel_brings_what_is_not_its_own, SIGABRT);
	ADD("metadata", metadata_is_zero_and_reused, 0);
	ADD("metadata", metadata_shares_no_cache_line_but_between_descriptors, 0);
	ADD("page_heap", page_heap_takes_a_chunk_at_a_time, 0);
	ADD("page_heap", page_heap_runs_are_apart_and_come_back_together, 0);
	ADD("page_heap", page_heap_says_truly_what_reads_zero, 0);
	ADD("page_heap", page_heap_serves_again_what_was_freed_and_joins_it_for_more, 0);
	ADD("page_heap", page_heap_leaves_kept_runs_alone_where_another_fits, 0);
	ADD("page_heap", page_heap_gives_a_side_what_it_had, 0);
	ADD("page_heap", page_heap_describes_one_object_by_its_start, 0);
	ADD("page_heap", page_heap_resizes_where_it_is, 0);
	ADD("whale", whale_cache_serves_again_and_decays, 0);
	ADD("whale", whale_cache_gives_a_side_what_it_had, 0);
	ADD("whale", whale_cache_keeps_what_it_missed, 0);
	ADD("whale", whale_cache_keeps_what_a_growth_missed, 0);
	ADD("whale", whale_cache_makes_room_for_the_heap, 0);
	ADD("whale", whales_use_address_space_again, 0);
	ADD("whale", whale_keeps_its_contents_when_it_grows, 0);
	ADD("whale", a_whale_grows_at_the_expense_of_the_cache, 0);
	ADD("whale", whale_alignment_holds, 0);
	ADD("slab", slab_takes_lowest_first_and_purges_only_free_pages, 0);
	ADD("slab", slabs_begin_at_each_colour, 0);
	ADD("slab", slab_gives_cache_lines_that_are_whole, 0);
	ADD("slab", slabs_take_back_what_is_mixed, 0);
	ADD("slab", slab_sees_a_double_free, SIGABRT);
	ADD("bin", bin_gives_a_thread_the_slabs_that_it_emptied, 0);
	ADD("bin", bin_loses_nothing_between_depot_and_slabs, 0);
	ADD("bin", bin_leaves_a_thread_its_own, 0);
	ADD("bin", bin_keeps_the_empty_slabs_that_it_missed, 0);
	ADD("arena", arena_is_kept_where_others_have_no_fewer_threads, 0);
	ADD("inbox", inbox_gives_all_that_was_pushed, 0);
	ADD("conf", conf_applies_what_is_good, 0);
	*count = n;
	return all;
}

int main(void)
{
	Suite *suite = suite_create("hakmem");
	size_t n;
	const struct test_case *all = cases(&n);

	/* Each test runs in a process of its own, from here. */
	entry_init();
	for (size_t i = 0; i < n; i++) {
		TCase *tcase = tcase_create(all[i].module);
		tcase_set_timeout(tcase, 120);
		if (all[i].signal)
			tcase_add_test_raise_signal(tcase, all[i].test, all[i].signal);
		else
			tcase_add_test(tcase, all[i].test);
		suite_add_tcase(suite, tcase);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
