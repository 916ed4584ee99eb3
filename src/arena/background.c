#define _GNU_SOURCE
#include "arena/background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "arena/arena.h"
#include "base/options.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/thread.h"
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
/* Between two tries to start it. */
#define RETRY_MS 1000
/* After it was held off no allocation starts it for so long: programs change their
 * identity there and back, and may count their threads after a fork. Nor does another
 * fork end it: what is freed between many forks would go back at each. */
#define HELD_MS 100
/* Whoever had it started wants it for a while. */
#define SUMMONED_MS 1000
/* A fork waits while so much is given back, some ms, and no longer. */
#define FORK_GIVES_BYTES (64 * MiB)
/* What is freed starts one that was held off: at that many asks, of 256 KiB each, or where
 * so much is free. (The first asks may be for what was before.) */
#define HELD_ASKS 4u
#define HELD_BYTES (1 * MiB)
/* What is waited for its end at most. */
#define STOP_MS 1000

AO_t background_state = BACKGROUND_NOT_ALLOWED;
static AO_t retry_ms; /* no start before then */
static AO_t held_asks; /* the last one was ended by a hold: as many start it; else 0 */
static AO_t start_ms; /* of the process */
/* Futexes the thread sleeps on. 1: asked since the last pass began; is it to end? */
static unsigned asked, ending;
static AO_t gives_all; /* at its end; set before ending becomes ENDS */
enum { GOES_ON, ENDS, ENDS_FOR_GOOD };
/* Who holds it may start the thread. Held with all signals blocked, as a handler may
 * change the process's identity. */
static struct lock start_lock = LOCK_INITIALIZER;
static sigset_t unblocked; /* of who holds it; under start_lock, as the next five */
static pid_t started_by;   /* the process that may, or did */
static unsigned holds;     /* none starts while there are some */
static bool must_show;     /* the program's code may run on it: libc must know it */
static bool is_summoned;   /* somebody waits for it */
static uint64_t kept_until; /* ms; no fork ends it before then */
static AO_t runs, first_run_ms, last_run_ms;

/* Of the layers above; set before there is a second thread. */
static bool (*also)(bool all, bool is_background);
static __thread bool is_background;
static struct background_service *service;

void background_also(bool (*pass)(bool all, bool is_background))
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
	bool left = also && also(all, is_background);

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
	unsigned *word = left || busy ? &ending : &asked;

	if (busy && (ms < 0 || ms > SERVE_MS))
		ms = SERVE_MS;
	if (word == &asked)
		flag_store(&background_state, BACKGROUND_IDLE);
	if (service && service->bell)
		futex_wait_two(word, 0, service->bell, bell, ms);
	else
		futex_wait(word, 0, ms);
	flag_store(&background_state, BACKGROUND_RUNNING);
}

static bool may_pass(void)
{
	return flag_load(&settings.background_thread) &&
	    setting_ms(&settings.dirty_decay_ms) >= 0;
}

static bool pass(uint64_t now)
{
	if (!may_pass())
		return false;
	counter_add_owned(&runs, 1);
	flag_store(&last_run_ms, now);
	if (counter_get(&runs) == 1)
		flag_store(&first_run_ms, now);
	return background_pass(false);
}

static void run(void)
{
	uint64_t next_pass = 0;
	bool left = false;

	is_background = true;
	/* Most processes that get this far end soon: no work for those. */
	if (!is_summoned)
		futex_wait(&ending, 0, SETTLE_MS);
	flag_store(&background_state, BACKGROUND_RUNNING);
	if (service && !AO_int_load_acquire(&ending))
		service->start();
	for (;;) {
		uint64_t now = os_now_ms();
		/* Pairs with the add in ring, both read-modify-writes of
		 * one word: if the add came first this pass sees what was freed,
		 * else the add reads 0 and wakes us. */
		bool was_asked = AO_int_fetch_and_add_full(&asked, 0) != 0;
		if (was_asked)
			AO_int_fetch_and_sub1_full(&asked);
		if (AO_int_load_acquire(&ending))
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
	/* What it leaves nobody would give back before the program calls again. */
	if (flag_load(&gives_all) && may_pass())
		background_pass(true);
	if (service)
		service->bell = NULL;
	flag_store(&background_state, AO_int_load_acquire(&ending) == ENDS_FOR_GOOD ?
	    BACKGROUND_NOT_ALLOWED : BACKGROUND_NOT_RUNNING);
}

static bool start_lock_acquire(bool wait)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (wait)
		lock_acquire(&start_lock);
	else if (!lock_try(&start_lock)) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		return false;
	}
	unblocked = old;
	return true;
}

static void start_lock_release(void)
{
	sigset_t old = unblocked;

	lock_release(&start_lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

enum starter { BY_ALLOCATION, BY_FREE, SUMMONED };

/* Holds start_lock. */
static SLOW_PATH void start(enum starter starter)
{
	size_t held_before = flag_load(&held_asks);

	if (holds || !AO_compare_and_swap(&background_state, BACKGROUND_NOT_RUNNING,
	    BACKGROUND_STARTING))
		return;
	flag_store(&held_asks, 0);
	flag_store(&gives_all, 0);
	/* The last one saw it, or there would be no start. */
	AO_int_compare_and_swap_full(&ending, ENDS, GOES_ON);
	if (AO_int_load_acquire(&ending)) {
		flag_store(&background_state, BACKGROUND_NOT_ALLOWED);
		return;
	}
	started_by = getpid();
	is_summoned = starter == SUMMONED;
	if (is_summoned)
		kept_until = os_now_ms() + SUMMONED_MS;
	if (starter == BY_ALLOCATION ? thread_start(run, !must_show) : thread_start_amid(run))
		return;
	flag_store(&held_asks, held_before);
	/* There can be no thread now (a limit): decay goes on from the slow
	 * paths, and one of them tries again. */
	flag_store(&retry_ms, os_now_ms() + RETRY_MS);
	flag_store(&background_state, BACKGROUND_NOT_RUNNING);
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
		if (AO_compare_and_swap(&background_state, BACKGROUND_IDLE,
		    BACKGROUND_RUNNING))
			background_ask();
		return;
	}
	if (!is_worth_it(large) || !start_lock_acquire(false))
		return;
	start(BY_ALLOCATION);
	start_lock_release();
}

static SLOW_PATH void start_amid(enum starter starter)
{
	/* In a child of vfork(2), or a raw one, the thread would be the parent's. */
	if (!flag_load(&settings.background_thread) || started_by != getpid() ||
	    !start_lock_acquire(false))
		return;
	if (!must_show)
		start(starter);
	else
		flag_store(&held_asks, 0); /* an allocation will */
	start_lock_release();
}

void background_summon(void)
{
	start_amid(SUMMONED);
}

static size_t free_bytes(void)
{
	struct page_heap_stats heap;
	struct whale_stats whales;

	page_heap_stats(&heap);
	whale_stats(&whales);
	return heap.dirty + heap.muzzy + whales.cached_bytes;
}

/* Not after a time: this may be the program's last call for long. */
static SLOW_PATH void ask_held(void)
{
	size_t asks = flag_load(&held_asks);

	if (asks > 1 && free_bytes() < HELD_BYTES)
		flag_store(&held_asks, asks - 1);
	else
		start_amid(BY_FREE);
}

static void ring(void)
{
	if (AO_int_fetch_and_add_full(&asked, 0) == 0) {
		AO_int_store(&asked, 1);
		futex_wake(&asked, 1);
	}
}

void background_ask(void)
{
	size_t state = flag_load(&background_state);

	if (state >= BACKGROUND_RUNNING)
		ring();
	else if (unlikely(state == BACKGROUND_NOT_RUNNING && flag_load(&held_asks)))
		ask_held();
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
	started_by = getpid();
	flag_store(&start_ms, os_now_ms());
	AO_compare_and_swap(&background_state, BACKGROUND_NOT_ALLOWED,
	    BACKGROUND_NOT_RUNNING);
}

/* Wherever it sleeps. */
static void wake_to_end(void)
{
	futex_wake(&ending, 1);
	ring();
}

void background_end(void)
{
	AO_int_store_release(&ending, ENDS_FOR_GOOD);
	AO_compare_and_swap(&background_state, BACKGROUND_NOT_RUNNING, BACKGROUND_NOT_ALLOWED);
	wake_to_end();
}

void background_stop(void)
{
	int saved = errno;
	uint64_t until = os_now_ms() + STOP_MS;

	/* A filter that is there already may not allow what follows. */
	if (AO_int_load_acquire(&ending) == ENDS_FOR_GOOD && !thread_is_hidden() &&
	    flag_load(&background_state) == BACKGROUND_NOT_ALLOWED)
		return;
	/* In a child of vfork(2) the memory is the parent's, and so is the thread. */
	if (started_by == getpid()) {
		background_end();
		thread_join();
		/* Where libc knows of it, it cannot be joined. */
		while (flag_load(&background_state) >= BACKGROUND_STARTING && os_now_ms() < until)
			futex_wait(&ending, ENDS_FOR_GOOD, 1);
	}
	errno = saved;
}

/* None starts from now on. */
static bool hold_off(void)
{
	/* As in background_stop. The thread itself changes what is its own alone. */
	if (started_by != getpid() || is_background)
		return false;
	start_lock_acquire(true);
	holds++;
	start_lock_release();
	return true;
}

static void end_for_a_while(bool for_fork)
{
	int saved = errno;
	uint64_t until = os_now_ms() + HELD_MS;

	flag_store(&retry_ms, until);
	flag_store(&held_asks, HELD_ASKS);
	flag_store(&gives_all, for_fork);
	if (for_fork)
		kept_until = until;
	AO_int_compare_and_swap_full(&ending, GOES_ON, ENDS);
	wake_to_end();
	/* Within a second: it may wait for what we hold ourselves, where this is called
	 * by a signal handler that interrupts the allocator. Then it ends later. */
	thread_join();
	errno = saved;
}

bool background_hold(void)
{
	if (!hold_off())
		return false;
	if (thread_is_hidden())
		end_for_a_while(false);
	return true;
}

/* Is it no loss if all that is free goes now, and the thread? */
static bool may_end_for_fork(void)
{
	if (os_now_ms() < kept_until || setting_ms(&settings.muzzy_decay_ms) < 0)
		return false;
	for (unsigned id = 1; may_pass() && id <= arenas_max(); id++) {
		struct arena *arena = arena_get(id);
		if (arena && arena_decay_ms(arena) < 0)
			return false;
	}
	return free_bytes() <= FORK_GIVES_BYTES;
}

bool background_hold_for_fork(void)
{
	if (!thread_is_alone() || !hold_off())
		return false;
	if (thread_is_hidden() && may_end_for_fork())
		end_for_a_while(true);
	return true;
}

void background_release(void)
{
	start_lock_acquire(true);
	holds--;
	start_lock_release();
}

void background_show(void)
{
	start_lock_acquire(true);
	must_show = true;
	start_lock_release();
	if (background_hold())
		background_release();
}

void background_after_fork_in_child(void)
{
	lock_init(&start_lock);
	flag_store(&held_asks, 0);
	holds = 0;
	started_by = getpid();
	thread_forget();
	if (service)
		service->forget();
	if (flag_load(&background_state) >= BACKGROUND_STARTING)
		flag_store(&background_state, BACKGROUND_NOT_RUNNING);
	flag_store(&start_ms, os_now_ms());
}
