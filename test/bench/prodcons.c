/*
 * prodcons: for each -t a thread that allocates and one that frees. What is made
 * goes over in batches, through one bounded queue that blocks: every object is
 * freed by another thread than its own, and one side waits for the other.
 *
 * usage: prodcons [-t pairs of threads] [-n thousand objects] [-s seed]
 *                 [-q batches in the queue] [-b objects in a batch] [-z greatest size]
 */
#include "bench.h"

#define MIN_SIZE 16

static size_t depth = 64, batch = 100, greatest = 1024;
static struct item **queue;
static size_t first, waiting, producers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_room = PTHREAD_COND_INITIALIZER;
static pthread_cond_t has_some = PTHREAD_COND_INITIALIZER;

static void put(struct item *items)
{
	pthread_mutex_lock(&lock);
	while (waiting == depth)
		pthread_cond_wait(&has_room, &lock);
	queue[(first + waiting++) % depth] = items;
	pthread_cond_signal(&has_some);
	pthread_mutex_unlock(&lock);
}

/* NULL when the last producer is gone, and what it made. */
static struct item *get(void)
{
	struct item *items = NULL;

	pthread_mutex_lock(&lock);
	while (!waiting && producers)
		pthread_cond_wait(&has_some, &lock);
	if (waiting) {
		items = queue[first];
		first = (first + 1) % depth;
		waiting--;
		pthread_cond_signal(&has_room);
	}
	pthread_mutex_unlock(&lock);
	return items;
}

static uint64_t produce(struct share *s)
{
	uint64_t sum = 0;

	for (size_t left = s->work * 1000; left > 0;) {
		struct item *items = NULL;
		for (size_t n = left < batch ? left : batch; n-- > 0; left--) {
			struct item *i = make_item(between(&s->rng, MIN_SIZE, greatest));
			sum += i->size;
			i->next = items;
			items = i;
		}
		put(items);
	}
	pthread_mutex_lock(&lock);
	if (--producers == 0)
		pthread_cond_broadcast(&has_some);
	pthread_mutex_unlock(&lock);
	return sum;
}

/* Who gets which batch is chance; that all is freed, run_shares() checks. */
static uint64_t consume(void)
{
	struct item *items;

	while ((items = get()))
		drop_items(items);
	return 0;
}

static uint64_t produce_or_consume(struct share *s)
{
	return s->index % 2 ? consume() : produce(s);
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		NUMBER_SETTING('q', "batches in the queue", &depth, 1, 1 << 20),
		NUMBER_SETTING('b', "objects in a batch", &batch, 1, 1 << 20),
		NUMBER_SETTING('z', "greatest size", &greatest, MIN_SIZE, 1 << 30),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 20000, settings);

	queue = own_pages(depth * sizeof(struct item *));
	producers = options.threads;
	/* Each second share is a consumer's and has no work of its own. */
	options.threads *= 2;
	options.work *= 2;
	run_shares(&options, produce_or_consume);
	return 0;
}
