/*
 * A process that hakctl looks at: its stats segment (ctl/segment.h), found through
 * /proc/PID/task/TID/fd and mapped; without one, its memory (memory.h). Nothing in the segment is trusted: offsets
 * and counts are checked against its size before use, text may lack its 0.
 */
#ifndef HAK_HAKCTL_TARGET_H
#define HAK_HAKCTL_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

#include "ctl/segment.h"

struct target {
	pid_t pid;
	int pidfd;                 /* so that another process with its pid is no match */
	char command[32];          /* /proc/PID/comm, printable */
	char version[32];          /* hakmem's; "": who looks did not ask for it */
	int fd;                    /* of the segment */
	struct segment *segment;   /* mapped; writable if may_write; NULL: it has none */
	size_t size;
	struct segment header;     /* a checked copy: its offsets are within size */
	bool may_write;
	uint64_t anchor;           /* of a process without a segment (memory.h) */
	const char *no_thread;     /* why it did not start the thread that has one */
	bool is_fresh;             /* the process answered the last refresh */
	struct snapshot *snapshot; /* a checked copy, ours */
	size_t snapshot_bytes;
	uint64_t rss;              /* proc_rss() when that was taken */
};

enum target_result {
	TARGET_OK,
	TARGET_NO_PROCESS,     /* ended, or never was */
	TARGET_NOT_ALLOWED,
	TARGET_NOT_HAKMEM,
	TARGET_DAMAGED,        /* a segment that makes no sense */
	TARGET_OTHER_VERSION,
	TARGET_FAILED,         /* hakctl's own fault: no memory, no more files */
};

/* Attach; afterwards target_refresh. Everything but TARGET_OK leaves nothing open; what
 * pid and command are is known of any process that exists. */
enum target_result target_open(struct target *target, pid_t pid);
void target_close(struct target *target);
/* What it says of a process that a file of its in /proc could not be opened: by errno. */
enum target_result target_result_of(int error);
/* What a result means, for a message: "process ended", "permission denied"... */
const char *target_explain(enum target_result result);

/* Has the process ended? */
bool target_is_gone(const struct target *target);
/* Is it stopped (SIGSTOP, a debugger)? It cannot answer then. */
bool target_is_stopped(const struct target *target);
/* Why it does not answer, for a message: "is stopped", "does not answer"... */
const char *target_silence(const struct target *target);
/* Nanoseconds since the snapshot was taken. */
uint64_t target_age_ns(const struct target *target);

/* Get a whole snapshot into target->snapshot: rings the bell, waits up to
 * wait_ms for an answer, and takes what there is (a stopped or hung process does
 * not answer; is_fresh tells). Follows a segment that was replaced. Counts in it
 * are within bounds afterwards. */
enum target_result target_refresh(struct target *target, int wait_ms);

/* Ask through the mailbox; a process that has none is had to make one (summon.h).
 * Returns 0, an errno of the process's answer, ETIMEDOUT
 * (does not answer), EACCES (may not) or ENXIO (has no segment). reply: SEGMENT_REPLY + 1 bytes, 0 at its
 * end; *length without it. name, value: "" for none. */
int target_ask(struct target *target, enum mailbox_command command,
    const char *name, const char *value, char *reply, size_t *length, int wait_ms);

/* What such an errno means, for a message. */
const char *target_refusal(const struct target *target, int error);

/* Processes whose command or executable has that name (or, with a slash, path), or the
 * pid that name is, or with NULL every process on hakmem that may be looked at; bare: those, too, that have
 * no segment (every process's maps are read for that). Of several that
 * have a name only those on hakmem count; is there none, the first of them. Returns how
 * many of max, -1: the /proc folder cannot be read. */
int target_find(const char *name, bool bare, pid_t *pids, int max);

#endif
