/*
 * Where hakctl begins in a process that has no stats segment, because it allocated too
 * little for a background thread or was told to have none: it finds the anchor by its
 * magic in the writable data of the library (or of the program, which may have the
 * library in it) and reads on from there, through /proc/PID/mem. The process does
 * nothing for it.
 *
 * All structures that it leads to are those of the build that hakctl is of: version
 * and sizes say so. SEGMENT_VERSION changes with the layout of any of them and with the
 * table of classes.
 */
#ifndef HAK_CTL_ANCHOR_H
#define HAK_CTL_ANCHOR_H

#include "arena/arena.h"
#include "arena/background.h"
#include "ctl/collect.h"
#include "page/metadata.h"
#include "page/page_heap.h"
#include "page/whale.h"
#include "tcache/tcache.h"

#define ANCHOR_MAGIC "hakmem's anchor" /* 16 bytes with its 0 */
#define ANCHOR_ALIGNMENT 64u

struct anchor {
	char magic[16];
	uint32_t version;     /* SEGMENT_VERSION */
	uint32_t size, arena_size, tcache_size;
	const struct settings *settings;
	const AO_t *arenas_in_use;
	const struct page_map *page_map;
	const struct arena_places *arenas;
	const struct tcache_places *tcaches;
	const struct page_heap_places *page_heap;
	const struct whale_places *whales;
	const struct metadata_places *metadata;
	const struct page_map_places *maps;
	struct lock *const *locks; /* by enum snapshot_mutex */
	const AO_t *zero_reallocs;
	const uint64_t *started_ns;
	/* To start the thread (summon.h): */
	const AO_t *background_state;
	char *const *first_thread; /* its thread pointer; NULL: it cannot be */
	void (*summon)(void);      /* NULL: it cannot be */
};

#endif
