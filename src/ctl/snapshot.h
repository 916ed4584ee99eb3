/*
 * A snapshot: every number that statistics are made of, at one moment. It is
 * plain data of fixed width, since hakctl reads it from outside; it says
 * nothing of how the allocator keeps the numbers.
 *
 * Fields are only ever added at the end of a struct; SEGMENT_VERSION (segment.h)
 * changes with any of it.
 */
#ifndef HAK_CTL_SNAPSHOT_H
#define HAK_CTL_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/size_class.h"

#define SNAPSHOT_THREADS 256u /* rows; more threads are counted, not listed */
#define SNAPSHOT_NAME 32u

/* Classes as jemalloc counts them: bins have slabs, lextents are alone. */
#define SNAPSHOT_BINS (CLASS_L25 - 1)             /* bin j is class j + 1 */
#define SNAPSHOT_LEXTENTS (CLASS_WHALE - CLASS_L25 + 1) /* the last: all whales */

enum snapshot_mutex {
	MUTEX_ARENAS, MUTEX_TCACHES, MUTEX_PAGE_HEAP, MUTEX_WHALE, MUTEX_PAGE_MAP,
	MUTEX_METADATA, MUTEXES
};

struct snapshot_lock {
	uint64_t acquired;
	uint64_t contended; /* not free at once */
	uint64_t waited_ns;
};

struct snapshot_class {
	uint32_t size;       /* bytes; 0: no such class */
	uint32_t slots;      /* in a slab */
	uint32_t slab_bytes;
	uint32_t layer;      /* enum layer */
};

struct snapshot_layer {
	uint64_t enabled;
	uint64_t hits, misses; /* allocations served from the cache, and not */
	uint64_t bytes;        /* cached now */
	uint64_t capacity;     /* bytes that the caches may hold now */
};

/* One class in one arena; objects unless it says otherwise. */
struct snapshot_bin {
	uint64_t nmalloc, ndalloc; /* ever */
	uint64_t live;             /* with the program */
	uint64_t cached;           /* in thread caches and on the way home */
	uint64_t depot;
	uint64_t nfills, nflushes; /* batches to and from thread caches */
	uint64_t nslabs;           /* ever made */
	uint64_t curslabs, empty_slabs;
	struct snapshot_lock lock;
};

struct snapshot_arena {
	uint64_t is_made;
	uint64_t nthreads;
	uint64_t remote_frees;     /* objects that other arenas' threads freed */
	uint64_t soft_bytes;       /* limit of a site's arena; 0: none */
	uint64_t uptime_ns;
	int64_t dirty_decay_ms, muzzy_decay_ms;
	uint64_t whales, whale_bytes; /* live */
	uint64_t whale_nmalloc;
	uint64_t purged_bytes;     /* inside live slabs, without memory now */
	uint64_t rules;            /* site rules that lead here */
	char name[SNAPSHOT_NAME];
	struct snapshot_bin bins[CLASS_WHALE]; /* by class */
};

struct snapshot_thread {
	int64_t tid;               /* in the process's own pid namespace */
	uint64_t arena;            /* index, from 0 */
	uint64_t allocated, deallocated; /* bytes ever */
	uint64_t cached, capacity; /* bytes */
	uint64_t hits, misses;
};

struct snapshot {
	uint64_t taken_ns;         /* CLOCK_MONOTONIC */
	uint64_t epoch;            /* how many were taken before */
	uint64_t uptime_ns;        /* of the allocator */
	/* Bytes. allocated <= active <= resident <= mapped. */
	uint64_t allocated;        /* in live objects, by usable size */
	uint64_t active;           /* in pages that hold or may hold objects */
	uint64_t resident;         /* active, dirty, muzzy and metadata in memory */
	uint64_t mapped;           /* address space */
	uint64_t retained;         /* mapped, without memory */
	uint64_t metadata;
	uint64_t tcache_bytes, depot_bytes;
	uint64_t slab_free_bytes;  /* free slots of slabs, with memory */
	uint64_t dirty, muzzy;     /* free pages with memory; cached whales are dirty */
	uint64_t purged;           /* ever given back */
	uint64_t npurges;          /* passes that gave something back */
	/* Whales. */
	uint64_t whales, whale_bytes; /* live */
	uint64_t whale_cached;     /* in the cache */
	uint64_t whale_max_bytes;  /* that the cache may hold */
	uint64_t whale_slack_bytes; /* of live ones' mappings, behind them */
	/* Threads and arenas. */
	uint64_t nthreads;
	uint64_t narenas, arenas_in_use;
	uint64_t lock_waits;       /* sums over all locks */
	uint64_t locks_acquired, locks_contended, locks_waited_ns;
	uint64_t background_threads, background_runs, background_interval_ns;
	uint64_t zero_reallocs;
	uint64_t soft_bytes, soft_purges; /* limit.soft_bytes: purges that it caused */
	uint64_t pressure_reads, pressure_some, pressure_purges; /* some: 1/100 % */
	uint64_t pressure_enabled, pressure_threshold;           /* 1/100 % */
	int64_t dirty_decay_ms, muzzy_decay_ms;
	struct snapshot_layer layers[LAYERS];
	struct snapshot_lock mutexes[MUTEXES];
	struct snapshot_class classes[CLASSES];
	uint32_t thread_rows;      /* filled */
	uint32_t arena_rows;       /* of arenas[], the first among them */
	struct snapshot_thread threads[SNAPSHOT_THREADS];
	/* [0] is the sum of all, [i + 1] is arena i. */
	struct snapshot_arena arenas[];
};

static inline size_t snapshot_size(size_t arena_rows)
{
	return sizeof(struct snapshot) + arena_rows * sizeof(struct snapshot_arena);
}

#endif
