/*
 * Some threads allocate, one frees and never allocates. A given amount stays
 * live, through many times as much; resident memory must stay near it.
 *
 * usage: producer_consumer [-p producers] [-o object-size] [-l live-MiB]
 *                          [-x times-live] [-r]
 *   -o 0  sizes from 16 to 2,000 bytes
 *   -r    freed in random order, not oldest first
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <sys/mman.h>

#define MAX_PRODUCERS 64
#define LIMIT 1.2
/* Below this the fixed costs of threads count for more. What the program has
 * before it starts (a sanitizer's runtime too) is not the allocator's. */
#define FIXED_MIB 4.0

/* From one producer to the consumer; each writes its own counter only. */
struct ring {
	_Alignas(64) size_t put;
	_Alignas(64) size_t taken;
	size_t capacity;
	unsigned char **slot;
	uint64_t rng;
	pthread_t thread;
};

static struct ring ring[MAX_PRODUCERS];
static int producers = 16;
static size_t object_size = 592;
static size_t live_mib = HAVE_SANITIZER ? 8 : 128;
static size_t times = 5;
static bool random_order;
static int finished;

static void
wait_a_little(void)
{
	struct timespec ts = { 0, 20000 };

	nanosleep(&ts, NULL);
}

static void *
produce(void *arg)
{
	struct ring *r = arg;
	size_t total = r->capacity * times;

	while (r->put < total) {
		size_t size = object_size != 0 ? object_size :
		    16 + rng_below(&r->rng, 1985);
		unsigned char *p;

		while (r->put - __atomic_load_n(&r->taken, __ATOMIC_ACQUIRE) ==
		    r->capacity)
			wait_a_little();
		p = opaque(hak_malloc(size));
		CHECK(p != NULL);
		memset(p, 0x11, size);
		*(unsigned char **)(void *)p = p;
		r->slot[r->put % r->capacity] = p;
		__atomic_store_n(&r->put, r->put + 1, __ATOMIC_RELEASE);
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Free down to keep objects; true if there was anything to do. */
static bool
consume(struct ring *r, size_t keep, uint64_t *rng)
{
	size_t have = __atomic_load_n(&r->put, __ATOMIC_ACQUIRE) - r->taken;
	bool did = false;

	while (have > keep) {
		unsigned char **oldest = &r->slot[r->taken % r->capacity];
		unsigned char *p = *oldest;

		if (random_order) {
			unsigned char **any = &r->slot[(r->taken +
			    rng_below(rng, have)) % r->capacity];

			p = *any;
			*any = *oldest;
		}
		CHECK(*(unsigned char **)(void *)p == p);
		hak_free(p);
		__atomic_store_n(&r->taken, r->taken + 1, __ATOMIC_RELEASE);
		have--;
		did = true;
	}
	return did;
}

static void *
consume_all(void *arg)
{
	uint64_t rng = 1;
	int i;

	(void)arg;
	for (;;) {
		bool all = __atomic_load_n(&finished, __ATOMIC_ACQUIRE) ==
		    producers;
		bool did = false;

		for (i = 0; i < producers; i++)
			did |= consume(&ring[i], ring[i].capacity -
			    ring[i].capacity / 16, &rng);
		if (did)
			continue;
		if (all)
			return NULL;
		wait_a_little();
	}
}

int
main(int argc, char **argv)
{
	double live, resident, before;
	size_t average, objects, left = 0;
	uint64_t rng = 2;
	pthread_t consumer;
	int c, i;

	while ((c = getopt(argc, argv, "p:o:l:x:r")) != -1) {
		switch (c) {
		case 'p':
			producers = atoi(optarg);
			break;
		case 'o':
			object_size = (size_t)atol(optarg);
			break;
		case 'l':
			live_mib = (size_t)atol(optarg);
			break;
		case 'x':
			times = (size_t)atol(optarg);
			break;
		case 'r':
			random_order = true;
			break;
		default:
			return 2;
		}
	}
	CHECK(producers >= 1 && producers <= MAX_PRODUCERS);
	CHECK(object_size == 0 || object_size >= sizeof(void *));
	alarm(600);
	average = object_size != 0 ? object_size : 1008;
	objects = live_mib * MIB / average;
	for (i = 0; i < producers; i++) {
		struct ring *r = &ring[i];

		r->capacity = objects / (size_t)producers;
		r->rng = (uint64_t)i + 100;
		r->slot = mmap(NULL, r->capacity * sizeof(*r->slot),
		    PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		CHECK(r->slot != MAP_FAILED);
	}
	before = resident_mib();
	for (i = 0; i < producers; i++)
		CHECK(pthread_create(&ring[i].thread, NULL, produce,
		    &ring[i]) == 0);
	CHECK(pthread_create(&consumer, NULL, consume_all, NULL) == 0);
	for (i = 0; i < producers; i++)
		pthread_join(ring[i].thread, NULL);
	pthread_join(consumer, NULL);
	resident = resident_mib() - before;
	for (i = 0; i < producers; i++)
		left += ring[i].put - ring[i].taken;
	live = (double)(left * average) / (double)MIB;
	printf("producer_consumer: %d producers, %zu bytes%s: live %.1f MiB, "
	    "resident %.1f MiB (%.2f)\n", producers, object_size,
	    random_order ? ", random order" : "", live, resident,
	    resident / live);
	if (!HAVE_SANITIZER && resident > live * LIMIT + FIXED_MIB)
		fail("producer_consumer: resident over %.1f x live", LIMIT);
	for (i = 0; i < producers; i++)
		consume(&ring[i], 0, &rng);
	puts("producer_consumer: ok");
	return 0;
}
