#define _GNU_SOURCE
#include "arena/background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "arena/arena.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"

/* Less than this is not worth a thread. */
#define WORTH_BYTES (1 * MiB)
/* Passes in one decay time, and how often at least and at most. */
#define PASSES 10
#define PASS_MS_MIN 50
#define PASS_MS_MAX 1000
/* It runs shallow code of ours alone, but static TLS comes off the stack. */
#define STACK_BYTES (512 * KiB)

/* Between two tries to start it. */
#define RETRY_MS 1000

enum { NOT_ALLOWED, NOT_RUNNING, STARTING, RUNNING };

static AO_t state = NOT_ALLOWED;
static AO_t retry_ms; /* no start before then */
/* 1: asked since the last pass began. The futex the thread sleeps on. */
static unsigned asked;
static struct lock fork_lock = LOCK_INITIALIZER;

/* Of the layer above; set before there is a second thread. */
static bool (*also)(bool all);

void background_also(bool (*pass)(bool all))
{
	also = pass;
}

static bool is_worth_it(void)
{
	struct page_heap_stats heap;
	struct whale_stats whales;
	size_t bytes;

	page_heap_stats(&heap);
	whale_stats(&whales);
	bytes = heap.dirty + heap.muzzy + whales.cached_bytes;
	for (unsigned id = 1; id <= arenas_max() && bytes < WORTH_BYTES; id++) {
		struct arena *arena = arena_get(id);
		if (!arena)
			continue;
		for (size_t c = 1; c < CLASS_WHALE; c++)
			bytes += bin_free_bytes(&arena->bins[c]) +
			    bin_depot_bytes(&arena->bins[c]);
	}
	return bytes >= WORTH_BYTES;
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
	return left || heap.dirty || (heap.muzzy && options.muzzy_decay_ms >= 0) ||
	    whales.cached_bytes;
}

static long pass_interval_ms(void)
{
	ssize_t ms = options.dirty_decay_ms / PASSES;

	return ms < PASS_MS_MIN ? PASS_MS_MIN : ms > PASS_MS_MAX ? PASS_MS_MAX : ms;
}

static void *run(void *unused)
{
	flag_store(&state, RUNNING);
	pthread_setname_np(pthread_self(), "hakmem");
	for (;;) {
		static unsigned never;

		/* Pairs with the add in background_ask, both read-modify-writes of
		 * one word: if the add came first this pass sees what was freed,
		 * else the add reads 0 and wakes us. */
		AO_int_and_full(&asked, 0);
		bool left = background_pass(false);
		/* A pass at each interval while there is work; a sleep that only
		 * background_ask ends where there is none. */
		futex_wait(left ? &never : &asked, 0, left ? pass_interval_ms() : -1);
	}
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
		flag_store(&state, NOT_RUNNING);
	}
	errno = saved;
}

void background_ask(void)
{
	size_t now = flag_load(&state);

	if (now == RUNNING) {
		if (AO_int_fetch_and_add_full(&asked, 0) == 0) {
			AO_int_store(&asked, 1);
			futex_wake(&asked, 1);
		}
		return;
	}
	if (now != NOT_RUNNING || !options.background_thread ||
	    options.dirty_decay_ms < 0 || os_now_ms() < flag_load(&retry_ms) ||
	    !is_worth_it())
		return;
	if (!lock_try(&fork_lock))
		return;
	if (AO_compare_and_swap(&state, NOT_RUNNING, STARTING))
		start();
	lock_release(&fork_lock);
}

bool background_is_running(void)
{
	return flag_load(&state) >= STARTING;
}

void background_allow(void)
{
	AO_compare_and_swap(&state, NOT_ALLOWED, NOT_RUNNING);
}

void background_before_fork(void)
{
	lock_acquire(&fork_lock);
}

void background_after_fork(bool child)
{
	if (child) {
		lock_init(&fork_lock);
		if (flag_load(&state) >= STARTING)
			flag_store(&state, NOT_RUNNING);
		return;
	}
	lock_release(&fork_lock);
}
