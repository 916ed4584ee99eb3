/*
 * shortthreads: 10,000 threads that live for 100 allocations each, -t of them at
 * a time. A thread frees what it made but for a share that outlives it, which the
 * one who started it frees: what a thread's end costs, and what it leaves behind.
 *
 * usage: shortthreads [-t threads at a time] [-n threads in all] [-s seed]
 *                     [-c allocations a thread] [-x percent that outlive it]
 */
#include "bench.h"

#define MIN_SIZE 16
#define MAX_SIZE 1024
/* Objects that a thread has at a time. */
#define HELD 16

static size_t allocations = 100, percent = 10;

struct job {
	uint64_t rng, operations, sum;
	int64_t live_bytes;
	struct item *outlive;
};

static void *live(void *arg)
{
	struct job *j = arg;
	struct item *held[HELD] = { NULL };

	for (size_t n = 0; n < allocations; n++) {
		uint64_t r = next_random(&j->rng);
		struct item *i = make_item(MIN_SIZE + (r >> 32) % (MAX_SIZE - MIN_SIZE + 1));
		j->sum = j->sum * 31 + i->size;
		if (r % 100 < percent) {
			i->next = j->outlive;
			j->outlive = i;
			continue;
		}
		if (held[n % HELD])
			drop_item(held[n % HELD]);
		held[n % HELD] = i;
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i])
			drop_item(held[i]);
	j->operations = operations;
	j->live_bytes = live_bytes;
	return NULL;
}

static uint64_t work(struct share *s)
{
	uint64_t sum = 0;

	for (size_t n = s->work; n > 0; n--) {
		struct job j = { .rng = next_random(&s->rng) };
		pthread_t thread;
		if (pthread_create(&thread, NULL, live, &j) != 0) {
			perror("shortthreads: pthread_create");
			exit(1);
		}
		pthread_join(thread, NULL);
		operations += j.operations;
		live_bytes += j.live_bytes;
		drop_items(j.outlive);
		sum = sum * 31 + j.sum;
	}
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('c', "allocations a thread", &allocations, 1, 1 << 30),
		NUMBER_SETTING('x', "percent that outlive it", &percent, 0, 100),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 10000, settings);

	run_shares(&options, work);
	return 0;
}
