/*
 * An idle process gives back what it freed, with no call from the program.
 * Each variant is a process of its own; all run at once.
 *
 * usage: idle_return [-m MiB] [-w seconds] [variant...]
 *   scattered   free all but 1.6 MiB of small objects, spread evenly; at most
 *               20 MiB may stay resident. Threads joined, freed in order.
 *   random      ... freed in random order
 *   sleeping    ... the threads sleep, their caches full
 *   sleeping-random
 *   whole       free everything, large objects and whales too: 95 % goes back
 *   pool        hundreds of threads that allocated and freed a few objects of many
 *               sizes each, and sleep: what lies in their caches goes back
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define THREADS 4
#define KEPT_BYTES (MIB * 16 / 10)
#define RESIDENT_LIMIT 20.0
#define RETURN_LIMIT 0.95

static const char *const variants[] = {
	"scattered", "random", "sleeping", "sleeping-random", "whole", "pool"
};
#define VARIANTS (int)(sizeof(variants) / sizeof(*variants))

/* A thread of the pool: its objects, and what it may still have when it sleeps, its stack
 * and its cache's own memory. */
#define POOL_THREADS 400
#define POOL_OBJECTS 50
#define POOL_KIB 32.0

struct object {
	unsigned char *p;
	size_t size;
};

static size_t fill_mib = 512;
static int wait_seconds = 12;
static bool random_order, sleeping, whole;
static pthread_barrier_t filled, freed, measured;
static struct object *kept[THREADS];
static size_t kept_n[THREADS];

static void *
map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* A third of the bytes each to small, middle and large objects. */
static size_t
any_size(uint64_t *rng)
{
	size_t kind = rng_below(rng, 1000);

	if (kind < 970)
		return 16 + rng_below(rng, 1009);
	if (kind < 999)
		return KIB + rng_below(rng, 31 * KIB);
	if (whole && rng_below(rng, 8) == 0)
		return MIB + rng_below(rng, 3 * MIB);
	return 32 * KIB + rng_below(rng, MIB - 32 * KIB);
}

static void *
work(void *arg)
{
	size_t id = (uintptr_t)arg;
	uint64_t rng = id + 1;
	size_t share = fill_mib * MIB / THREADS, bytes = 0, small = 0;
	size_t room = share / 16 * sizeof(struct object);
	struct object *o = map(room);
	size_t n = 0, i, keep_each, seen = 0;

	while (bytes < share) {
		o[n].size = any_size(&rng);
		o[n].p = opaque(hak_malloc(o[n].size));
		CHECK(o[n].p != NULL);
		memset(o[n].p, (int)(o[n].size & 0xff), o[n].size);
		bytes += o[n].size;
		if (o[n].size <= KIB)
			small += o[n].size;
		n++;
	}
	pthread_barrier_wait(&filled);
	pthread_barrier_wait(&filled);
	/* Keep every so-many-eth small object. */
	kept[id] = map(KEPT_BYTES);
	keep_each = small / (KEPT_BYTES / THREADS) + 1;
	for (i = 0; !whole && i < n; i++) {
		if (o[i].size <= KIB && seen++ % keep_each == 0) {
			kept[id][kept_n[id]++] = o[i];
			o[i].p = NULL;
		}
	}
	if (random_order) {
		for (i = n - 1; i > 0; i--) {
			size_t j = rng_below(&rng, i + 1);
			struct object swap = o[i];

			o[i] = o[j];
			o[j] = swap;
		}
	}
	for (i = 0; i < n; i++)
		hak_free(o[i].p);
	munmap(o, room);
	pthread_barrier_wait(&freed);
	if (sleeping)
		pthread_barrier_wait(&measured);
	return NULL;
}

static void *
work_a_little(void *arg)
{
	uint64_t rng = (uintptr_t)arg + 1;
	void *p[POOL_OBJECTS];

	for (int i = 0; i < POOL_OBJECTS; i++) {
		size_t size = 1 + rng_below(&rng, 16000);
		p[i] = opaque(hak_malloc(size));
		CHECK(p[i] != NULL);
		memset(p[i], 1, size);
	}
	for (int i = 0; i < POOL_OBJECTS; i++)
		hak_free(p[i]);
	pthread_barrier_wait(&freed);
	pthread_barrier_wait(&measured);
	return NULL;
}

static int
run_pool(void)
{
	static pthread_t thread[POOL_THREADS];
	pthread_attr_t attr;
	double before = resident_mib();

	pthread_barrier_init(&freed, NULL, POOL_THREADS + 1);
	pthread_barrier_init(&measured, NULL, POOL_THREADS + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KIB);
	for (size_t id = 0; id < POOL_THREADS; id++)
		CHECK(pthread_create(&thread[id], &attr, work_a_little, (void *)id) == 0);
	pthread_barrier_wait(&freed);
	double full = resident_mib();
	for (double start = now(); now() - start < wait_seconds;)
		sleep_ms(200);
	double kib = (resident_mib() - before) * 1024 / POOL_THREADS;
	pthread_barrier_wait(&measured);
	for (int id = 0; id < POOL_THREADS; id++)
		pthread_join(thread[id], NULL);
	printf("idle_return: pool            filled %.1f MiB, after %d s %.1f KiB a thread\n",
	    full, wait_seconds, kib);
	if (kib > POOL_KIB)
		fail("idle_return: pool: over %.0f KiB a thread", POOL_KIB);
	return 0;
}

static int
run(const char *name)
{
	pthread_t thread[THREADS];
	double before, full, now_mib, start;
	size_t id, i, kept_bytes = 0;

	random_order = strstr(name, "random") != NULL;
	sleeping = strstr(name, "sleeping") != NULL;
	whole = strcmp(name, "whole") == 0;
	pthread_barrier_init(&filled, NULL, THREADS + 1);
	pthread_barrier_init(&freed, NULL, THREADS + 1);
	pthread_barrier_init(&measured, NULL, THREADS + 1);
	before = resident_mib();
	for (id = 0; id < THREADS; id++)
		CHECK(pthread_create(&thread[id], NULL, work, (void *)id) == 0);
	pthread_barrier_wait(&filled);
	full = resident_mib();
	pthread_barrier_wait(&filled);
	pthread_barrier_wait(&freed);
	start = now();
	if (!sleeping)
		for (id = 0; id < THREADS; id++)
			pthread_join(thread[id], NULL);
	while (now() - start < wait_seconds)
		sleep_ms(200);
	now_mib = resident_mib();
	for (id = 0; id < THREADS; id++) {
		for (i = 0; i < kept_n[id]; i++) {
			struct object *o = &kept[id][i];

			CHECK(o->p[0] == (o->size & 0xff) &&
			    o->p[o->size / 2] == (o->size & 0xff) &&
			    o->p[o->size - 1] == (o->size & 0xff));
			kept_bytes += o->size;
			hak_free(o->p);
		}
	}
	if (sleeping) {
		pthread_barrier_wait(&measured);
		for (id = 0; id < THREADS; id++)
			pthread_join(thread[id], NULL);
	}
	printf("idle_return: %-15s filled %.1f MiB, kept %.1f, resident after "
	    "%d s %.1f MiB\n", name, full, (double)kept_bytes / (double)MIB,
	    wait_seconds, now_mib);
	fflush(stdout);
	if (whole && full - now_mib < RETURN_LIMIT * (full - before))
		fail("idle_return: %s: under %.0f %% came back", name,
		    RETURN_LIMIT * 100);
	if (!whole && now_mib > RESIDENT_LIMIT)
		fail("idle_return: %s: resident over %.0f MiB", name,
		    RESIDENT_LIMIT);
	return 0;
}

int
main(int argc, char **argv)
{
	pid_t pid[VARIANTS];
	char mib[24], seconds[24];
	int c, i, n = 0, failed = 0, status;

	while ((c = getopt(argc, argv, "m:w:")) != -1) {
		if (c == 'm')
			fill_mib = (size_t)atol(optarg);
		else if (c == 'w')
			wait_seconds = atoi(optarg);
		else
			return 2;
	}
	if (HAVE_SANITIZER) {
		puts("skip: idle_return: a sanitizer keeps memory");
		return SKIP;
	}
	alarm(180);
	if (argc - optind == 1)
		return strcmp(argv[optind], "pool") == 0 ? run_pool() : run(argv[optind]);
	snprintf(mib, sizeof(mib), "-m%zu", fill_mib);
	snprintf(seconds, sizeof(seconds), "-w%d", wait_seconds);
	for (i = 0; i < VARIANTS; i++) {
		pid[n] = fork();
		CHECK(pid[n] >= 0);
		if (pid[n++] == 0) {
			execl("/proc/self/exe", argv[0], mib, seconds,
			    variants[i], (char *)NULL);
			_exit(2);
		}
	}
	while (n-- > 0) {
		CHECK(waitpid(pid[n], &status, 0) == pid[n]);
		failed |= status;
	}
	if (failed != 0)
		return 1;
	puts("idle_return: ok");
	return 0;
}
