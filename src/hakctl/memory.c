#define _GNU_SOURCE
#include "hakctl/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arena/background.h"
#include "ctl/anchor.h"
#include "ctl/collect.h"
#include "hakctl/proc.h"
#include "page/os.h"
#include "tcache/view.h"

/* Of the writable data of a program and its libraries, what is searched. */
#define DATA_MAX (16u << 20)
/* A thread that ends meanwhile may lead us astray. */
#define LOOKS 3
/* What all looks may take together: a list that does not end is no list. */
#define LOOK_NS 1000000000u

/* What collect() finds here instead of the library's own. */
struct settings settings;
AO_t arenas_in_use;
struct lock arenas_lock, tcaches_lock, page_heap_lock, whale_lock, page_map_lock,
    metadata_lock;

/* The process under collect(), which takes no argument for it. */
static struct {
	int mem;
	long first_tid;
	bool has_failed; /* something could not be read */
	uint64_t deadline; /* of collect_now_ns */
	struct anchor anchor;
	struct arena_places arenas;
	struct tcache_places tcaches;
	struct page_heap_places page_heap;
	struct whale_places whales;
	struct metadata_places metadata;
	struct page_map_places maps;
	struct page_map page_map;
	size_t narenas;
	struct arena *copies[ARENAS_LIMIT + 1];
	struct whale_owner owners[ARENAS_LIMIT + 1];
} process;

/* ---- Reading ---- */

static void fetch_bytes(void *to, const void *from, size_t size)
{
	if (collect_now_ns() < process.deadline &&
	    proc_read_at(process.mem, to, (uintptr_t)from, size))
		return;
	memset(to, 0, size);
	process.has_failed = true;
}

#define FETCH(to, from) fetch_bytes(&(to), (from), sizeof(to))

static size_t fetch_size(const AO_t *from)
{
	size_t n;

	FETCH(n, from);
	return n;
}

/* ---- The anchor ---- */

static int open_of(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", proc_task(pid), file);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Is this mapping's file the program, or hakmem? */
static bool is_candidate(const char *path, const char *program)
{
	const char *name = strrchr(path, '/');

	return name && (strcmp(path, program) == 0 || strncmp(name, "/libhakmem", 10) == 0);
}

static uint64_t search(int mem, uint64_t start, uint64_t end)
{
	char *data = malloc(end - start);
	uint64_t found = 0;

	if (data && proc_read_at(mem, data, start, end - start))
		for (uint64_t at = 0; !found && at + sizeof(struct anchor) <= end - start;
		    at += ANCHOR_ALIGNMENT)
			if (memcmp(data + at, ANCHOR_MAGIC, sizeof(ANCHOR_MAGIC)) == 0)
				found = start + at;
	free(data);
	return found;
}

static uint64_t search_all(int mem, FILE *maps, const char *program, bool *has_library)
{
	char *line = NULL, mode[8];
	size_t size = 0;
	uint64_t start, end, found = 0, searched = 0;
	int path = 0;

	while (!found && getline(&line, &size, maps) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &start, &end,
		    mode, &path) < 3 || !is_candidate(line + path, program))
			continue;
		*has_library |= strcmp(line + path, program) != 0;
		/* Private: nobody shares a library's data. */
		if (strncmp(mode, "rw-p", 4) != 0 || start >= end ||
		    end - start > DATA_MAX - searched)
			continue;
		searched += end - start;
		found = search(mem, start, end);
	}
	free(line);
	return found;
}

uint64_t memory_find(pid_t pid, enum target_result *result)
{
	char link[64], program[4096];
	bool has_library = false;
	uint64_t found;

	snprintf(link, sizeof(link), "/proc/%d/exe", proc_task(pid));
	ssize_t n = readlink(link, program, sizeof(program) - 1);
	program[n > 0 ? n : 0] = '\0';
	int fd = open_of(pid, "maps"), error = errno, mem;
	FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
	if (!maps) {
		*result = fd < 0 ? target_result_of(error) : TARGET_FAILED;
		if (fd >= 0)
			close(fd);
		return 0;
	}
	mem = open_of(pid, "mem");
	error = errno;
	found = search_all(mem, maps, program, &has_library);
	*result = found ? TARGET_OK : !has_library ? TARGET_NOT_HAKMEM :
	    mem < 0 ? target_result_of(error) : TARGET_OTHER_VERSION;
	fclose(maps);
	if (mem >= 0)
		close(mem);
	return found;
}

/* ---- What collect() asks for ---- */

uint64_t os_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

unsigned arenas_max(void)
{
	return (unsigned)process.narenas;
}

struct arena *arena_get(unsigned id)
{
	return id <= ARENAS_LIMIT ? process.copies[id] : NULL;
}

void arena_get_name(struct arena *arena, char name[ARENA_NAME])
{
	memcpy(name, arena->name, ARENA_NAME);
}

/* Its process does that. Until then what lies there counts as live. */
void arena_drain_inbox(struct arena *arena)
{
	(void)arena;
}

/* Objects on their way home: what the page map says of each. */
static void look_at_parcels(const struct tcache *t, struct tcache_view *view)
{
	struct parcel parcel;

	for (unsigned i = 0; i < OPEN_PARCELS; i++) {
		if (!t->parcels[i])
			continue;
		FETCH(parcel, t->parcels[i]);
		struct arena *arena = arena_get(parcel.arena);
		size_t n = arena ? arena_parcel_objects(arena, &parcel) : 0;
		for (size_t k = 0; k < n && k < PARCEL_OBJECTS; k++) {
			size_t granule = (uintptr_t)parcel.objects[k] >> LG_GRANULE;
			if (granule >= process.page_map.first && granule < process.page_map.end)
				FETCH(view->entries[view->remote++],
				    &process.page_map.map[granule]);
		}
	}
}

void tcaches_visit(void (*visit)(const struct tcache_view *, void *), void *context,
    size_t hits[LAYERS], size_t misses[LAYERS])
{
	static struct tcache copy;
	static struct tcache_view view;
	struct link link;

	fetch_bytes(hits, process.tcaches.ended_hits, LAYERS * sizeof(*hits));
	fetch_bytes(misses, process.tcaches.ended_misses, LAYERS * sizeof(*misses));
	FETCH(link, process.tcaches.tcaches);
	while (link.next != process.tcaches.tcaches && !process.has_failed) {
		FETCH(copy, container_of(link.next, struct tcache, link));
		tcache_look(&copy, process.first_tid, &view);
		look_at_parcels(&copy, &view);
		visit(&view, context);
		link = copy.link;
	}
}

void page_heap_stats(struct page_heap_stats *stats)
{
	size_t granules[2];

	FETCH(granules, process.page_heap.granules);
	*stats = (struct page_heap_stats) {
		.mapped = fetch_size(process.page_heap.mapped),
		.active = fetch_size(process.page_heap.active),
		.purged = fetch_size(process.page_heap.purged),
		.npurges = fetch_size(process.page_heap.npurges),
		.dirty = granules[0] * GRANULE,
		.muzzy = granules[1] * GRANULE,
	};
}

void whale_stats(struct whale_stats *stats)
{
	FETCH(*stats, process.whales.stats);
}

struct whale_owner whale_owner_stats(unsigned arena)
{
	return process.owners[arena];
}

size_t whale_cache_room(void)
{
	struct whale_stats stats;

	whale_stats(&stats);
	return whale_room(stats.live_bytes, fetch_size(process.whales.peak_bytes),
	    fetch_size(process.whales.wanted_bytes));
}

size_t metadata_bytes(void)
{
	return fetch_size(process.metadata.mapped);
}

size_t metadata_resident(void)
{
	return metadata_bytes() - (fetch_size((const AO_t *)process.metadata.unused_end) -
	    fetch_size((const AO_t *)process.metadata.unused));
}

size_t page_map_bytes(void)
{
	return fetch_size(process.maps.leaf_bytes) + fetch_size(process.maps.piece_bytes);
}

size_t page_map_resident(void)
{
	return fetch_size(process.maps.resident);
}

/* It has no thread that could be found. */
struct background_stats background_stats(void)
{
	return (struct background_stats) { .threads = 0 };
}

/* ---- Looking ---- */

static bool copy_arenas(void)
{
	static AO_t arenas[ARENAS_LIMIT + 1];

	FETCH(arenas, process.arenas.arenas);
	FETCH(process.owners, process.whales.owners);
	process.narenas = fetch_size(process.arenas.narenas);
	if (process.narenas > ARENAS_LIMIT)
		return false;
	for (unsigned id = 1; id <= process.narenas; id++) {
		if (!arenas[id])
			continue;
		struct arena *copy = malloc(sizeof(*copy));
		if (!copy)
			return false;
		FETCH(*copy, (const void *)arenas[id]);
		copy->id = id;
		process.copies[id] = copy;
	}
	return true;
}

static void copy_locks(void)
{
	struct lock *locks[MUTEXES];

	FETCH(locks, process.anchor.locks);
	for (int i = 0; i < MUTEXES; i++)
		FETCH(*collect_locks[i], locks[i]);
}

static bool is_of_this_build(const struct anchor *a)
{
	return a->version == SEGMENT_VERSION && a->size == sizeof(*a) &&
	    a->arena_size == sizeof(struct arena) && a->tcache_size == sizeof(struct tcache);
}

static void forget_arenas(void)
{
	for (unsigned id = 1; id <= ARENAS_LIMIT; id++) {
		free(process.copies[id]);
		process.copies[id] = NULL;
	}
}

/* All but arenas. */
static enum target_result fetch_all(uint64_t anchor)
{
	const struct anchor *a = &process.anchor;

	process.has_failed = false;
	FETCH(process.anchor, (const void *)anchor);
	if (process.has_failed)
		return TARGET_NO_PROCESS; /* or it became another program */
	if (!is_of_this_build(a))
		return TARGET_OTHER_VERSION;
	FETCH(settings, a->settings);
	FETCH(arenas_in_use, a->arenas_in_use);
	FETCH(process.page_map, a->page_map);
	FETCH(process.arenas, a->arenas);
	FETCH(process.tcaches, a->tcaches);
	FETCH(process.page_heap, a->page_heap);
	FETCH(process.whales, a->whales);
	FETCH(process.metadata, a->metadata);
	FETCH(process.maps, a->maps);
	FETCH(collect_zero_reallocs, a->zero_reallocs);
	FETCH(collect_started_ns, a->started_ns);
	copy_locks();
	return process.has_failed ? TARGET_DAMAGED : TARGET_OK;
}

static enum target_result look(uint64_t anchor, struct snapshot **snapshot, size_t *bytes)
{
	enum target_result result = fetch_all(anchor);

	if (result == TARGET_OK && !copy_arenas())
		result = TARGET_DAMAGED;
	*bytes = snapshot_size(collect_rows());
	*snapshot = result == TARGET_OK ? calloc(1, *bytes) : NULL;
	if (*snapshot)
		collect(*snapshot, collect_rows());
	else if (result == TARGET_OK)
		result = TARGET_FAILED;
	forget_arenas();
	if (result == TARGET_OK && process.has_failed) {
		result = TARGET_DAMAGED;
		free(*snapshot);
		*snapshot = NULL;
	}
	return result;
}

enum target_result memory_look(pid_t pid, uint64_t anchor, long first_tid,
    struct snapshot **snapshot, size_t *bytes)
{
	enum target_result result;

	size_class_init();
	*snapshot = NULL;
	process.mem = open_of(pid, "mem");
	if (process.mem < 0)
		return target_result_of(errno);
	process.first_tid = first_tid;
	process.deadline = collect_now_ns() + LOOK_NS;
	int tries = 0;
	do
		result = look(anchor, snapshot, bytes);
	while (result == TARGET_DAMAGED && ++tries < LOOKS &&
	    collect_now_ns() < process.deadline);
	close(process.mem);
	return result;
}
