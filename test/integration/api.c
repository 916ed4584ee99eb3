/*
 * Every function of hakmem.h, with glibc's edge semantics for those that have
 * its names, and jemalloc's for the *x functions.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>

static const size_t sizes[] = {
	1, 7, 8, 9, 15, 16, 17, 31, 32, 48, 63, 64, 65, 127, 128, 129, 592, 1000,
	1023, 1024, 1025, 2048, 4095, 4096, 4097, 10000, 32767, 32768, 32769,
	65535, 65536, 65537, 100000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
	3 << 20, (8 << 20) + 5
};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

static bool
is_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static bool
is_all(const unsigned char *p, size_t n, unsigned char value)
{
	return n == 0 || (p[0] == value && memcmp(p, p + 1, n - 1) == 0);
}

/* Make dirty memory of this size likely for who comes next. */
static void
make_dirty(size_t size)
{
	void *p[4];
	int i;

	for (i = 0; i < 4; i++) {
		p[i] = opaque(hak_malloc(size));
		CHECK(p[i] != NULL);
		memset(p[i], 0xee, size);
	}
	for (i = 0; i < 4; i++)
		hak_free(p[i]);
}

static void
malloc_and_free(void)
{
	void *zero[100], *p;
	size_t i, j;

	for (i = 0; i < SIZES; i++) {
		p = opaque(hak_malloc(sizes[i]));
		CHECK(p != NULL);
		CHECK((uintptr_t)p % (sizes[i] >= 16 ? 16 : 8) == 0);
		CHECK(hak_malloc_usable_size(p) >= sizes[i]);
		memset(p, 0x55, hak_malloc_usable_size(p));
		errno = 1234;
		hak_free(p);
		CHECK(errno == 1234);
	}
	for (i = 0; i < 100; i++) {
		zero[i] = opaque(hak_malloc(opaque_size(0)));
		CHECK(zero[i] != NULL);
		for (j = 0; j < i; j++)
			CHECK(zero[j] != zero[i]);
	}
	for (i = 0; i < 100; i++)
		hak_free(zero[i]);
	errno = 4321;
	hak_free(NULL);
	hak_free_sized(NULL, 10);
	hak_free_aligned_sized(NULL, 64, 10);
	CHECK(errno == 4321);
	CHECK(hak_malloc_usable_size(NULL) == 0);
	for (i = 0; i < SIZES; i++) {
		p = opaque(hak_malloc(sizes[i]));
		hak_free_sized(p, sizes[i]);
		p = opaque(hak_aligned_alloc(64, sizes[i]));
		hak_free_aligned_sized(p, 64, sizes[i]);
		p = opaque(hak_aligned_alloc(8192, sizes[i]));
		hak_free_aligned_sized(p, 8192, sizes[i]);
		p = opaque(hak_calloc(1, sizes[i]));
		hak_free_sized(p, sizes[i]);
	}
}

static void
calloc_zeroes(void)
{
	size_t i;
	void *p, *q;

	for (i = 0; i < SIZES; i++) {
		make_dirty(sizes[i]);
		p = opaque(hak_calloc(1, sizes[i]));
		q = opaque(hak_calloc(sizes[i], 1));
		CHECK(p != NULL && q != NULL && p != q);
		CHECK(is_zero(p, sizes[i]) && is_zero(q, sizes[i]));
		hak_free(p);
		hak_free(q);
	}
	p = opaque(hak_calloc(opaque_size(0), 8));
	q = opaque(hak_calloc(8, opaque_size(0)));
	CHECK(p != NULL && q != NULL && p != q);
	hak_free(p);
	hak_free(q);
	errno = 0;
	CHECK(opaque(hak_calloc(opaque_size(SIZE_MAX / 4), 8)) == NULL);
	CHECK(errno == ENOMEM);
	errno = 0;
	CHECK(opaque(hak_calloc(opaque_size((size_t)1 << 63), 2)) == NULL);
	CHECK(errno == ENOMEM);
}

static void
realloc_keeps(void)
{
	size_t i, j, least;
	unsigned char *p, *q;

	for (i = 0; i < SIZES; i++) {
		for (j = 0; j < SIZES; j++) {
			p = opaque(hak_malloc(sizes[i]));
			CHECK(p != NULL);
			memset(p, 0x3c, sizes[i]);
			q = opaque(hak_realloc(p, sizes[j]));
			CHECK(q != NULL);
			least = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
			CHECK(is_all(q, least, 0x3c));
			memset(q, 0x3d, sizes[j]);
			hak_free(q);
		}
	}
	/* NULL is malloc, 0 is free. */
	p = opaque(hak_realloc(NULL, 100));
	CHECK(p != NULL);
	CHECK(opaque(hak_realloc(p, opaque_size(0))) == NULL);
	p = opaque(hak_realloc(NULL, opaque_size(0)));
	CHECK(p != NULL);
	hak_free(p);
	p = opaque(hak_malloc(5 * MIB));
	CHECK(opaque(hak_realloc(p, opaque_size(0))) == NULL);

	p = opaque(hak_reallocarray(NULL, 10, 10));
	CHECK(p != NULL && hak_malloc_usable_size(p) >= 100);
	memset(p, 0x11, 100);
	errno = 0;
	CHECK(opaque(hak_reallocarray(p, opaque_size(SIZE_MAX / 2), 3)) ==
	    NULL);
	CHECK(errno == ENOMEM);
	CHECK(is_all(p, 100, 0x11));
	p = opaque(hak_reallocarray(p, 1000, 30));
	CHECK(p != NULL && is_all(p, 100, 0x11));
	CHECK(opaque(hak_reallocarray(p, opaque_size(0), 30)) == NULL);

	/* A string that grows byte by byte, across all the ranges. */
	p = NULL;
	for (i = 1; i <= 3000; i++) {
		p = opaque(hak_realloc(p, i));
		CHECK(p != NULL && is_all(p, i - 1, 0x77));
		p[i - 1] = 0x77;
	}
	for (; i < 16 * MIB; i = i * 3 / 2) {
		p = opaque(hak_realloc(p, i));
		CHECK(p != NULL && is_all(p, 3000, 0x77));
		p[i - 1] = 1;
	}
	hak_free(p);
}

static void
aligned(void)
{
	static const size_t odd[] = { 3, 5, 6, 7, 12, 24, 48, 100, 4097 };
	size_t alignment, i;
	void *p;

	for (alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
		for (i = 0; i < SIZES; i += 3) {
			size_t size = sizes[i];

			p = NULL;
			if (alignment >= sizeof(void *)) {
				errno = 55;
				CHECK(hak_posix_memalign(&p, alignment,
				    size) == 0);
				CHECK(errno == 55);
				CHECK(p != NULL &&
				    (uintptr_t)p % alignment == 0);
				CHECK(hak_malloc_usable_size(p) >= size);
				memset(p, 1, size);
				hak_free(p);
			}
			p = opaque(hak_aligned_alloc(alignment, size));
			CHECK(p != NULL && (uintptr_t)p % alignment == 0);
			memset(p, 1, size);
			p = opaque(hak_realloc(p, 2 * size));
			CHECK(p != NULL && is_all(p, size, 1));
			hak_free(p);
			p = opaque(hak_memalign(alignment, size));
			CHECK(p != NULL && (uintptr_t)p % alignment == 0);
			CHECK(hak_malloc_usable_size(p) >= size);
			memset(p, 2, size);
			hak_free(p);
		}
	}
	for (i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		alignment = opaque_size(odd[i]);
		p = &p;
		errno = 55;
		CHECK(hak_posix_memalign(&p, alignment, 10) == EINVAL);
		CHECK(p == &p && errno == 55);
		errno = 0;
		CHECK(opaque(hak_aligned_alloc(alignment, 96)) == NULL);
		CHECK(errno == EINVAL);
	}
	/* A power of two, but no multiple of sizeof(void *); and none. */
	CHECK(hak_posix_memalign(&p, opaque_size(4), 10) == EINVAL);
	CHECK(hak_posix_memalign(&p, opaque_size(0), 10) == EINVAL);
	p = NULL;
	CHECK(hak_posix_memalign(&p, 64, opaque_size(0)) == 0 && p != NULL);
	CHECK((uintptr_t)p % 64 == 0);
	hak_free(p);
	/* An alignment that nothing can have room for. */
	errno = 0;
	CHECK(opaque(hak_aligned_alloc(opaque_size((size_t)1 << 62), 10)) ==
	    NULL);
	CHECK(errno == ENOMEM || errno == EINVAL);
	p = opaque(hak_aligned_alloc(opaque_size(64 * MIB), 100));
	CHECK(p != NULL && (uintptr_t)p % (64 * MIB) == 0);
	hak_free(p);

	p = opaque(hak_valloc(100));
	CHECK(p != NULL && (uintptr_t)p % 4096 == 0);
	hak_free(p);
	p = opaque(hak_pvalloc(100));
	CHECK(p != NULL && (uintptr_t)p % 4096 == 0);
	CHECK(hak_malloc_usable_size(p) >= 4096);
	memset(p, 1, 4096);
	hak_free(p);
	p = opaque(hak_pvalloc(opaque_size(4097)));
	CHECK(p != NULL && hak_malloc_usable_size(p) >= 8192);
	hak_free(p);
}

static void
x_functions(void)
{
	unsigned char *p, *q;
	size_t i, j, n, usable;
	unsigned cache;
	size_t length = sizeof(cache);
	int la, stayed;

	CHECK(hak_mallctl("tcache.create", &cache, &length, NULL, 0) == 0);
	for (i = 0; i < SIZES; i++) {
		for (la = 0; la <= 21; la += 3) {
			int flags = HAK_LG_ALIGN(la);

			n = hak_nallocx(sizes[i], flags);
			CHECK(n >= sizes[i]);
			p = opaque(hak_mallocx(sizes[i], flags));
			CHECK(p != NULL);
			CHECK((uintptr_t)p % ((size_t)1 << la) == 0);
			CHECK(hak_sallocx(p, flags) == n);
			CHECK(hak_malloc_usable_size(p) == n);
			memset(p, 0xee, n);
			if (i % 2 == 0)
				hak_dallocx(p, flags);
			else
				hak_sdallocx(p, sizes[i], flags);
		}
		make_dirty(sizes[i]);
		p = opaque(hak_mallocx(sizes[i], HAK_ZERO));
		CHECK(p != NULL && is_zero(p, sizes[i]));
		hak_sdallocx(p, hak_sallocx(p, 0), 0);
		make_dirty(sizes[i]);
		p = opaque(hak_mallocx(sizes[i],
		    HAK_ZERO | HAK_TCACHE_NONE | HAK_ALIGN(256)));
		CHECK(p != NULL && is_zero(p, sizes[i]));
		CHECK((uintptr_t)p % 256 == 0);
		hak_dallocx(p, HAK_TCACHE_NONE);
		p = opaque(hak_mallocx(sizes[i], HAK_ARENA(0)));
		CHECK(p != NULL);
		memset(p, 1, sizes[i]);
		hak_dallocx(p, 0);
		p = opaque(hak_mallocx(sizes[i], HAK_TCACHE(cache)));
		CHECK(p != NULL);
		memset(p, 1, sizes[i]);
		hak_dallocx(p, HAK_TCACHE(cache));
	}
	CHECK(hak_mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)) == 0);
	errno = 0;
	CHECK(opaque(hak_mallocx(8, HAK_TCACHE(cache))) == NULL);
	CHECK(errno == EINVAL);
	CHECK(HAK_ALIGN(64) == HAK_LG_ALIGN(6));

	/* Size 0 and an arena that there is not. */
	errno = 0;
	CHECK(opaque(hak_mallocx(opaque_size(0), 0)) == NULL);
	CHECK(errno == EINVAL);
	errno = 0;
	CHECK(opaque(hak_mallocx(10, HAK_ARENA(2000))) == NULL);
	CHECK(errno == EINVAL);
	CHECK(hak_nallocx(opaque_size((size_t)PTRDIFF_MAX + 1), 0) == 0);
	CHECK(hak_nallocx(opaque_size(SIZE_MAX), HAK_ALIGN(4096)) == 0);

	/* Growing with HAK_ZERO; from small to whale and back. */
	for (i = 0; i < SIZES; i++) {
		for (j = i; j < SIZES; j++) {
			make_dirty(sizes[j]);
			p = opaque(hak_mallocx(sizes[i], 0));
			CHECK(p != NULL);
			usable = hak_sallocx(p, 0);
			memset(p, 0x42, usable);
			q = opaque(hak_rallocx(p, sizes[j], HAK_ZERO));
			CHECK(q != NULL && is_all(q, sizes[i], 0x42));
			if (sizes[j] > usable)
				CHECK(is_zero(q + usable, sizes[j] - usable));
			memset(q, 0x43, sizes[j]);
			p = opaque(hak_rallocx(q, sizes[i], HAK_ALIGN(512)));
			CHECK(p != NULL && is_all(p, sizes[i], 0x43));
			CHECK((uintptr_t)p % 512 == 0);
			hak_dallocx(p, 0);
		}
	}
	/* Zero from the start and grown with HAK_ZERO: zero throughout, where
	 * it stays in place, too. */
	for (i = 100; i < 100000; i = i * 7 / 5) {
		make_dirty(i);
		p = opaque(hak_mallocx(i, HAK_ZERO));
		CHECK(p != NULL);
		n = hak_sallocx(p, 0);
		p = opaque(hak_rallocx(p, n, HAK_ZERO));
		CHECK(p != NULL && is_zero(p, n));
		hak_dallocx(p, 0);
	}
	p = opaque(hak_mallocx(100, 0));
	memset(p, 9, 100);
	errno = 0;
	CHECK(opaque(hak_rallocx(p, opaque_size((size_t)PTRDIFF_MAX), 0)) ==
	    NULL);
	CHECK(errno == ENOMEM && is_all(p, 100, 9));
	hak_dallocx(p, 0);

	/* In place: it says what there is afterwards. */
	for (i = 0; i < SIZES; i++) {
		p = opaque(hak_mallocx(sizes[i], 0));
		CHECK(p != NULL);
		usable = hak_sallocx(p, 0);
		memset(p, 0x24, usable);
		/* What it has already is always possible. */
		CHECK(hak_xallocx(p, usable, 0, 0) == usable);
		CHECK(hak_sallocx(p, 0) == usable);
		n = hak_xallocx(p, usable + 1, usable, 0);
		CHECK(n == hak_sallocx(p, 0) && n >= usable);
		CHECK(is_all(p, usable, 0x24));
		memset(p, 0x24, n);
		n = hak_xallocx(p, usable / 2 + 1, 0, 0);
		CHECK(n == hak_sallocx(p, 0) && n >= usable / 2 + 1);
		CHECK(is_all(p, usable / 2 + 1, 0x24));
		n = hak_xallocx(p, n, opaque_size(SIZE_MAX - n), 0);
		CHECK(n == hak_sallocx(p, 0));
		hak_sdallocx(p, n, 0);
	}
	/* What shrinks within L2.5 stays where it is, and grows into what it gave up
	 * (unless just that goes back to the system at that moment). */
	q = opaque(hak_malloc(1 * MIB));
	CHECK(q != NULL);
	memset(q, 0x24, 1 * MIB);
	p = opaque(hak_realloc(q, 40000));
	CHECK(p == q);
	stayed = 0;
	for (n = 40000; n * 3 / 2 <= 1 * MIB; n = n * 3 / 2) {
		p = opaque(hak_rallocx(p, n * 3 / 2, HAK_ZERO));
		stayed += p == q;
		q = p;
		CHECK(p != NULL && is_all(p, n, 0x24));
		usable = hak_sallocx(p, 0);
		CHECK(is_zero(p + hak_nallocx(n, 0), usable - hak_nallocx(n, 0)));
		memset(p, 0x24, usable);
	}
	CHECK(stayed > 0);
	p = opaque(hak_realloc(p, 100000));
	CHECK(p == q && is_all(p, 100000, 0x24));
	CHECK(hak_malloc_usable_size(p) == hak_nallocx(100000, 0));
	hak_free(p);
	/* Where a whale grows in place with HAK_ZERO the new part is zero. */
	make_dirty(16 * MIB);
	p = opaque(hak_mallocx(2 * MIB, 0));
	CHECK(p != NULL);
	usable = hak_sallocx(p, 0);
	memset(p, 0x24, usable);
	n = hak_xallocx(p, 8 * MIB, 0, HAK_ZERO);
	if (n > usable)
		CHECK(is_zero(p + usable, n - usable));
	CHECK(is_all(p, usable, 0x24));
	hak_dallocx(p, 0);
}

static void
collect(void *arg, const char *text)
{
	size_t *bytes = arg;

	*bytes += strlen(text);
}

static void
statistics(void)
{
	static const char *const keys[] = {
		"arenas.narenas", "stats.arenas_in_use", "stats.allocated",
		"stats.active", "stats.dirty", "stats.muzzy", "stats.mapped",
		"stats.metadata", "stats.tcache_bytes", "tls.tiny.hits",
		"tls.tiny.misses", "tls.l2.hits", "tls.l2.misses", "tls.l25.hits",
		"tls.l25.misses", "whale.hits", "whale.misses", "whale.bytes",
		"stats.locks.acquired", "stats.locks.contended",
		"stats.background_thread.num_threads"
	};
	long long before, with;
	size_t bytes = 0, i;
	void *p;

	hak_malloc_stats_print(collect, &bytes, NULL);
	CHECK(bytes > 100);
	if (stat_get("stats.allocated") < 0) {
		puts("api: no statistics in this build");
		return;
	}
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (stat_get(keys[i]) < 0)
			fail("api: no line '%s: N' in the statistics", keys[i]);
	before = stat_get("stats.allocated");
	p = opaque(hak_malloc(10 * MIB));
	with = stat_get("stats.allocated");
	CHECK(with - before >= (long long)(10 * MIB));
	CHECK(with - before < (long long)(11 * MIB));
	CHECK(stat_get("stats.active") >= with);
	CHECK(stat_get("stats.mapped") >= stat_get("stats.active"));
	hak_free(p);
	CHECK(stat_get("stats.allocated") - before < (long long)MIB);
	before = stat_get("stats.allocated");
	p = opaque(hak_malloc(500000));
	with = stat_get("stats.allocated") - before;
	CHECK(with >= 500000 && with < 700000);
	hak_free(p);
}

static void
trim(void)
{
	static void *p[20000];
	double full, trimmed;
	size_t i;

	for (i = 0; i < 20000; i++) {
		p[i] = opaque(hak_malloc(4000));
		memset(p[i], 1, 4000);
	}
	full = resident_mib();
	for (i = 0; i < 20000; i++)
		hak_free(p[i]);
	CHECK(hak_malloc_trim(0) == 1);
	trimmed = resident_mib();
	if (!HAVE_SANITIZER)
		CHECK(full - trimmed > 60);
	hak_malloc_trim(0);
	CHECK(hak_malloc_trim(0) == 0);
}

static void *
all_of_it(void *arg)
{
	(void)arg;
	malloc_and_free();
	calloc_zeroes();
	aligned();
	return NULL;
}

int
main(void)
{
	pthread_t thread;

	/* Hold stdout's buffer from here on, before anything is measured. */
	puts("api: start");
	alarm(200);
	all_of_it(NULL);
	realloc_keeps();
	x_functions();
	CHECK(pthread_create(&thread, NULL, all_of_it, NULL) == 0);
	pthread_join(thread, NULL);
	statistics();
	trim();
	puts("api: ok");
	return 0;
}
