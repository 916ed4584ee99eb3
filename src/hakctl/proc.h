/*
 * What /proc says of a process, and its memory.
 */
#ifndef HAK_HAKCTL_PROC_H
#define HAK_HAKCTL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The start of a file, 0 at its end; false: cannot be read, or has nothing. */
bool proc_read(const char *path, char *text, size_t size);
/* Of /proc/PID/mem, all of it. */
bool proc_read_at(int mem, void *to, uint64_t from, size_t size);
/* Digits alone, as pids are. */
bool proc_is_number(const char *text);
/* State letter of a process or a thread; '?': there is none. */
char proc_state(pid_t tid);
bool proc_has_ended(pid_t tid);
/* Bytes in memory of a thread's process, all of it, as the kernel counts them (VmRSS);
 * 0: it has ended. */
uint64_t proc_rss(pid_t tid);
/* A thread of the process that lives: once its first thread ended (pthread_exit(3)) and
 * others go on, /proc/PID has no maps, memory and files, and /proc/TID has. */
pid_t proc_task(pid_t pid);

#endif
