/*
 * Have a process that runs without its background thread start it, so that it can answer:
 * it is stopped for some microseconds, as by a debugger, and sent through the library's
 * summon (ctl/summon.h). It goes on where it was, also in a system call; those few that
 * signal(7) lists return EINTR then, as epoll_wait(2). Processors other than x86-64: not yet.
 */
#ifndef HAK_HAKCTL_SUMMON_H
#define HAK_HAKCTL_SUMMON_H

#include <stdint.h>
#include <sys/types.h>

/* anchor: memory_find's. NULL: it starts now, or was about to; else why it does not, for
 * "has no thread that could answer: ". To be tried again: summon_again. */
const char *summon_thread(pid_t pid, uint64_t anchor);
extern const char summon_again[];

#endif
