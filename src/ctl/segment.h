/*
 * The stats segment: what hakctl maps. A memfd named "hakmem" that only the
 * background thread writes to, and that only its file table holds (so that the
 * program never meets the descriptor, closefrom(3) included):
 *
 *     header | mailbox | snapshot 0 | snapshot 1
 *
 * Snapshots are written in turn: current says which is whole, so that a process
 * stopped in the middle of a refresh still has one. A reader copies it and then
 * looks whether its sequence number stayed the same.
 *
 * The mailbox takes one request at a time. Who asks holds an exclusive
 * flock(2) on the segment, writes the request, sets state to REQUESTED, adds one
 * to bell and wakes it (futex, shared); the background thread answers and
 * sets state to DONE, and wakes it. What lies here is not trusted: the process
 * copies a request before it looks at it, and reads nothing else.
 */
#ifndef HAK_CTL_SEGMENT_H
#define HAK_CTL_SEGMENT_H

#include "ctl/snapshot.h"

#define SEGMENT_MEMFD "hakmem"  /* its name; /proc/PID/task/TID/fd shows it */
#define SEGMENT_THREAD "hakmem" /* the background thread's */
#define SEGMENT_MAGIC "hakmem\n\0"
#define SEGMENT_VERSION 5u
#define SEGMENT_HEADER 4096u
#define SEGMENT_REPLY (24u * 1024)

enum mailbox_state { MAILBOX_IDLE, MAILBOX_REQUESTED, MAILBOX_DONE };

enum mailbox_command {
	MAILBOX_REFRESH = 1, /* take a snapshot, unless one is fresh */
	MAILBOX_GET,         /* name: a control; reply: its value as text */
	MAILBOX_SET,         /* name, value: set it, or run it where it has no value */
	MAILBOX_MAP,         /* value: a cursor in decimal, "0" first; reply: map_* */
};

struct mailbox {
	uint32_t state;      /* a futex */
	uint32_t command;
	uint64_t ticket;     /* the asker's, sent back in answered */
	uint64_t answered;
	int32_t error;       /* errno, 0: done */
	uint32_t length;     /* of reply, without the 0 that follows text */
	char name[256];
	char value[1024];
	char reply[SEGMENT_REPLY];
};

/* A reply to MAILBOX_MAP: one of these, then its chunks. */
struct map_reply {
	uint64_t next;       /* cursor of the next request; 0: that was all */
	uint64_t granule;    /* bytes that one cell stands for */
	uint32_t chunks;     /* that follow */
	uint32_t cells;      /* of each */
};

/* A chunk of the page heap, cell by cell. */
enum { MAP_CLEAN = 0xff, MAP_DIRTY = 0xfe, MAP_MUZZY = 0xfd };
struct map_chunk {
	uint64_t base;
	uint8_t class[128];  /* size class, or MAP_*: free */
	uint8_t used[128];   /* of its slab's slots, in 255ths */
};

struct segment {
	char magic[8];
	uint32_t version;
	uint32_t size;            /* bytes of the whole segment */
	uint32_t mailbox_offset, mailbox_size;
	uint32_t snapshot_offset[2], snapshot_size;
	uint32_t arena_rows;      /* that a snapshot has room for */
	int64_t pid;              /* in the process's own pid namespace */
	uint64_t started_ns;      /* CLOCK_MONOTONIC */
	uint32_t current;         /* 0 or 1 */
	uint32_t bell;            /* a futex */
	uint64_t sequence[2];     /* odd while that snapshot is written */
	uint32_t is_replaced;     /* another segment took over (more arenas) */
};

#endif
