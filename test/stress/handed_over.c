/*
 * Small objects, made in a row by one thread and handed to others: each frees its
 * own and allocates again. What they get then must lie in no cache line of which
 * another thread has part, or they would write to it in turn for good.
 */
#include "../harness.h"

#include <pthread.h>

#define THREADS 8
#define LINE 64

/* Each of a class of its own: a later thread gets the cache of an earlier one. */
static const size_t sizes[] = { 8, 16, 32, 48 };
static pthread_barrier_t all_freed;
static size_t size;
static void *given[THREADS], *taken[THREADS];

static void *
take_again(void *argument)
{
	size_t i = (size_t)argument;

	hak_free(given[i]);
	pthread_barrier_wait(&all_freed);
	taken[i] = hak_malloc(size);
	pthread_barrier_wait(&all_freed);
	return NULL;
}

static bool
share_a_line(const void *a, const void *b)
{
	uintptr_t low = (uintptr_t)a < (uintptr_t)b ? (uintptr_t)a : (uintptr_t)b;
	uintptr_t high = (uintptr_t)a < (uintptr_t)b ? (uintptr_t)b : (uintptr_t)a;

	return (low + size - 1) / LINE >= high / LINE;
}

int
main(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&all_freed, NULL, THREADS);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		size = sizes[s];
		for (size_t i = 0; i < THREADS; i++)
			given[i] = hak_malloc(size);
		void *kept = hak_malloc(size);
		for (size_t i = 0; i < THREADS; i++)
			CHECK(pthread_create(&threads[i], NULL, take_again, (void *)i) == 0);
		for (size_t i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < THREADS; i++) {
			CHECK(!share_a_line(taken[i], kept));
			for (size_t k = 0; k < i; k++)
				CHECK(!share_a_line(taken[i], taken[k]));
		}
		for (size_t i = 0; i < THREADS; i++)
			hak_free(taken[i]);
		hak_free(kept);
	}
	return 0;
}
