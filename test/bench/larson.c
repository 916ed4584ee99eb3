/*
 * larson, in the shape of hakmem's first benchmark (after Larson and Krishnan,
 * "Memory Allocation for Long-Running Server Applications", ISMM 1998): each
 * thread holds chunks of 8 to 1024 bytes and replaces random ones; at the end of
 * a round it hands them to a successor, a new thread, and ends. All threads
 * together do the same work however many they are, and each chunk is checked
 * when it is freed.
 *
 * usage: larson [-t threads] [-n million replacements] [-s seed]
 *               [-c chunks a thread] [-r rounds a thread] [-l] [-i idle seconds]
 *               [-S]  (free with the size, by what the library has for it)
 *               [-k]  (keep: a chunk is checked and written where it is, with no
 *                     malloc or free: what the program itself takes)
 */
#include "bench.h"

#include <dlfcn.h>
#include <limits.h>

#define MIN_SIZE 8
#define MAX_SIZE 1024

struct chunk {
	unsigned char *p;
	unsigned size;
};

struct line {
	_Alignas(64) uint64_t rng;
	struct chunk *chunks;
	size_t replacements;	/* in each round */
	unsigned rounds;	/* to go */
	uint64_t checksum;
	int done;
};

static size_t chunks = 10000, keeps;
static void (*free_with_size)(void *, size_t);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void mark(struct chunk *c)
{
	c->p[0] = (unsigned char)c->size;
	c->p[c->size - 1] = (unsigned char)c->size;
}

static void fill(struct line *l, struct chunk *c)
{
	c->size = MIN_SIZE + (unsigned)(next_random(&l->rng) % (MAX_SIZE - MIN_SIZE + 1));
	c->p = must(timed_malloc(c->size));
	mark(c);
}

static void release(const struct chunk *c)
{
	if (!free_with_size) {
		timed_free(c->p);
		return;
	}
	uint64_t began = timing ? ticks() : 0;
	free_with_size(c->p, c->size);
	if (began)
		note_latency(LATENCY_FREE, began);
}

static void check(struct line *l, const struct chunk *c)
{
	if (c->p[0] != (unsigned char)c->size ||
	    c->p[c->size - 1] != (unsigned char)c->size) {
		fprintf(stderr, "larson: a chunk of %u bytes changed\n", c->size);
		exit(1);
	}
	l->checksum += c->size;
}

static void empty(struct line *l, struct chunk *c)
{
	check(l, c);
	release(c);
}

static void keep(struct line *l, struct chunk *c)
{
	check(l, c);
	/* The size that it does not get: as many random numbers as without -k. */
	next_random(&l->rng);
	mark(c);
}

/* What has a size of the library that serves malloc: another's would only call
 * free. Not linked to, as few libraries have free_sized and a C program has no
 * operator delete. */
static void find_free_with_size(void)
{
	static const char *const names[] = { "free_sized", "_ZdlPvm" };
	Dl_info serves, info;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *found = dlsym(RTLD_DEFAULT, names[i]);
		void *plain = dlsym(RTLD_DEFAULT, "malloc");
		if (found && plain && dladdr(found, &info) && dladdr(plain, &serves) &&
		    info.dli_fbase == serves.dli_fbase) {
			memcpy(&free_with_size, &found, sizeof(found));
			fprintf(stderr, "larson: %s of %s\n", names[i], info.dli_fname);
			return;
		}
	}
	fprintf(stderr, "larson: no sized free: free\n");
}

static void *work(void *arg)
{
	struct line *l = arg;
	pthread_t successor;

	for (size_t i = 0; i < l->replacements; i++) {
		struct chunk *c = &l->chunks[next_random(&l->rng) % chunks];
		if (keeps) {
			keep(l, c);
		} else {
			empty(l, c);
			fill(l, c);
		}
	}
	if (--l->rounds > 0) {
		if (pthread_create(&successor, NULL, work, l) != 0) {
			perror("larson: pthread_create");
			exit(1);
		}
		pthread_detach(successor);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	l->done = 1;
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t rounds = 0, sized = 0;
	uint64_t checksum = 0;
	const struct setting settings[] = {
		NUMBER_SETTING('c', "chunks a thread", &chunks, 1, SIZE_MAX / 64),
		NUMBER_SETTING('r', "rounds a thread", &rounds, 1, UINT_MAX),
		SWITCH_SETTING('S', &sized),
		SWITCH_SETTING('k', &keeps),
		LAST_SETTING,
	};
	struct options o = parse_settings(argc, argv, 40, settings);
	size_t threads = o.threads, each = o.work * 1000000 / threads;

	/* As many replacements a round as there are chunks, times five. */
	if (!rounds)
		rounds = each / chunks / 5 ? each / chunks / 5 : 1;
	if (rounds > each || rounds > UINT_MAX) {
		fprintf(stderr, "larson: more rounds than replacements\n");
		return 2;
	}
	if (sized)
		find_free_with_size();
	struct line *lines = must(aligned_alloc(64, threads * sizeof(*lines)));
	for (size_t t = 0; t < threads; t++) {
		lines[t] = (struct line) {
			.rng = seeded(o.seed, t),
			.chunks = must(malloc(chunks * sizeof(struct chunk))),
			.replacements = each / rounds, .rounds = (unsigned)rounds,
		};
		for (size_t i = 0; i < chunks; i++)
			fill(&lines[t], &lines[t].chunks[i]);
	}
	start_clock();
	for (size_t t = 0; t < threads; t++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, work, &lines[t]) != 0) {
			perror("larson: pthread_create");
			return 1;
		}
		pthread_detach(thread);
	}
	pthread_mutex_lock(&lock);
	for (size_t t = 0; t < threads; t++)
		while (!lines[t].done)
			pthread_cond_wait(&ended, &lock);
	pthread_mutex_unlock(&lock);
	double took = stop_clock();
	for (size_t t = 0; t < threads; t++) {
		for (size_t i = 0; i < chunks; i++)
			empty(&lines[t], &lines[t].chunks[i]);
		checksum += lines[t].checksum;
		free(lines[t].chunks);
	}
	free(lines);
	rest();
	/* A replacement is two operations. */
	report(2.0 * (double)(each / rounds * rounds * threads), took, checksum);
	return 0;
}
