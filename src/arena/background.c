#define _GNU_SOURCE
#include "arena/background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "arena/arena.h"
#include "base/options.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"

/* A process whose heap is as large, or that still allocates at that age, gets the
 * thread: smaller and shorter ones do without it. */
#define WORTH_BYTES (1 * MiB)
#define WORTH_AGE_MS 100
/* Passes in one decay time, and how often at least and at most. */
#define PASSES 10
#define PASS_MS_MIN 50
#define PASS_MS_MAX 1000
/* While the process is busy, how often the service is served. */
#define SERVE_MS 100
/* After its start it lets so much time pass. */
#define SETTLE_MS 20
/* It runs shallow code of ours alone, but static TLS comes off the stack. */
#define STACK_BYTES (512 * KiB)

/* Between two tries to start it. */
#define RETRY_MS 1000

AO_t background_state = BACKGROUND_NOT_ALLOWED;
static AO_t retry_ms; /* no start before then */
static AO_t ended;    /* the main thread */
static AO_t start_ms; /* of the process */
/* 1: asked since the last pass began. The futex the thread sleeps on. */
static unsigned asked;
static unsigned never; /* a futex that nobody wakes */
static struct lock fork_lock = LOCK_INITIALIZER;
static AO_t runs, first_run_ms, last_run_ms;

/* Of the layers above; set before there is a second thread. */
static bool (*also)(bool all);
static struct background_service *service;

void background_also(bool (*pass)(bool all))
{
	also = pass;
}

void background_serve(struct background_service *wanted)
{
	service = wanted;
}

bool background_pass(bool all)
{
	struct page_heap_stats heap;
	struct whale_stats whales;
	uint64_t now = os_now_ms();
	bool left = also && also(all);

	for (unsigned id = 1; id <= arenas_max(); id++) {
		struct arena *arena = arena_get(id);
		if (arena)
			left |= arena_purge(arena, now, all);
	}
	whale_purge(all);
	page_heap_purge(all);
	page_heap_stats(&heap);
	whale_stats(&whales);
	return left || heap.dirty || whales.cached_bytes ||
	    (heap.muzzy && setting_ms(&settings.muzzy_decay_ms) >= 0);
}

static long pass_interval_ms(void)
{
	ssize_t ms = setting_ms(&settings.dirty_decay_ms) / PASSES;

	return ms < PASS_MS_MIN ? PASS_MS_MIN : ms > PASS_MS_MAX ? PASS_MS_MAX : ms;
}

/* Sleep until the next pass (left), the next service (busy), or for good. What
 * the program frees wakes only the last of these. */
static void rest(bool left, bool busy, unsigned bell)
{
	long ms = left ? pass_interval_ms() : -1;
	unsigned *word = left || busy ? NULL : &asked;

	if (busy && (ms < 0 || ms > SERVE_MS))
		ms = SERVE_MS;
	if (word)
		flag_store(&background_state, BACKGROUND_IDLE);
	if (service && service->bell)
		futex_wait_two(word, 0, service->bell, bell, ms);
	else
		futex_wait(word ? word : &never, 0, ms);
	flag_store(&background_state, BACKGROUND_RUNNING);
}

static bool pass(uint64_t now)
{
	if (!flag_load(&settings.background_thread) ||
	    setting_ms(&settings.dirty_decay_ms) < 0)
		return false;
	counter_add_owned(&runs, 1);
	flag_store(&last_run_ms, now);
	if (counter_get(&runs) == 1)
		flag_store(&first_run_ms, now);
	return background_pass(false);
}

static void *run(void *unused)
{
	uint64_t next_pass = 0;
	bool left = false;

	pthread_setname_np(pthread_self(), "hakmem");
	/* Most processes that get this far end soon: no work for those. */
	futex_wait(&never, 0, SETTLE_MS);
	flag_store(&background_state, BACKGROUND_RUNNING);
	if (service)
		service->start();
	for (;;) {
		uint64_t now = os_now_ms();
		/* Pairs with the add in background_ask, both read-modify-writes of
		 * one word: if the add came first this pass sees what was freed,
		 * else the add reads 0 and wakes us. */
		bool was_asked = AO_int_fetch_and_add_full(&asked, 0) != 0;
		if (was_asked)
			AO_int_fetch_and_sub1_full(&asked);
		if (flag_load(&ended))
			break;
		if (now >= next_pass || (was_asked && !left)) {
			left = pass(now);
			next_pass = now + (uint64_t)pass_interval_ms();
		}
		unsigned bell = service && service->bell ?
		    AO_int_load_acquire(service->bell) : 0;
		bool busy = service && service->serve();
		rest(left, busy, bell);
	}
	if (service)
		service->bell = NULL;
	flag_store(&background_state, BACKGROUND_NOT_ALLOWED);
	return unused;
}

static SLOW_PATH void start(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, old;
	int saved = errno;

	/* The program's signals are not for this thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool started = false;
	if (pthread_attr_init(&attributes) == 0) {
		pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attributes, STACK_BYTES);
		int error = pthread_create(&thread, &attributes, run, NULL);
		if (error == EINVAL) {
			/* Static TLS does not fit: the default stack holds it. */
			pthread_attr_destroy(&attributes);
			pthread_attr_init(&attributes);
			pthread_attr_setdetachstate(&attributes,
			    PTHREAD_CREATE_DETACHED);
			error = pthread_create(&thread, &attributes, run, NULL);
		}
		started = error == 0;
		pthread_attr_destroy(&attributes);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* There can be no thread now (a limit): decay goes on from the slow
	 * paths, and one of them tries again. */
	if (!started) {
		flag_store(&retry_ms, os_now_ms() + RETRY_MS);
		flag_store(&background_state, BACKGROUND_NOT_RUNNING);
	}
	errno = saved;
}

static bool is_worth_it(bool large)
{
	uint64_t now = os_now_ms();

	return now >= flag_load(&retry_ms) &&
	    flag_load(&settings.background_thread) &&
	    (large || page_heap_active() >= WORTH_BYTES ||
	    now >= flag_load(&start_ms) + WORTH_AGE_MS);
}

void background_start_or_wake(bool large)
{
	if (flag_load(&background_state) == BACKGROUND_IDLE) {
		flag_store(&background_state, BACKGROUND_RUNNING);
		background_ask();
		return;
	}
	if (!is_worth_it(large) || !lock_try(&fork_lock))
		return;
	if (AO_compare_and_swap(&background_state, BACKGROUND_NOT_RUNNING,
	    BACKGROUND_STARTING))
		start();
	lock_release(&fork_lock);
}

void background_ask(void)
{
	if (flag_load(&background_state) < BACKGROUND_RUNNING)
		return;
	if (AO_int_fetch_and_add_full(&asked, 0) == 0) {
		AO_int_store(&asked, 1);
		futex_wake(&asked, 1);
	}
}

struct background_stats background_stats(void)
{
	size_t n = counter_get(&runs);
	uint64_t ms = flag_load(&last_run_ms) - flag_load(&first_run_ms);

	return (struct background_stats) {
		.threads = flag_load(&background_state) >= BACKGROUND_STARTING,
		.runs = n,
		.interval_ns = n > 1 ? ms * 1000000 / (n - 1) : 0,
	};
}

void background_allow(void)
{
	flag_store(&start_ms, os_now_ms());
	AO_compare_and_swap(&background_state, BACKGROUND_NOT_ALLOWED,
	    BACKGROUND_NOT_RUNNING);
}

void background_end(void)
{
	flag_store(&ended, 1);
	AO_compare_and_swap(&background_state, BACKGROUND_NOT_RUNNING,
	    BACKGROUND_NOT_ALLOWED);
	background_ask();
}

void background_before_fork(void)
{
	lock_acquire(&fork_lock);
}

void background_after_fork(bool child)
{
	if (child) {
		lock_init(&fork_lock);
		if (service)
			service->bell = NULL;
		if (flag_load(&background_state) >= BACKGROUND_STARTING)
			flag_store(&background_state, BACKGROUND_NOT_RUNNING);
		flag_store(&start_ms, os_now_ms());
		return;
	}
	lock_release(&fork_lock);
}
