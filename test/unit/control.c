/*
 * The control namespace: walks the table, reads every row that can be read and
 * writes every one that can be written, with right and wrong types and sizes;
 * then what single controls do.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"
#include "ctl/control.h"
#include "hakmem/hakmem.h"
#include "page/os.h"
#include "page/page_map.h"
#include "tcache/tcache.h"

static size_t size_of(const struct ctl_row *row)
{
	return row->type == CTL_BOOL ? sizeof(bool) :
	    row->type == CTL_UNSIGNED ? sizeof(unsigned) : sizeof(uint64_t);
}

/* The row's name with every index as text. */
static void name_with(const struct ctl_row *row, const char *index, char *name)
{
	const char *from = row->name;

	while (*from) {
		if (*from == '<') {
			name = stpcpy(name, index);
			from += 3;
		} else {
			*name++ = *from++;
		}
	}
	*name = '\0';
}

/* Rows whose reading or writing changes what the other rows mean. */
static bool acts(const struct ctl_row *row)
{
	static const char *const names[] = { "arenas.create", "arenas.lookup",
		"tcache.create", "tcache.flush", "tcache.destroy", "site.add",
		"site.remove", "arena.<i>.reset", "arena.<i>.destroy" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(row->name, names[i]) == 0)
			return true;
	return false;
}

/* Rows of things that this process has none of. */
static bool needs_a_rule(const struct ctl_row *row)
{
	return strncmp(row->name, "site.<i>", 8) == 0;
}

START_TEST(every_row_is_found_by_its_name_alone)
{
	for (unsigned i = 0; i < CTL_ROWS; i++) {
		struct ctl_place place;
		char name[128], wrong[140];
		name_with(&ctl_rows[i], "0", name);
		ck_assert_msg(ctl_find(name, &place), "%s", name);
		ck_assert_msg(place.row == i, "%s is row %d, not %u", name, place.row, i);
		ck_assert_uint_gt(strlen(ctl_rows[i].help), 3);
		ck_assert_uint_le(place.depth, CTL_DEPTH);
		snprintf(wrong, sizeof(wrong), "%sx", name);
		ck_assert_msg(!ctl_find(wrong, &place), "%s", wrong);
		snprintf(wrong, sizeof(wrong), "%s.x", name);
		ck_assert_msg(!ctl_find(wrong, &place), "%s", wrong);
		/* Cut short it is none, or another that is spelt so. */
		name[strlen(name) - 1] = '\0';
		ck_assert_msg(!ctl_find(name, &place) ||
		    strcmp(ctl_rows[place.row].name, name) == 0, "%s", name);
	}
	struct ctl_place place;
	ck_assert(!ctl_find("", &place));
	ck_assert(!ctl_find(".", &place));
	ck_assert(!ctl_find("stats.", &place));
	ck_assert(!ctl_find("arena..purge", &place));
	ck_assert(!ctl_find("arena.-1.purge", &place));
	ck_assert(!ctl_find("arena.99999999999999999999.purge", &place));
}
END_TEST

START_TEST(every_row_that_can_be_read_is_and_in_its_size_alone)
{
	for (unsigned i = 0; i < CTL_ROWS; i++) {
		const struct ctl_row *row = &ctl_rows[i];
		char name[128], value[16], untouched[16];
		size_t size = size_of(row), length = size;
		name_with(row, "0", name);
		memset(value, 0x5a, sizeof(value));
		if (!(row->access & CTL_R)) {
			ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == EPERM, "%s", name);
			continue;
		}
		if (acts(row) || needs_a_rule(row))
			continue;
		ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == 0, "%s", name);
		ck_assert_uint_eq(length, size);
		/* Nothing behind the value was written. */
		memset(untouched, 0x5a, sizeof(untouched));
		ck_assert_mem_eq(value + size, untouched, sizeof(value) - size);
		/* A shorter room: what fits, and EINVAL. */
		length = size - 1;
		memset(value, 0x5a, sizeof(value));
		ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == EINVAL, "%s", name);
		ck_assert_uint_eq(length, size - 1);
		ck_assert_mem_eq(value + size - 1, untouched, 1);
		length = size + 1;
		ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == EINVAL, "%s", name);
		ck_assert_uint_eq(length, size);
		/* By MIB the same. */
		size_t mib[CTL_DEPTH], depth = CTL_DEPTH;
		ck_assert_int_eq(hak_mallctlnametomib(name, mib, &depth), 0);
		length = size;
		ck_assert_msg(hak_mallctlbymib(mib, depth, value, &length, NULL, 0) == 0,
		    "%s", name);
		ck_assert_int_eq(hak_mallctlbymib(mib, depth + 1, value, &length, NULL, 0),
		    ENOENT);
		/* With less room: as many numbers as there is room for, and nothing behind. */
		size_t part[CTL_DEPTH] = { 0 }, room = depth - 1;
		part[depth - 1] = 12345;
		ck_assert_int_eq(hak_mallctlnametomib(name, part, &room), room ? 0 : EINVAL);
		ck_assert_uint_eq(room, depth - 1);
		ck_assert_mem_eq(part, mib, room * sizeof(*part));
		ck_assert_uint_eq(part[depth - 1], 12345);
	}
}
END_TEST

START_TEST(every_row_that_can_be_written_takes_its_own_value_back)
{
	for (unsigned i = 0; i < CTL_ROWS; i++) {
		const struct ctl_row *row = &ctl_rows[i];
		char name[128], value[16] = "";
		size_t size = size_of(row), length = size;
		name_with(row, "0", name);
		if (row->access == CTL_X) {
			/* Nothing to read, nothing to write. */
			ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == EPERM, "%s", name);
			ck_assert_msg(hak_mallctl(name, NULL, NULL, value, 1) == EPERM, "%s", name);
			if (!acts(row))
				ck_assert_msg(hak_mallctl(name, NULL, NULL, NULL, 0) == 0,
				    "%s", name);
			continue;
		}
		if (!(row->access & CTL_W)) {
			ck_assert_msg(hak_mallctl(name, NULL, NULL, value, size) == EPERM, "%s", name);
			continue;
		}
		if (strcmp(row->name, "arenas.create") == 0 ||
		    strcmp(row->name, "arenas.lookup") == 0)
			continue;
		ck_assert_msg(hak_mallctl(name, NULL, NULL, value, size + 1) == EINVAL, "%s", name);
		ck_assert_msg(hak_mallctl(name, NULL, NULL, value, size - 1) == EINVAL, "%s", name);
		ck_assert_msg(hak_mallctl(name, NULL, NULL, NULL, size) == EINVAL, "%s", name);
		if (acts(row))
			continue;
		ck_assert_msg(hak_mallctl(name, value, &length, NULL, 0) == 0, "%s", name);
		int error = hak_mallctl(name, NULL, NULL, value, size);
		ck_assert_msg(error == 0 || (error == ENOTSUP &&
		    strstr(name, "retain_grow_limit")), "%s: %d", name, error);
	}
}
END_TEST

START_TEST(indexes_out_of_range_are_enoent)
{
	for (unsigned i = 0; i < CTL_ROWS; i++) {
		const struct ctl_row *row = &ctl_rows[i];
		char name[128], value[16];
		size_t length = size_of(row);
		name_with(row, "5000", name);
		if (!strchr(row->name, '<'))
			continue;
		int error = row->access == CTL_X ?
		    hak_mallctl(name, NULL, NULL, NULL, 0) :
		    hak_mallctl(name, value, &length, NULL, 0);
		ck_assert_msg(error == ENOENT, "%s: %d", name, error);
	}
}
END_TEST

static uint64_t get(const char *name)
{
	uint64_t epoch = 1, value = 0;
	size_t length = sizeof(value);

	ck_assert_int_eq(hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)), 0);
	if (hak_mallctl(name, &value, &length, NULL, 0) == 0)
		return value;
	value = 0;
	length = sizeof(unsigned);
	if (hak_mallctl(name, &value, &length, NULL, 0) == 0)
		return value;
	value = 0;
	length = sizeof(bool);
	ck_assert_msg(hak_mallctl(name, &value, &length, NULL, 0) == 0, "%s", name);
	return value;
}

static void set_bool(const char *name, bool value)
{
	ck_assert_msg(hak_mallctl(name, NULL, NULL, &value, sizeof(value)) == 0, "%s", name);
}

static void set_size(const char *name, size_t value)
{
	ck_assert_msg(hak_mallctl(name, NULL, NULL, &value, sizeof(value)) == 0, "%s", name);
}

static void check_order(void)
{
	ck_assert_uint_le(get("stats.allocated"), get("stats.active"));
	ck_assert_uint_le(get("stats.active"), get("stats.resident"));
	ck_assert_uint_le(get("stats.resident"), get("stats.mapped"));
}

#define OBJECTS 20000

START_TEST(allocated_is_the_sum_of_usable_sizes)
{
	static void *objects[OBJECTS];
	uint64_t before = get("stats.allocated"), sum = 0;
	unsigned seed = 1;

	for (int i = 0; i < OBJECTS; i++) {
		unsigned r = (unsigned)rand_r(&seed);
		size_t size = r % 50 == 0 ? r % 3000000 : r % 4000;
		objects[i] = hak_malloc(size);
		sum += hak_malloc_usable_size(objects[i]);
		if (i % 1000 == 0)
			check_order();
	}
	ck_assert_uint_eq(get("stats.allocated") - before, sum);
	for (int i = 0; i < OBJECTS; i += 2) {
		sum -= hak_malloc_usable_size(objects[i]);
		hak_free(objects[i]);
	}
	ck_assert_uint_eq(get("stats.allocated") - before, sum);
	ck_assert_uint_eq(get("stats.arenas.4096.small.allocated") +
	    get("stats.arenas.4096.large.allocated"), get("stats.allocated"));
	if (HAK_STATS)
		ck_assert_uint_eq(get("stats.arenas.4096.small.nmalloc") -
		    get("stats.arenas.4096.small.ndalloc") +
		    get("stats.arenas.4096.large.nmalloc") -
		    get("stats.arenas.4096.large.ndalloc"), OBJECTS / 2 + 0u);
	for (int i = 1; i < OBJECTS; i += 2)
		hak_free(objects[i]);
	ck_assert_uint_eq(get("stats.allocated"), before);
	check_order();
}
END_TEST

static void *churn(void *seed)
{
	void *held[500] = { NULL };
	unsigned random = (unsigned)(uintptr_t)seed;

	for (int i = 0; i < 200000; i++) {
		unsigned r = (unsigned)rand_r(&random);
		hak_free(held[r % 500]);
		held[r % 500] = hak_malloc(r / 512 % 3000);
	}
	void **kept = hak_malloc(sizeof(held));
	memcpy(kept, held, sizeof(held));
	return kept;
}

START_TEST(allocated_is_exact_after_threads_joined)
{
	pthread_t threads[8];
	uint64_t sum = 0, before = get("stats.allocated");
	void **kept[8];

	for (uintptr_t i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 100; i++)
		check_order();
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], (void **)&kept[i]);
		sum += hak_malloc_usable_size(kept[i]);
		for (int k = 0; k < 500; k++)
			sum += hak_malloc_usable_size(kept[i][k]);
	}
	ck_assert_uint_eq(get("stats.allocated") - before, sum);
	for (int i = 0; i < 8; i++) {
		for (int k = 0; k < 500; k++)
			hak_free(kept[i][k]);
		hak_free(kept[i]);
	}
	ck_assert_uint_eq(get("stats.allocated"), before);
}
END_TEST

START_TEST(a_thread_knows_its_bytes)
{
	uint64_t allocated = get("thread.allocated"), freed = get("thread.deallocated");
	uint64_t *pointer;
	size_t length = sizeof(pointer);
	void *p[100];

	for (int i = 0; i < 100; i++)
		p[i] = hak_malloc(1000);
	void *whale = hak_malloc(2 * MiB);
	if (HAK_STATS) {
		ck_assert_uint_eq(get("thread.allocated") - allocated,
		    100 * 1024 + hak_malloc_usable_size(whale));
		ck_assert_int_eq(hak_mallctl("thread.allocatedp", &pointer, &length,
		    NULL, 0), 0);
		ck_assert_uint_eq(*pointer, get("thread.allocated"));
	}
	for (int i = 0; i < 100; i++)
		if (i % 2)
			hak_free(p[i]);
		else
			hak_dallocx(p[i], HAK_ALIGN(8));
	hak_free(whale);
	if (HAK_STATS)
		ck_assert_uint_eq(get("thread.deallocated") - freed,
		    get("thread.allocated") - allocated);
}
END_TEST

static void *free_all(void *objects)
{
	unsigned arena;
	size_t length = sizeof(arena);

	ck_assert_int_eq(hak_mallctl("arenas.create", &arena, &length, NULL, 0), 0);
	ck_assert_int_eq(hak_mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena)), 0);
	for (int i = 0; i < 1000; i++)
		hak_free(((void **)objects)[i]);
	return NULL;
}

START_TEST(what_others_freed_is_not_the_owners_free)
{
	uint64_t freed = get("thread.deallocated");
	void *p[1000];
	pthread_t thread;

	for (int i = 0; i < 1000; i++)
		p[i] = hak_malloc(200);
	ck_assert_int_eq(pthread_create(&thread, NULL, free_all, p), 0);
	pthread_join(thread, NULL);
	/* Refills, which find the objects in the inbox. */
	for (int i = 0; i < 1000; i++)
		p[i] = hak_malloc(200);
	ck_assert_uint_gt(get("arenas.0.remote_frees"), 900);
	ck_assert_uint_eq(get("thread.deallocated"), freed);
	for (int i = 0; i < 1000; i++)
		hak_free(p[i]);
}
END_TEST

/* More than a cache holds, so that it is refilled. */
#define COUNT 1500

START_TEST(a_layer_goes_off_and_on_while_it_is_in_use)
{
	static const char *const names[] = { "tls.tiny", "tls.l2", "tls.l25" };
	static const size_t sizes[] = { 100, 5000, 100000 };

	for (int layer = 0; layer < 3; layer++) {
		char enabled[40], bytes[40], hits[40];
		static void *p[COUNT];
		snprintf(enabled, sizeof(enabled), "%s.enabled", names[layer]);
		snprintf(bytes, sizeof(bytes), "%s.bytes", names[layer]);
		snprintf(hits, sizeof(hits), "%s.hits", names[layer]);
		if (!get(enabled))
			continue; /* compiled out */
		for (int i = 0; i < COUNT; i++)
			p[i] = hak_malloc(sizes[layer]);
		for (int i = 0; i < COUNT; i++)
			hak_free(p[i]);
		for (int i = 0; i < 3; i++)
			hak_free(hak_malloc(sizes[layer]));
		ck_assert_msg(get(bytes) > 0, "%s", bytes);
		set_bool(enabled, false);
		ck_assert(!get(enabled));
		/* A refill or flush away: the cache is gone. */
		for (int i = 0; i < COUNT; i++)
			p[i] = hak_malloc(sizes[layer]);
		uint64_t served = get(hits);
		for (int i = 0; i < COUNT; i++)
			hak_free(p[i]);
		ck_assert_msg(get(bytes) == 0, "%s: %lu", bytes, get(bytes));
		hak_free(hak_malloc(sizes[layer]));
		ck_assert_uint_eq(get(hits), served);
		set_bool(enabled, true);
		for (int i = 0; i < COUNT; i++)
			p[i] = hak_malloc(sizes[layer]);
		for (int i = 0; i < COUNT; i++)
			hak_free(p[i]);
		for (int i = 0; i < 100; i++)
			hak_free(hak_malloc(sizes[layer]));
		if (HAK_STATS)
			ck_assert_msg(get(hits) > served, "%s", hits);
	}
	set_bool("whale.enabled", false);
	hak_free(hak_malloc(3 * MiB / 2));
	ck_assert_uint_eq(get("whale.bytes"), 0);
	set_bool("whale.enabled", true);
	hak_free(hak_malloc(3 * MiB / 2));
	ck_assert_uint_ge(get("whale.bytes"), 3 * MiB / 2);
	set_size("whale.max_bytes", 1 * MiB);
	ck_assert_uint_lt(get("whale.bytes"), 3 * MiB / 2);
}
END_TEST

/* What its cache serves for ever, so that it never refills nor flushes. */
static void *spin_in_cache(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		for (int i = 0; i < 1000; i++)
			hak_free(hak_malloc(100));
	return NULL;
}

START_TEST(threads_that_never_miss_see_a_layer_go_and_come)
{
	bool stop = false;
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, spin_in_cache, &stop), 0);
	for (int turn = 0; turn < 20; turn++) {
		uint64_t hits = 0, before;
		int tries = 0;
		set_bool("tls.tiny.enabled", turn % 2);
		/* On: they are served soon; off: soon not any more. */
		do {
			ck_assert_int_lt(tries++, 200);
			before = hits;
			usleep(50000);
			hits = get("tls.tiny.hits");
		} while (HAK_STATS && HAK_TLS_TINY && (hits > before) != turn % 2);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	set_bool("tls.tiny.enabled", HAK_TLS_TINY);
}
END_TEST

START_TEST(thread_tcache_can_be_switched_off)
{
	uint64_t hits;

	set_bool("thread.tcache.enabled", false);
	hak_free(hak_malloc(64));
	hits = get("tls.tiny.hits");
	for (int i = 0; i < 100; i++)
		hak_free(hak_malloc(64));
	ck_assert_uint_eq(get("tls.tiny.hits"), hits);
	set_bool("thread.tcache.enabled", true);
	set_size("thread.tcache.max", 512);
	ck_assert_uint_eq(get("thread.tcache.max"), 512);
	for (int i = 0; i < 100; i++)
		hak_free(hak_malloc(1000));
	ck_assert_uint_eq(get("tls.tiny.hits"), hits);
}
END_TEST

/* What is looked at now and then is so where each allocation follows a free, and each of
 * both is a slow event: whichever of them makes their number even. */
START_TEST(slow_events_in_turn_are_looked_at)
{
	set_bool("thread.tcache.enabled", false);
	void *object = hak_malloc(64), *other = hak_malloc(64);
	for (int odd = 0; odd < 2; odd++) {
		ck_assert_int_eq(hak_mallctl("thread.peak.reset", NULL, NULL, NULL, 0), 0);
		void *held = hak_malloc(8 * MiB);
		for (int i = 0; i < 1000; i++) {
			hak_free(object);
			object = hak_malloc(64);
		}
		hak_free(held);
		ck_assert_uint_gt(get("thread.peak.read"), 7 * MiB);
		hak_free(other);
		other = NULL;
	}
	hak_free(object);
	set_bool("thread.tcache.enabled", true);
}
END_TEST

/* By the thread that sets it: there may be no other. */
START_TEST(a_decay_time_is_in_effect_at_once)
{
	static void *p[500];
	int64_t ms = 0;

	set_bool("background_thread", false);
	for (int i = 0; i < 500; i++)
		p[i] = hak_malloc(8000);
	for (int i = 0; i < 500; i++)
		hak_free(p[i]);
	ck_assert_uint_gt(get("stats.dirty"), 0);
	ck_assert_int_eq(hak_mallctl("arenas.dirty_decay_ms", NULL, NULL, &ms, sizeof(ms)), 0);
	ck_assert_uint_eq(get("stats.dirty"), 0);
	ms = 5000;
	hak_mallctl("arenas.dirty_decay_ms", NULL, NULL, &ms, sizeof(ms));
	set_bool("background_thread", true);
}
END_TEST

/* Frees right after stacks were given up: whatever their number, they go where there is
 * room. */
START_TEST(frees_after_the_cache_came_back_lose_nothing)
{
	static const size_t sizes[] = { 64, 5000, 32768 };
	static void *p[600], *q[40];

	for (int k = 0; k < 3; k++)
		for (int first = 0; first < 60; first++) {
			int i = 0;
			for (int n = 0; n < 600; n++)
				p[n] = hak_malloc(sizes[k]);
			while (i < first)
				hak_free(p[i++]);
			set_bool("thread.tcache.enabled", false);
			set_bool("thread.tcache.enabled", true);
			while (i < first + 6)
				hak_free(p[i++]);
			for (int n = 0; n < 40; n++) {
				q[n] = hak_malloc(sizes[k]);
				ck_assert_uint_ne(page_map_get(q[n]), 0);
			}
			for (int n = 0; n < 40; n++)
				hak_free(q[n]);
			while (i < 600)
				hak_free(p[i++]);
		}
}
END_TEST

/* A thread that only freed a class, went without its cache for a moment and then
 * allocates for the first time: each object once. */
static void *free_toggle_allocate(void *context)
{
	static unsigned char *q[4000];
	unsigned char **p = context;
	size_t size = hak_malloc_usable_size(p[0]);

	for (int i = 0; i < 3000; i++) {
		if (i == 1000) {
			set_bool("thread.tcache.enabled", false);
			set_bool("thread.tcache.enabled", true);
			q[0] = hak_malloc(size);
		}
		hak_free(p[i]);
	}
	hak_free(q[0]);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 4000; i++) {
			q[i] = hak_malloc(size);
			memset(q[i], 0, size);
		}
		for (int i = 0; i < 4000; i++)
			ck_assert_msg(q[i][0]++ == 0, "%p twice", (void *)q[i]);
		for (int i = 0; i < 4000; i++)
			hak_free(q[i]);
	}
	return NULL;
}

START_TEST(a_first_refill_after_the_cache_came_back_stays_on_the_stack)
{
	static const size_t sizes[] = { 8, 16, 48 };
	static void *p[3000];
	pthread_t thread;

	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < 3000; i++)
			p[i] = hak_malloc(sizes[k]);
		ck_assert_int_eq(pthread_create(&thread, NULL, free_toggle_allocate, p), 0);
		pthread_join(thread, NULL);
	}
}
END_TEST

START_TEST(a_thread_that_only_frees_sees_its_layer_go)
{
	static void *p[60000];

	for (int i = 0; i < 60000; i++)
		p[i] = hak_malloc(128);
	for (int i = 0; i < 30000; i++)
		hak_free(p[i]);
	set_bool("tls.tiny.enabled", false);
	for (int i = 30000; i < 60000; i++)
		hak_free(p[i]);
	ck_assert_uint_eq(get("tls.tiny.bytes"), 0);
}
END_TEST

START_TEST(what_never_decays_stays_in_the_whale_cache)
{
	ssize_t never = -1;

	ck_assert_int_eq(hak_mallctl("arenas.dirty_decay_ms", NULL, NULL, &never,
	    sizeof(never)), 0);
	for (int i = 0; i < 20; i++)
		hak_free(hak_malloc(64 * MiB));
	uint64_t hits = get("whale.hits");
	for (int i = 0; i < 20; i++)
		hak_free(hak_malloc(64 * MiB));
	ck_assert_uint_eq(get("whale.hits"), hits + 20);
}
END_TEST

static pthread_barrier_t at_rest, goes_on;

/* Of each layer, and more than one of a size. */
static void *fill_and_rest(void *unused)
{
	static const size_t sizes[] = { 16, 500, 500, 5000, 40000, 40000 };
	void *p[6];

	for (int turn = 0; turn < 6; turn++) {
		for (int i = 0; i < 6; i++)
			p[i] = hak_malloc(sizes[i]);
		for (int i = 0; i < 6; i++)
			hak_free(p[i]);
	}
	pthread_barrier_wait(&at_rest);
	pthread_barrier_wait(&goes_on);
	/* First by a free, or the first allocation finds the stack empty. */
	for (int turn = 0; turn < 100; turn++)
		for (int i = 0; i < 6; i++) {
			hak_free(unused);
			unused = hak_malloc(sizes[i]);
		}
	hak_free(unused);
	pthread_barrier_wait(&at_rest);
	pthread_barrier_wait(&goes_on);
	return NULL;
}

START_TEST(what_rests_in_a_sleeping_threads_cache_is_taken)
{
	pthread_t thread;
	bool is_there = os_fence_threads();

	pthread_barrier_init(&at_rest, NULL, 2);
	pthread_barrier_init(&goes_on, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, fill_and_rest, hak_malloc(500)), 0);
	for (int turn = 0; is_there && turn < 2; turn++) {
		pthread_barrier_wait(&at_rest);
		tcache_flush_own();
		/* Once they are seen, once they are taken. */
		for (int pass = 0; pass < 2; pass++)
			ck_assert_msg(tcaches_take_resting(false, true), "turn %d pass %d", turn, pass);
		/* Till the thread says that there is something. */
		ck_assert(!tcaches_take_resting(false, true));
		ck_assert_uint_eq(get("tls.tiny.bytes"), 0);
		ck_assert_uint_eq(get("tls.l2.bytes"), 0);
		ck_assert_uint_eq(get("tls.l25.bytes"), 0);
		pthread_barrier_wait(&goes_on);
	}
	pthread_join(thread, NULL);
}
END_TEST

static uint64_t all_misses(void)
{
	return get("tls.tiny.misses") + get("tls.l2.misses") + get("tls.l25.misses");
}

static void make_and_free(size_t size, size_t n, int rounds)
{
	static void *p[1300];

	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < n; i++)
			p[i] = hak_malloc(size);
		for (size_t i = 0; i < n; i++)
			hak_free(p[i]);
	}
}

/* Also those that fill most of a MiB, and a thread that frees them all before it goes on is
 * not one that only frees. */
START_TEST(batches_that_fit_a_stack_are_served_by_it)
{
	static const struct { size_t size, n; } batches[] = { { 700, 1300 }, { 6000, 160 }, { 40000, 20 } };

	for (size_t b = 0; b < sizeof(batches) / sizeof(*batches); b++) {
		make_and_free(batches[b].size, batches[b].n, 100);
		uint64_t before = all_misses();
		make_and_free(batches[b].size, batches[b].n, 100);
		if (HAK_STATS && HAK_TLS_TINY && HAK_TLS_L2 && HAK_TLS_L25)
			/* Looks at what does not move may empty a stack, once. */
			ck_assert_msg(all_misses() - before <= batches[b].n / 4, "%zu bytes: %llu misses",
			    batches[b].size, (unsigned long long)(all_misses() - before));
	}
}
END_TEST

static void use_batches(int rounds, size_t size, int n, size_t other_size, int other_n)
{
	void *p[32], *q[32];

	for (int r = 0; r < rounds; r++) {
		for (int i = 0; i < n; i++)
			p[i] = hak_malloc(size);
		for (int i = 0; i < other_n; i++)
			q[i] = hak_malloc(other_size);
		for (int i = 0; i < n; i++)
			hak_free(p[i]);
		for (int i = 0; i < other_n; i++)
			hak_free(q[i]);
	}
}

START_TEST(stacks_of_large_classes_share_what_they_may_hold)
{
	/* The first has it all; then both together need no more. */
	use_batches(50, 64 * KiB, 15, 0, 0);
	use_batches(200, 64 * KiB, 8, 48 * KiB, 8);
	uint64_t misses = get("tls.l25.misses");
	use_batches(100, 64 * KiB, 8, 48 * KiB, 8);
	ck_assert_uint_le(get("tls.l25.misses") - misses, 50);
	ck_assert_uint_le(get("tls.l25.capacity"), 1 * MiB);
}
END_TEST

static uint64_t of_class(size_t size, const char *what)
{
	char name[80];

	snprintf(name, sizeof(name), "stats.arenas.0.bins.%zu.%s", size_class_of(size) - 1, what);
	return get(name);
}

/* What is freed in no order lies everywhere: what rests in caches of it would keep most of
 * the slabs. */
static void churn_class(size_t size, size_t n)
{
	void **p = malloc(n * sizeof(*p));
	uint64_t random = 1;

	for (size_t i = 0; i < n; i++)
		p[i] = hak_malloc(size);
	for (size_t i = n; i > 0; i--) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		size_t k = (random >> 33) % i;
		hak_free(p[k]);
		p[k] = p[i - 1];
	}
	free(p);
}

START_TEST(a_class_that_drains_keeps_few_slabs)
{
	size_t slab = size_classes[size_class_of(48)].granules * GRANULE;

	churn_class(48, 400000);
	ck_assert_uint_gt(of_class(48, "nslabs"), 250);
	/* Kept for the next need, some; and what is in the stack holds no more. */
	ck_assert_uint_lt(of_class(48, "curslabs") * slab, 5 * MiB);
}
END_TEST

START_TEST(what_an_idle_class_has_in_its_depot_goes_home)
{
	/* Less than drains by itself. */
	churn_class(320, 3000);
	ck_assert_uint_gt(of_class(320, "curslabs"), 30);
	for (int i = 0; i < 100; i++)
		churn_class(1000, 4000);
	ck_assert_uint_le(of_class(320, "curslabs"), 1);
}
END_TEST

/* What is used all the time, from and to its stack, never meets the slabs by itself. */
START_TEST(a_sparse_class_in_use_is_gathered_in_fewer_slabs)
{
	static void *p[4000];
	enum { LIVE = 1000, BATCH = 50 };
	uint64_t random = 1;

	for (int i = 0; i < 4000; i++)
		p[i] = hak_malloc(640);
	size_t slabs = of_class(640, "curslabs");
	for (int i = 0; i < 4000; i++) {
		if (i % 4)
			hak_free(p[i]);
		else
			p[i / 4] = p[i];
	}
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < BATCH; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			size_t k = (random >> 33) % (size_t)(LIVE - i);
			void *freed = p[k];
			p[k] = p[LIVE - 1 - i];
			hak_free(freed);
		}
		churn_class(1000, 4000);
		for (int i = 0; i < BATCH; i++)
			p[LIVE - 1 - i] = hak_malloc(640);
	}
	ck_assert_uint_lt(of_class(640, "curslabs") * 2, slabs);
	for (int i = 0; i < LIVE; i++)
		hak_free(p[i]);
}
END_TEST

/* The free that finds it may be the one that gathers: at whichever event that is. */
START_TEST(a_double_free_shows_where_a_sparse_class_is_gathered)
{
	/* A class is visited once in so many events: 8 a class. */
	enum { FILLED = 4000, VISIT = 8 * (CLASS_WHALE - 1) };
	static void *p[FILLED], *events[VISIT];

	for (int i = 0; i < FILLED; i++)
		p[i] = hak_malloc(640);
	for (int i = 0; i < FILLED; i++)
		if (i % 4)
			hak_free(p[i]);
	for (int i = 0; i < VISIT; i++) {
		pid_t child = fork();
		int status;
		if (child == 0) {
			void *volatile x = hak_malloc(640);
			close(STDERR_FILENO);
			signal(SIGABRT, SIG_DFL);
			hak_free(x);
			hak_free(x);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		/* Past the stack, so one event. */
		events[i] = hak_aligned_alloc(512, 512);
	}
	for (int i = 0; i < VISIT; i++)
		hak_free(events[i]);
	for (int i = 0; i < FILLED; i += 4)
		hak_free(p[i]);
}
END_TEST

/* Tiny slabs begin at colours; GLib's slices ask for 496 bytes at multiples of 512. */
START_TEST(small_objects_of_large_alignment_take_no_more)
{
	static const struct { size_t alignment, size, usable; } cases[] = {
		{ 256, 240, 256 }, { 256, 300, 512 }, { 256, 700, 768 }, { 512, 496, 512 },
		{ 512, 600, 1024 }, { 1024, 8, 1024 }, { 1024, 1008, 1024 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t alignment = cases[i].alignment;
		void *p[300], *q[300];
		for (int round = 0; round < 3; round++) {
			/* Among others of the class. */
			for (int k = 0; k < 300; k++) {
				q[k] = hak_malloc(cases[i].usable);
				p[k] = hak_aligned_alloc(alignment, cases[i].size);
				ck_assert_uint_eq((uintptr_t)p[k] % alignment, 0);
				ck_assert_uint_eq(hak_malloc_usable_size(p[k]), cases[i].usable);
				memset(p[k], k, cases[i].usable);
				memset(q[k], k + 1, cases[i].usable);
			}
			for (int k = 0; k < 300; k++) {
				ck_assert_int_eq(*(unsigned char *)p[k], (unsigned char)k);
				ck_assert_int_eq(*(unsigned char *)q[k], (unsigned char)(k + 1));
				hak_free(p[k]);
				hak_free(q[k]);
			}
		}
		ck_assert_uint_eq(hak_nallocx(cases[i].size, HAK_ALIGN(alignment)), cases[i].usable);
		char *zeroed = hak_mallocx(cases[i].size, HAK_ALIGN(alignment) | HAK_ZERO |
		    HAK_TCACHE_NONE);
		ck_assert_uint_eq((uintptr_t)zeroed % alignment, 0);
		for (size_t b = 0; b < cases[i].usable; b++)
			ck_assert_int_eq(zeroed[b], 0);
		hak_dallocx(zeroed, HAK_TCACHE_NONE);
	}
	/* What such slabs have room for is used again. */
	uint64_t slabs = of_class(512, "curslabs");
	for (int i = 0; i < 100000; i++) {
		void *p = hak_aligned_alloc(512, 496);
		hak_free(hak_malloc(512));
		hak_free(p);
	}
	ck_assert_uint_le(of_class(512, "curslabs"), slabs + 1);
}
END_TEST

static void *use_a_little(void *capacity)
{
	uint64_t before;

	/* The cache itself, and those stacks that reading it takes. */
	hak_free(hak_malloc(16));
	before = get("tls.tiny.capacity");
	make_and_free(256, 100, 1);
	*(uint64_t *)capacity = get("tls.tiny.capacity") - before;
	return NULL;
}

/* What its stacks hold when it sleeps then is nobody's. */
START_TEST(a_thread_that_does_little_has_small_stacks)
{
	pthread_t thread;
	uint64_t capacity;

	if (!HAK_STATS || !HAK_TLS_TINY)
		return;
	ck_assert_int_eq(pthread_create(&thread, NULL, use_a_little, &capacity), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_ge(capacity, 256);
	ck_assert_uint_le(capacity, 32 * 256);
}
END_TEST

START_TEST(stacks_grow_no_further_than_they_may)
{
	if (!HAK_STATS || !HAK_TLS_TINY || !HAK_TLS_L2 || !HAK_TLS_L25)
		return;
	make_and_free(700, 1300, 20);
	uint64_t grown = get("tls.tiny.capacity");
	ck_assert_uint_ge(grown, 1300 * 700);
	/* Each as many as it may have alone. */
	for (size_t size = 384 * KiB; size > 32 * KiB; size -= 64 * KiB) {
		make_and_free(size, MiB / size, 20);
		ck_assert_uint_le(get("tls.l25.capacity"), 1 * MiB);
	}
	/* More than any stack holds: so each is a slow event, and the looks at what lies idle
	 * come round. */
	make_and_free(64 * KiB, 40, 200);
	ck_assert_uint_lt(get("tls.tiny.capacity"), grown / 2);
}
END_TEST

START_TEST(an_arena_is_made_used_reset_and_destroyed)
{
	unsigned arena, again;
	size_t length = sizeof(arena);
	char name[80];
	void *p[1000];

	ck_assert_int_eq(hak_mallctl("arenas.create", &arena, &length, NULL, 0), 0);
	ck_assert_uint_eq(get("arenas.narenas"), arena + 1);
	for (int i = 0; i < 1000; i++)
		p[i] = hak_mallocx(100, HAK_ARENA(arena) | HAK_TCACHE_NONE);
	void *whale = hak_mallocx(2 * MiB, HAK_ARENA(arena) | HAK_TCACHE_NONE);
	void *other = hak_malloc(100);
	snprintf(name, sizeof(name), "stats.arenas.%u.small.allocated", arena);
	ck_assert_uint_eq(get(name), 1000 * hak_malloc_usable_size(p[0]));
	snprintf(name, sizeof(name), "stats.arenas.%u.large.allocated", arena);
	ck_assert_uint_eq(get(name), hak_malloc_usable_size(whale));
	unsigned found = 0;
	ck_assert_int_eq(hak_mallctl("arenas.lookup", &found, &length, &p[3],
	    sizeof(void *)), 0);
	ck_assert_uint_eq(found, arena);
	snprintf(name, sizeof(name), "arena.%u.reset", arena);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), 0);
	snprintf(name, sizeof(name), "stats.arenas.%u.allocated", arena);
	ck_assert_uint_eq(get(name), 0);
	memset(other, 1, 100);
	hak_free(other);
	snprintf(name, sizeof(name), "arena.%u.destroy", arena);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), 0);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), ENOENT);
	ck_assert_int_eq(hak_mallctl("arenas.create", &again, &length, NULL, 0), 0);
	ck_assert_uint_eq(again, arena);
	/* Those that threads use are not to be reset. */
	ck_assert_int_eq(hak_mallctl("arena.0.reset", NULL, NULL, NULL, 0), EFAULT);
	ck_assert_int_eq(hak_mallctl("arena.0.destroy", NULL, NULL, NULL, 0), EFAULT);
}
END_TEST

/* Objects that were freed before a reset lie in the thread's parcel still: they must not
 * come home to an arena that gave the same places out again. */
START_TEST(a_reset_arena_forgets_what_was_on_its_way_home)
{
	unsigned arena;
	size_t length = sizeof(arena);
	char name[40];
	unsigned char *p[200];

	ck_assert_int_eq(hak_mallctl("arenas.create", &arena, &length, NULL, 0), 0);
	int flags = HAK_ARENA(arena) | HAK_TCACHE_NONE;
	for (int i = 0; i < 10; i++)
		hak_free(hak_mallocx(100, flags));
	snprintf(name, sizeof(name), "arena.%u.reset", arena);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), 0);
	for (int i = 0; i < 200; i++) {
		p[i] = hak_mallocx(100, flags);
		memset(p[i], 0, 100);
		if (i == 100) {
			hak_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
			snprintf(name, sizeof(name), "arena.%u.decay", arena);
			ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), 0);
		}
	}
	for (int i = 0; i < 200; i++)
		ck_assert_msg(p[i][0]++ == 0, "%p twice", (void *)p[i]);
}
END_TEST

START_TEST(a_thread_is_bound_to_an_arena)
{
	unsigned arena, old;
	size_t length = sizeof(arena);

	ck_assert_int_eq(hak_mallctl("arenas.create", &arena, &length, NULL, 0), 0);
	ck_assert_int_eq(hak_mallctl("thread.arena", &old, &length, &arena, sizeof(arena)), 0);
	void *p = hak_malloc(100);
	ck_assert_uint_eq(page_map_get(p) >> LG_CLASSES, arena + 1);
	hak_free(p);
	unsigned wrong = 4000;
	ck_assert_int_eq(hak_mallctl("thread.arena", NULL, NULL, &wrong, sizeof(wrong)), EFAULT);
	ck_assert_uint_eq(get("thread.arena"), arena);
	ck_assert_int_eq(hak_mallctl("thread.arena", NULL, NULL, &old, sizeof(old)), 0);
}
END_TEST

START_TEST(explicit_caches_keep_what_they_are_given)
{
	unsigned cache;
	size_t length = sizeof(cache);

	ck_assert_int_eq(hak_mallctl("tcache.create", &cache, &length, NULL, 0), 0);
	uint64_t allocated = get("thread.allocated"), freed = get("thread.deallocated");
	void *p = hak_mallocx(64, HAK_TCACHE(cache));
	hak_dallocx(p, HAK_TCACHE(cache));
	ck_assert_ptr_eq(hak_mallocx(64, HAK_TCACHE(cache)), p);
	ck_assert_uint_eq(get("thread.allocated") - allocated, 2 * 64);
	ck_assert_uint_eq(get("thread.deallocated") - freed, 64);
	hak_dallocx(p, HAK_TCACHE(cache));
	ck_assert_int_eq(hak_mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache)), 0);
	ck_assert_int_eq(hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)), 0);
	ck_assert_int_eq(hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)), EFAULT);
	ck_assert_int_eq(hak_mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache)), EFAULT);
}
END_TEST

START_TEST(an_explicit_cache_is_filled_from_the_arena_named_with_it)
{
	unsigned arena, cache;
	size_t length = sizeof(arena);
	char name[40];
	void *p[100];

	ck_assert_int_eq(hak_mallctl("arenas.create", &arena, &length, NULL, 0), 0);
	ck_assert_int_eq(hak_mallctl("tcache.create", &cache, &length, NULL, 0), 0);
	int flags = HAK_ARENA(arena) | HAK_TCACHE(cache);
	/* It has others already. */
	hak_dallocx(hak_mallocx(100, HAK_TCACHE(cache)), HAK_TCACHE(cache));
	for (int i = 0; i < 100; i++) {
		p[i] = hak_mallocx(100, flags);
		ck_assert_uint_eq(page_map_get(p[i]) >> LG_CLASSES, arena + 1);
	}
	/* And it is a cache still. */
	hak_dallocx(p[7], flags);
	ck_assert_ptr_eq(hak_mallocx(100, flags), p[7]);
	void *whale = hak_mallocx(2 * MiB, flags);
	ck_assert_uint_eq(page_map_get(whale) >> LG_CLASSES, arena + 1);
	snprintf(name, sizeof(name), "arena.%u.destroy", arena);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), EFAULT);
	ck_assert_int_eq(hak_mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache)), 0);
	ck_assert_int_eq(hak_mallctl(name, NULL, NULL, NULL, 0), 0);
	/* What was destroyed serves nobody, and nobody with it. */
	errno = 0;
	ck_assert_ptr_null(hak_mallocx(100, HAK_ARENA(arena) | HAK_TCACHE_NONE));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(an_explicit_cache_is_no_thread)
{
	unsigned caches[10];
	size_t length = sizeof(*caches);
	uint64_t epoch = 1;

	hak_free(hak_malloc(100));
	uint64_t threads = get("stats.threads"), users = get("stats.arenas.4096.nthreads");
	ck_assert_uint_eq(users, threads);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(hak_mallctl("tcache.create", &caches[i], &length, NULL, 0), 0);
	hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	ck_assert_uint_eq(get("stats.threads"), threads);
	ck_assert_uint_eq(get("stats.arenas.4096.nthreads"), users);
	const struct snapshot *s = control_snapshot(true);
	ck_assert_uint_eq(s->thread_rows, threads);
	lock_release(&control_lock);
	for (int i = 0; i < 10; i++)
		hak_mallctl("tcache.destroy", NULL, NULL, &caches[i], sizeof(caches[i]));
}
END_TEST

START_TEST(large_objects_are_of_an_arena_whatever_the_way)
{
	unsigned found;
	size_t length = sizeof(found);
	void *p = hak_mallocx(3 * MiB, HAK_TCACHE_NONE);

	ck_assert_int_eq(hak_mallctl("arenas.lookup", &found, &length, &p, sizeof(p)), 0);
	ck_assert_uint_eq(found, get("thread.arena"));
	hak_dallocx(p, HAK_TCACHE_NONE);
}
END_TEST

START_TEST(what_is_resized_is_there_once)
{
	void *p = hak_malloc(512 * KiB);

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(hak_mallctl("thread.peak.reset", NULL, NULL, NULL, 0), 0);
		p = hak_realloc(p, i ? 21 * MiB / 2 : 10 * MiB);
		if (i)
			ck_assert_uint_le(get("thread.peak.read"), MiB);
	}
	hak_free(p);
}
END_TEST

START_TEST(the_peak_of_a_thread_has_its_large_objects)
{
	void *p[20];

	ck_assert_int_eq(hak_mallctl("thread.peak.reset", NULL, NULL, NULL, 0), 0);
	for (int i = 0; i < 20; i++)
		p[i] = hak_malloc(5 * MiB);
	for (int i = 0; i < 20; i++)
		hak_free(p[i]);
	ck_assert_uint_ge(get("thread.peak.read"), 100 * MiB);
	ck_assert_uint_lt(get("thread.peak.read"), 101 * MiB);
	/* What was freed does not count with what comes after it. */
	ck_assert_int_eq(hak_mallctl("thread.peak.reset", NULL, NULL, NULL, 0), 0);
	for (int i = 0; i < 20; i++) {
		void *large = hak_malloc(1 * MiB);
		hak_free(large);
		hak_free(hak_malloc(2 * MiB));
	}
	ck_assert_uint_ge(get("thread.peak.read"), 2 * MiB);
	ck_assert_uint_lt(get("thread.peak.read"), 3 * MiB + 64 * KiB);
}
END_TEST

START_TEST(what_large_objects_leave_of_their_mappings_is_told)
{
	uint64_t epoch = 1;
	void *p;

	hak_free(hak_malloc(2 * MiB));
	p = hak_malloc(15 * MiB / 8);
	hak_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	ck_assert_uint_eq(get("stats.whale_slack_bytes"), MiB / 8);
	ck_assert_uint_ge(get("stats.active"), get("stats.allocated") + MiB / 8);
	hak_free(p);
}
END_TEST

START_TEST(xallocx_gives_up_the_end_of_a_large_object)
{
	char *p = hak_malloc(700 * KiB);

	memset(p, 1, 100 * KiB);
	ck_assert_uint_eq(hak_xallocx(p, 100 * KiB, 0, 0), 112 * KiB);
	ck_assert_uint_eq(hak_sallocx(p, 0), 112 * KiB);
	ck_assert_uint_eq(hak_xallocx(p, 112 * KiB, 0, 0), 112 * KiB);
	ck_assert_int_eq(p[100 * KiB - 1], 1);
	/* To no other kind. */
	ck_assert_uint_eq(hak_xallocx(p, 100, 0, 0), 112 * KiB);
	hak_free(p);
}
END_TEST

START_TEST(what_is_made_must_be_told)
{
	uint64_t arenas = get("arenas.narenas");
	unsigned cache, next;
	size_t length = sizeof(cache);

	ck_assert_int_eq(hak_mallctl("arenas.create", NULL, NULL, NULL, 0), EINVAL);
	ck_assert_uint_eq(get("arenas.narenas"), arenas);
	ck_assert_int_eq(hak_mallctl("tcache.create", &cache, &length, NULL, 0), 0);
	ck_assert_int_eq(hak_mallctl("tcache.create", NULL, NULL, NULL, 0), EINVAL);
	ck_assert_int_eq(hak_mallctl("tcache.create", &next, &length, NULL, 0), 0);
	ck_assert_uint_eq(next, cache + 1);
	hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache));
	hak_mallctl("tcache.destroy", NULL, NULL, &next, sizeof(next));
}
END_TEST

START_TEST(text_is_taken_and_refused_as_types_say)
{
	char text[200];

	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "1234"), 0);
	ck_assert_int_eq(control_get_text("arenas.dirty_decay_ms", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "1234");
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "-1"), 0);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "-2"), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "86400001"), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "9223372036854775808"), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", ""), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "12x"), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", " 12"), EINVAL);
	ck_assert_int_eq(control_set_text("tls.enabled", "1"), EINVAL);
	ck_assert_int_eq(control_set_text("tls.enabled", "true"), 0);
	ck_assert_int_eq(control_set_text("whale.max_bytes", "-1"), EINVAL);
	ck_assert_int_eq(control_set_text("stats.allocated", "1"), EPERM);
	ck_assert_int_eq(control_set_text("thread.arena", "0"), EPERM);
	ck_assert_int_eq(control_get_text("thread.allocated", text, sizeof(text)), EPERM);
	ck_assert_int_eq(control_set_text("arena.4096.purge", ""), 0);
	ck_assert_int_eq(control_set_text("arena.4096.purge", "1"), EINVAL);
	ck_assert_int_eq(control_set_text("nonsense", "1"), ENOENT);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "010"), 0);
	ck_assert_uint_eq(get("limit.soft_bytes"), 10);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "0x10"), 0);
	ck_assert_uint_eq(get("limit.soft_bytes"), 16);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "3MiB"), 0);
	ck_assert_uint_eq(get("limit.soft_bytes"), 3 * MiB);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "99999999T"), EINVAL);
	ck_assert_int_eq(control_set_text("arenas.dirty_decay_ms", "1K"), EINVAL);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "K"), EINVAL);
	ck_assert_int_eq(control_set_text("limit.soft_bytes", "0"), 0);
	ck_assert_int_eq(control_get_text("version", text, sizeof(text)), 0);
	ck_assert_str_eq(text, HAK_VERSION);
}
END_TEST

START_TEST(site_rules_are_taken_refused_and_removed)
{
	char rule[64], text[300];

	ck_assert_int_eq(control_set_text("site.add", "no rule"), EINVAL);
	ck_assert_int_eq(control_set_text("site.add", "=name"), EINVAL);
	ck_assert_int_eq(control_set_text("site.add", "pattern="), EINVAL);
	ck_assert_int_eq(control_set_text("site.add", "x=0123456789012345678901234567890123"), EINVAL);
	ck_assert_int_eq(control_set_text("site.remove", "libx*"), ENOENT);
	for (int i = 0; i < 256; i++) {
		snprintf(rule, sizeof(rule), "lib%d.so*=name%d", i, i % 4);
		ck_assert_int_eq(control_set_text("site.add", rule), 0);
	}
	ck_assert_int_eq(control_set_text("site.add", "one=more"), ENOSPC);
	ck_assert_uint_eq(get("site.count"), 256);
	ck_assert_int_eq(control_get_text("site.7.rule", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "lib7.so*=name3");
	ck_assert_int_eq(control_get_text("site.256.rule", text, sizeof(text)), ENOENT);
	ck_assert_int_eq(control_set_text("site.remove", "lib7.so*"), 0);
	ck_assert_uint_eq(get("site.count"), 255);
	/* A rule of the same pattern is replaced. */
	ck_assert_int_eq(control_set_text("site.add", "lib8.so*=other"), 0);
	ck_assert_uint_eq(get("site.count"), 255);
}
END_TEST

#define ADD(name) tcase_add_test(test_case, name)

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *test_case = tcase_create("control");
	SRunner *runner;

	tcase_set_timeout(test_case, 120);
	ADD(every_row_is_found_by_its_name_alone);
	ADD(every_row_that_can_be_read_is_and_in_its_size_alone);
	ADD(every_row_that_can_be_written_takes_its_own_value_back);
	ADD(indexes_out_of_range_are_enoent);
	ADD(allocated_is_the_sum_of_usable_sizes);
	ADD(allocated_is_exact_after_threads_joined);
	ADD(a_thread_knows_its_bytes);
	ADD(what_others_freed_is_not_the_owners_free);
	ADD(a_layer_goes_off_and_on_while_it_is_in_use);
	ADD(thread_tcache_can_be_switched_off);
	ADD(slow_events_in_turn_are_looked_at);
	ADD(a_decay_time_is_in_effect_at_once);
	ADD(frees_after_the_cache_came_back_lose_nothing);
	ADD(what_never_decays_stays_in_the_whale_cache);
	ADD(what_rests_in_a_sleeping_threads_cache_is_taken);
	ADD(batches_that_fit_a_stack_are_served_by_it);
	ADD(a_class_that_drains_keeps_few_slabs);
	ADD(a_sparse_class_in_use_is_gathered_in_fewer_slabs);
	ADD(a_double_free_shows_where_a_sparse_class_is_gathered);
	ADD(what_an_idle_class_has_in_its_depot_goes_home);
	ADD(small_objects_of_large_alignment_take_no_more);
	ADD(a_thread_that_does_little_has_small_stacks);
	ADD(stacks_grow_no_further_than_they_may);
	ADD(stacks_of_large_classes_share_what_they_may_hold);
	ADD(threads_that_never_miss_see_a_layer_go_and_come);
	ADD(a_first_refill_after_the_cache_came_back_stays_on_the_stack);
	ADD(a_thread_that_only_frees_sees_its_layer_go);
	ADD(an_arena_is_made_used_reset_and_destroyed);
	ADD(a_reset_arena_forgets_what_was_on_its_way_home);
	ADD(a_thread_is_bound_to_an_arena);
	ADD(explicit_caches_keep_what_they_are_given);
	ADD(an_explicit_cache_is_filled_from_the_arena_named_with_it);
	ADD(an_explicit_cache_is_no_thread);
	ADD(large_objects_are_of_an_arena_whatever_the_way);
	ADD(what_is_resized_is_there_once);
	ADD(the_peak_of_a_thread_has_its_large_objects);
	ADD(what_large_objects_leave_of_their_mappings_is_told);
	ADD(xallocx_gives_up_the_end_of_a_large_object);
	ADD(what_is_made_must_be_told);
	ADD(text_is_taken_and_refused_as_types_say);
	ADD(site_rules_are_taken_refused_and_removed);
	suite_add_tcase(suite, test_case);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
