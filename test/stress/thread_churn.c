/*
 * Threads come and go by the thousand. Each leaves objects that others free,
 * and frees and allocates in destructors of thread-specific data: of keys made
 * before the allocator could make its own and after it, in each of the rounds
 * that the system grants. Nothing may leak: neither objects nor caches.
 *
 * usage: thread_churn [-n threads] [-t at-a-time]
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <limits.h>
#include <pthread.h>

#define POOL 4096
#define EACH 60
/* A sanitizer is gone in the last round. */
#define ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - HAVE_SANITIZER)

static pthread_key_t key_before, key_after;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	unsigned char *p;
	size_t size;
} pool[POOL];
static int destroyed;

/* What a key's destructor finds. */
struct leftover {
	pthread_key_t key;
	int rounds;
	size_t size[8];
	unsigned char *p[8];
};

static unsigned char *
filled(size_t size)
{
	unsigned char *p = opaque(hak_malloc(size));

	CHECK(p != NULL);
	memset(p, (int)(size & 0xff), size);
	return p;
}

static void
check_free(unsigned char *p, size_t size)
{
	CHECK(p[0] == (size & 0xff) && p[size / 2] == (size & 0xff) &&
	    p[size - 1] == (size & 0xff));
	hak_free(p);
}

static size_t
any_size(uint64_t *rng)
{
	return rng_below(rng, 100) == 0 ? 1 + rng_below(rng, 100000) :
	    1 + rng_below(rng, 1200);
}

/* Put an object into the pool and free the one that was there. */
static void
trade(uint64_t *rng)
{
	size_t size = any_size(rng);
	unsigned char *p = filled(size), *old;
	size_t old_size, i = rng_below(rng, POOL);

	pthread_mutex_lock(&pool_lock);
	old = pool[i].p;
	old_size = pool[i].size;
	pool[i].p = p;
	pool[i].size = size;
	pthread_mutex_unlock(&pool_lock);
	if (old != NULL)
		check_free(old, old_size);
}

static void
destroy(void *arg)
{
	struct leftover *left = arg;
	uint64_t rng = (uintptr_t)left;
	int i;

	for (i = 0; i < 8; i++)
		check_free(left->p[i], left->size[i]);
	trade(&rng);
	if (--left->rounds == 0) {
		hak_free(left);
		__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
		return;
	}
	for (i = 0; i < 8; i++) {
		left->size[i] = any_size(&rng);
		left->p[i] = filled(left->size[i]);
	}
	CHECK(pthread_setspecific(left->key, left) == 0);
}

static void
leave(pthread_key_t key, int rounds, uint64_t *rng)
{
	struct leftover *left = opaque(hak_malloc(sizeof(*left)));
	int i;

	CHECK(left != NULL);
	left->key = key;
	left->rounds = rounds;
	for (i = 0; i < 8; i++) {
		left->size[i] = any_size(rng);
		left->p[i] = filled(left->size[i]);
	}
	CHECK(pthread_setspecific(key, left) == 0);
}

static void *
short_life(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	int i;

	for (i = 0; i < EACH; i++)
		trade(&rng);
	leave(key_before, 1 + (int)rng_below(&rng, ROUNDS), &rng);
	leave(key_after, 1 + (int)rng_below(&rng, ROUNDS), &rng);
	return NULL;
}

/* Before any library's constructor, so before the allocator made its key;
 * but a sanitizer must come first. */
#if HAVE_SANITIZER
__attribute__((constructor))
#endif
static void
make_first_key(void)
{
	pthread_key_create(&key_before, destroy);
}

#if !HAVE_SANITIZER
__attribute__((section(".preinit_array"), used))
static void (*const first)(void) = make_first_key;
#endif

int
main(int argc, char **argv)
{
	int threads = HAVE_SANITIZER ? 500 : 4000, at_once = 8;
	pthread_t thread[256];
	double early = 0, late;
	long long allocated;
	int c, i, t, n;

	while ((c = getopt(argc, argv, "n:t:")) != -1) {
		if (c == 'n')
			threads = atoi(optarg);
		else if (c == 't' && atoi(optarg) <= 256)
			at_once = atoi(optarg);
		else
			return 2;
	}
	alarm(300);
	hak_free(opaque(hak_malloc(1)));
	CHECK(pthread_key_create(&key_after, destroy) == 0);
	allocated = stat_get("stats.allocated");
	for (n = 0; n < threads; n += at_once) {
		for (t = 0; t < at_once; t++)
			CHECK(pthread_create(&thread[t], NULL, short_life,
			    (void *)(uintptr_t)(n + t + 1)) == 0);
		for (t = 0; t < at_once; t++)
			pthread_join(thread[t], NULL);
		if (n < threads / 4)
			early = resident_mib();
	}
	late = resident_mib();
	CHECK(destroyed == n * 2);
	for (i = 0; i < POOL; i++)
		if (pool[i].p != NULL)
			check_free(pool[i].p, pool[i].size);
	/* The main thread's and the library's own share of it may differ. */
	if (allocated >= 0) {
		hak_malloc_trim(0);
		allocated = stat_get("stats.allocated") - allocated;
		printf("thread_churn: %lld bytes more allocated at the end\n",
		    allocated);
		CHECK(allocated < 200000);
	}
	printf("thread_churn: %d threads, resident %.1f MiB after a quarter, "
	    "%.1f at the end\n", n, early, late);
	if (!HAVE_SANITIZER)
		CHECK(late < early * 1.25 + 4);
	puts("thread_churn: ok");
	return 0;
}
