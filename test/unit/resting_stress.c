/*
 * The background thread's part, all the time, on the stacks of threads that allocate and
 * free, and that a signal stops anywhere for a moment: between two instructions of
 * malloc, too. Nothing may be given out twice or lost.
 *
 * It fails where pop loads the object before it moves the head, where rest.c does not
 * look at the head or at the slot again, or where it leaves out is_entered.
 */
#include "../harness.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "page/os.h"
#include "tcache/tcache.h"

#define WORKERS 3
#define HELD 24
#define SECONDS 4
#define CUTS_MIN 100

static const size_t sizes[] = { 24, 48, 500, 5000, 40000 };
static pthread_t workers[WORKERS];
static atomic_bool stop;
static _Atomic unsigned long cuts, interrupts;

struct held {
	uint64_t *object;
	size_t words;
	uint64_t stamp;
};

static void
stamp(struct held *h, size_t size, uint64_t value)
{
	h->object = hak_malloc(size);
	h->words = size / sizeof(uint64_t);
	h->stamp = value;
	CHECK(h->object != NULL);
	h->object[0] = h->object[h->words - 1] = value;
}

static void
check(const struct held *h)
{
	CHECK(h->object[0] == h->stamp && h->object[h->words - 1] == h->stamp);
}

static void
give_up(struct held *h)
{
	if (h->object == NULL)
		return;
	check(h);
	h->object[0] = h->object[h->words - 1] = 0;
	hak_free(h->object);
	h->object = NULL;
}

static void *
work(void *number)
{
	uint64_t random = (uintptr_t)number, serial = random << 32;
	struct held held[HELD] = { { NULL, 0, 0 } };

	while (!stop) {
		random = random * 6364136223846793005 + 1;
		struct held *h = &held[random >> 33 & 1 ? random >> 40 & 1 : (random >> 40) % HELD];
		size_t size = sizes[(random >> 50) % 5];
		give_up(h);
		stamp(h, size, ++serial);
		/* The head comes back to where it was seen. */
		for (int i = 0; i < 8; i++) {
			struct held pair;
			stamp(&pair, size, ++serial);
			give_up(&pair);
		}
		if (random >> 56 == 0)
			usleep(20);
		for (size_t c = 1; random >> 58 == 0 && c < CLASS_WHALE; c++)
			cuts += tcache_self->bins[c].cut != 0;
	}
	for (int i = 0; i < HELD; i++)
		give_up(&held[i]);
	return NULL;
}

static void *
take(void *unused)
{
	while (!stop)
		tcaches_take_resting(true, true);
	return unused;
}

static void
pause_here(int signal)
{
	struct timespec moment = { .tv_nsec = 20000 };

	(void)signal;
	interrupts++;
	nanosleep(&moment, NULL);
}

int
main(void)
{
	struct sigaction action = { .sa_handler = pause_here, .sa_flags = SA_RESTART };
	struct timespec between = { .tv_nsec = 100000 };
	time_t end = time(NULL) + SECONDS;
	pthread_t taker;

	if (!os_fence_threads()) {
		printf("resting_stress: no fence of other threads here\n");
		return SKIP;
	}
	hak_free(hak_malloc(1));
	sigaction(SIGUSR1, &action, NULL);
	for (size_t i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&workers[i], NULL, work, (void *)(i + 1)) == 0);
	CHECK(pthread_create(&taker, NULL, take, NULL) == 0);
	for (int i = 0; time(NULL) < end; i++) {
		pthread_kill(workers[i % WORKERS], SIGUSR1);
		nanosleep(&between, NULL);
	}
	stop = true;
	pthread_join(taker, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	printf("resting_stress: %lu cut stacks met, %lu interrupts\n", cuts, interrupts);
	CHECK(cuts >= CUTS_MIN);
	return 0;
}
