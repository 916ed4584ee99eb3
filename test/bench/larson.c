/*
 * larson, in the shape of hakmem's first benchmark (after Larson and Krishnan,
 * "Memory Allocation for Long-Running Server Applications", ISMM 1998): each
 * thread holds chunks of 8 to 1024 bytes and replaces random ones; at the end of
 * a round it hands them to a successor, a new thread, and ends. All threads
 * together do the same work however many they are, and each chunk is checked
 * when it is freed.
 *
 * usage: larson [-t threads] [-n million replacements] [-s seed]
 *               [-c chunks a thread] [-r rounds a thread]
 */
#include <limits.h>

#include "bench.h"

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

static size_t chunks = 10000;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void fill(struct line *l, struct chunk *c)
{
	c->size = MIN_SIZE + (unsigned)(next_random(&l->rng) % (MAX_SIZE - MIN_SIZE + 1));
	c->p = must(malloc(c->size));
	c->p[0] = (unsigned char)c->size;
	c->p[c->size - 1] = (unsigned char)c->size;
}

static void empty(struct line *l, struct chunk *c)
{
	if (c->p[0] != (unsigned char)c->size ||
	    c->p[c->size - 1] != (unsigned char)c->size) {
		fprintf(stderr, "larson: a chunk of %u bytes changed\n", c->size);
		exit(1);
	}
	l->checksum += c->size;
	free(c->p);
}

static void *work(void *arg)
{
	struct line *l = arg;
	pthread_t successor;

	for (size_t i = 0; i < l->replacements; i++) {
		struct chunk *c = &l->chunks[next_random(&l->rng) % chunks];
		empty(l, c);
		fill(l, c);
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

static int usage(void)
{
	fprintf(stderr, "usage: larson [-t threads] [-n million replacements]"
	    " [-s seed]\n              [-c chunks a thread] [-r rounds a thread]\n");
	return 2;
}

int main(int argc, char **argv)
{
	size_t threads = 1, millions = 40, rounds = 0;
	uint64_t seed = SEED, checksum = 0;
	int option;

	while ((option = getopt(argc, argv, "t:c:n:r:s:")) != -1) {
		if (option == '?')
			return usage();
		size_t value = number(option, optarg);
		switch (option) {
		case 't': threads = value; break;
		case 'c': chunks = value; break;
		case 'n': millions = value; break;
		case 'r': rounds = value; break;
		case 's': seed = value; break;
		}
	}
	size_t each = threads ? millions * 1000000 / threads : 0;
	/* As many replacements a round as there are chunks, times five. */
	if (!rounds && chunks)
		rounds = each / chunks / 5 ? each / chunks / 5 : 1;
	if (optind != argc || !threads || !chunks || rounds > each || rounds > UINT_MAX)
		return usage();
	struct line *lines = must(aligned_alloc(64, threads * sizeof(*lines)));
	for (size_t t = 0; t < threads; t++) {
		lines[t] = (struct line) {
			.rng = seeded(seed, t),
			.chunks = must(malloc(chunks * sizeof(struct chunk))),
			.replacements = each / rounds, .rounds = (unsigned)rounds,
		};
		for (size_t i = 0; i < chunks; i++)
			fill(&lines[t], &lines[t].chunks[i]);
	}
	double start = seconds();
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
	double took = seconds() - start;
	for (size_t t = 0; t < threads; t++) {
		for (size_t i = 0; i < chunks; i++)
			empty(&lines[t], &lines[t].chunks[i]);
		checksum += lines[t].checksum;
		free(lines[t].chunks);
	}
	free(lines);
	/* A replacement is two operations. */
	report(2.0 * (double)(each / rounds * rounds * threads), took, checksum);
	return 0;
}
