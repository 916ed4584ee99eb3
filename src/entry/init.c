#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "arena/background.h"
#include "base/log.h"
#include "ctl/conf.h"
#include "ctl/collect.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/serve.h"
#include "ctl/site.h"
#include "entry/check.h"
#include "entry/entry.h"
#include "page/metadata.h"
#include "page/page_heap.h"
#include "page/thread.h"
#include "page/whale.h"

bool entry_is_checked;

static struct lock init_lock = LOCK_INITIALIZER;
static AO_t initialized;

bool entry_is_initialized(void)
{
	/* Pairs with the store in entry_init. */
	return AO_load_acquire(&initialized);
}

SLOW_PATH void entry_init(void)
{
	lock_acquire(&init_lock);
	if (!flag_load(&initialized)) {
		int saved = errno;
		size_class_init();
		conf_init();
		settings_init();
		collect_init();
		if (!page_map_init())
			log_fatal("no address space for the page map");
		arenas_init();
		entry_is_checked = check_is_wanted();
		tcache_init(entry_is_checked);
		background_serve(&segment_service);
		conf_sites();
		errno = saved;
		AO_store_release(&initialized, 1);
	}
	lock_release(&init_lock);
}

/* Of the fork that goes on: nobody else is there who might hold a lock, so none is taken; to
 * write to them would cost the page of each a copy, in the parent and in the child. (A
 * signal handler may have interrupted a holder, who goes on in both.) */
static bool forks_alone;
/* By forks; a handler of a signal that came during one may fork, too. */
static unsigned background_holds;

/* The locks in their order (arena/arena.h); what is made under them is whole
 * when the process splits. */
static void before_fork(void)
{
	bool held = background_hold_for_fork();
	bool alone = thread_is_alone() && !thread_is_hidden();

	if (!alone) {
		lock_acquire(&init_lock);
		lock_acquire(&control_lock);
		lock_acquire(&site_lock);
		lock_acquire(&tcaches_lock);
		arenas_lock_all();
		lock_acquire(&page_heap_lock);
		lock_acquire(&whale_lock);
		lock_acquire(&page_map_lock);
		lock_acquire(&metadata_lock);
	}
	background_holds += held;
	forks_alone = alone;
}

static void after_fork_in_parent(void)
{
	unsigned holds = background_holds;

	background_holds -= holds > 0;
	if (!forks_alone) {
		lock_release(&metadata_lock);
		lock_release(&page_map_lock);
		lock_release(&whale_lock);
		lock_release(&page_heap_lock);
		arenas_unlock_all();
		lock_release(&tcaches_lock);
		lock_release(&site_lock);
		lock_release(&control_lock);
		lock_release(&init_lock);
	}
	if (holds)
		background_release();
}

static void after_fork_in_child(void)
{
	if (!forks_alone) {
		lock_init(&metadata_lock);
		lock_init(&page_map_lock);
		lock_init(&whale_lock);
		lock_init(&page_heap_lock);
		arenas_after_fork_in_child();
		lock_init(&site_lock);
		lock_init(&control_lock);
		lock_init(&init_lock);
	}
	background_holds = 0;
	tcaches_after_fork_in_child(forks_alone);
	background_after_fork_in_child();
}

static void print_at_exit(void)
{
	print_stats(NULL, NULL, options.stats_print_opts);
}

/* A program built with ThreadSanitizer has that malloc, and libc's functions are that
 * library's, which is not set up yet: nothing can be called. */
#ifdef HAK_TSAN
#define IS_TOO_EARLY false
#else
extern void __tsan_init(void) __attribute__((weak));
#define IS_TOO_EARLY (__tsan_init != NULL)
#endif

/* What may allocate. The library is linked to start before all others (initfirst), libc
 * among them: what their constructors register with pthread_atfork may allocate, so it
 * must run before our locks are taken, and after they are released. */
__attribute__((constructor)) static void start_process(int count, char **arguments,
    char **environment)
{
	(void)count;
	(void)arguments;
	/* libc sets it when it starts. */
	if (!environ)
		environ = environment;
	if (IS_TOO_EARLY)
		return;
	if (!entry_is_initialized())
		entry_init();
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	thread_init();
	background_allow();
	if (options.stats_print)
		atexit(print_at_exit);
}
