#define _GNU_SOURCE
#include "ctl/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena/background.h"
#include "arena/slab.h"
#include "base/options.h"
#include "ctl/anchor.h"
#include "ctl/collect.h"
#include "ctl/control.h"
#include "ctl/serve.h"
#include "ctl/summon.h"
#include "page/page_heap.h"
#include "tcache/tcache.h"

_Static_assert(sizeof(struct segment) <= SEGMENT_HEADER, "the header fits");
_Static_assert(sizeof(((struct map_chunk *)0)->class) == CHUNK_GRANULES,
    "a cell is a granule");

/* What is this old is taken anew for whoever asks. */
#define FRESH_NS 10000000u
/* While the process works, this often in any case. */
#define REFRESH_NS 100000000u
#define PRESSURE_NS 1000000000u

/* Descriptors that are closed one by one, at most. */
#define FILES_MAX 65536

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* All of it belongs to the background thread. */
static struct segment *segment;
/* As described in the segment, which others may write to: never read from there. */
static struct {
	size_t size, mailbox_offset, snapshot_offset[2];
	unsigned arena_rows, current;
	AO_t sequence[2];
} layout;
static int memfd = -1;
static bool has_own_files;
static unsigned last_bell;
static uint64_t last_activity, refreshed_ns, pressure_ns;
static bool active; /* something changed since serve() last told so */

/* In .data: hakctl looks where it can tell the library's own pages. */
static struct anchor anchor
    __attribute__((used, aligned(ANCHOR_ALIGNMENT), section(".data"))) = {
	.magic = ANCHOR_MAGIC,
	.version = SEGMENT_VERSION,
	.size = sizeof(struct anchor),
	.arena_size = sizeof(struct arena),
	.tcache_size = sizeof(struct tcache),
	.settings = &settings,
	.arenas_in_use = &arenas_in_use,
	.page_map = &page_map,
	.arenas = &arena_places,
	.tcaches = &tcache_places,
	.page_heap = &page_heap_places,
	.whales = &whale_places,
	.metadata = &metadata_places,
	.maps = &page_map_places,
	.locks = collect_locks,
	.zero_reallocs = &collect_zero_reallocs,
	.started_ns = &collect_started_ns,
	.background_state = &background_state,
	.first_thread = &thread_first,
	.summon = SUMMON,
};

static struct mailbox *mailbox(void)
{
	return (struct mailbox *)((char *)segment + layout.mailbox_offset);
}

static struct snapshot *snapshot_at(unsigned which)
{
	return (struct snapshot *)((char *)segment + layout.snapshot_offset[which]);
}

static void wake_clients(unsigned *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* A file table of the thread's own, empty: the program never meets our file, and
 * we never hold one of its. */
static void leave_files(void)
{
	/* Past our own unshare, which waits for this thread's end. */
	has_own_files = syscall(SYS_unshare, CLONE_FILES) == 0;
	if (has_own_files && syscall(SYS_close_range, 0u, ~0u, 0u) != 0)
		/* Before Linux 5.9: all that there can be, within reason. */
		for (int fd = 0; fd < FILES_MAX && fd < sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
}

static int make_file(size_t size)
{
	int fd = memfd_create(SEGMENT_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING |
	    MFD_NOEXEC_SEAL);

	if (fd < 0)
		fd = memfd_create(SEGMENT_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	if (!has_own_files) {
		/* Out of the way of a program that counts on low numbers. */
		int high = fcntl(fd, F_DUPFD_CLOEXEC, 512);
		if (high >= 0) {
			close(fd);
			fd = high;
		}
	}
	/* Nobody outside can cut it off under us. */
	if (ftruncate(fd, (off_t)size) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void lay_out(unsigned rows)
{
	size_t at = SEGMENT_HEADER;

	memset(&layout, 0, sizeof(layout));
	layout.arena_rows = rows;
	layout.mailbox_offset = at;
	at += round_up(sizeof(struct mailbox), PAGE);
	for (int i = 0; i < 2; i++) {
		layout.snapshot_offset[i] = at;
		at += round_up(snapshot_size(rows), PAGE);
	}
	layout.size = at;
}

static void describe(struct segment *s)
{
	s->version = SEGMENT_VERSION;
	s->size = (uint32_t)layout.size;
	s->mailbox_offset = (uint32_t)layout.mailbox_offset;
	s->mailbox_size = sizeof(struct mailbox);
	s->snapshot_size = (uint32_t)snapshot_size(layout.arena_rows);
	for (int i = 0; i < 2; i++)
		s->snapshot_offset[i] = (uint32_t)layout.snapshot_offset[i];
	s->arena_rows = layout.arena_rows;
	s->pid = getpid();
	s->started_ns = collect_now_ns();
}

static void refresh(void);

static void segment_make(void)
{
	unsigned rows = collect_rows() < 9 ? 9 : collect_rows();
	struct segment *old = segment;
	struct mailbox *old_mailbox = old ? mailbox() : NULL;
	size_t old_size = layout.size;
	int old_file = memfd;

	lay_out(rows);
	int fd = make_file(layout.size);
	/* Where there can be no file nobody can look in; limits are watched all the
	 * same. */
	void *p = mmap(NULL, layout.size, PROT_READ | PROT_WRITE,
	    fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		if (fd >= 0)
			close(fd);
		fd = -1;
		p = NULL;
	} else {
		/* A child has no business with it. */
		madvise(p, layout.size, MADV_DONTFORK);
		madvise(p, layout.size, MADV_DONTDUMP);
		describe(p);
	}
	segment = p;
	memfd = fd;
	last_bell = 0;
	refreshed_ns = 0;
	segment_service.bell = segment ? &segment->bell : NULL;
	if (old && segment)
		/* Who follows from the old one must find this one whole. */
		refresh();
	if (old) {
		AO_int_store_release(&old->is_replaced, 1);
		wake_clients(&old_mailbox->state);
		munmap(old, old_size);
		if (old_file >= 0)
			close(old_file);
	}
}

static void start(void)
{
	/* A hidden thread's storage begins as its maker's. */
	tcache_forget();
	/* After a thread of this process its file is closed, but who looks at it is to
	 * be told. */
	memfd = -1;
	leave_files();
	segment_make();
}

/* Did the program do anything since the last look? */
static bool was_active(const struct snapshot *s)
{
	uint64_t activity = s->allocated + s->active + s->dirty + s->whales;

	for (int layer = 0; layer < LAYERS; layer++)
		activity += s->layers[layer].hits + s->layers[layer].misses;
	bool changed = activity != last_activity;
	last_activity = activity;
	return changed;
}

static void refresh(void)
{
	unsigned next = !layout.current;
	struct snapshot *s = snapshot_at(next);
	volatile AO_t *sequence = (volatile AO_t *)&segment->sequence[next];

	/* Odd before anything else is written. Pairs with the reader's look at the
	 * sequence after it copied. */
	AO_store(sequence, ++layout.sequence[next]);
	AO_fetch_and_add_full(sequence, 0);
	s->epoch = layout.sequence[0] / 2 + layout.sequence[1] / 2;
	collect(s, layout.arena_rows);
	AO_store_release(sequence, ++layout.sequence[next]);
	layout.current = next;
	AO_int_store_release(&segment->current, next);
	if (layout.sequence[next] == 2 && !layout.sequence[!next])
		/* Last, so that who finds it finds a segment that is whole. */
		memcpy(segment->magic, SEGMENT_MAGIC, sizeof(segment->magic));
	refreshed_ns = s->taken_ns;
	active |= was_active(s);
}

/* Slots of the granule's slab in use, in 255ths. Reads a descriptor that may be
 * about to go: metadata stays mapped, and what comes out is bounded. */
__attribute__((no_sanitize("thread")))
static uint8_t granule_use(const void *p)
{
	const struct extent *extent = page_map_extent(p);

	if (!extent || extent->class == CLASS_WHALE)
		return 0;
	const struct slab *slab = container_of(extent, struct slab, extent);
	unsigned slots = slab->slots, free = slab->free;
	return slots && free <= slots ? (uint8_t)((slots - free) * 255 / slots) : 0;
}

static void map_fill(const struct chunk_view *view, struct map_chunk *chunk)
{
	unsigned covered = 0; /* granules yet to come of what the last entry describes */

	chunk->base = (uintptr_t)view->base;
	for (unsigned g = 0; g < CHUNK_GRANULES; g++) {
		uint64_t bit = (uint64_t)1 << g % 64;
		const char *p = view->base + g * GRANULE;
		unsigned class = page_map_get(p) % CLASSES;
		if (class != CLASS_NONE)
			covered = size_classes[class].slots == 1 ? size_classes[class].granules : 1;
		if (view->free[g / 64] & bit || covered == 0) {
			covered = 0;
			chunk->used[g] = 0;
			chunk->class[g] = view->dirty[g / 64] & bit ? MAP_DIRTY :
			    view->muzzy[g / 64] & bit ? MAP_MUZZY : MAP_CLEAN;
			continue;
		}
		covered--;
		chunk->used[g] = class != CLASS_NONE ? granule_use(p) : chunk->used[g - 1];
		chunk->class[g] = class != CLASS_NONE ? (uint8_t)class : chunk->class[g - 1];
	}
}

static uint32_t map_reply(const char *cursor, char *reply)
{
	struct map_reply head = { .granule = GRANULE, .cells = CHUNK_GRANULES };
	size_t index = strtoul(cursor, NULL, 10), at = sizeof(head);
	struct chunk_view view;
	struct map_chunk chunk;

	while (at + sizeof(chunk) <= SEGMENT_REPLY && page_heap_view(index, &view)) {
		map_fill(&view, &chunk);
		memcpy(reply + at, &chunk, sizeof(chunk));
		at += sizeof(chunk);
		head.chunks++;
		index++;
	}
	head.next = page_heap_view(index, &view) ? index : 0;
	memcpy(reply, &head, sizeof(head));
	return (uint32_t)at;
}

/* Answer a request, if there is one. Copies it first: who wrote it may go on. */
static bool answer(void)
{
	struct mailbox *m = mailbox();
	char name[sizeof(m->name)], value[sizeof(m->value)];
	int error = 0;

	/* Pairs with the release of who asks. */
	if (AO_int_load_acquire(&m->state) != MAILBOX_REQUESTED)
		return false;
	uint64_t ticket = m->ticket;
	memcpy(name, m->name, sizeof(name));
	memcpy(value, m->value, sizeof(value));
	name[sizeof(name) - 1] = value[sizeof(value) - 1] = '\0';
	m->reply[0] = '\0';
	uint32_t length = 0;
	switch (*(volatile uint32_t *)&m->command) {
	case MAILBOX_REFRESH:
		if (collect_now_ns() - refreshed_ns >= FRESH_NS)
			refresh();
		break;
	case MAILBOX_GET:
		error = control_get_text(name, m->reply, SEGMENT_REPLY);
		length = (uint32_t)strnlen(m->reply, SEGMENT_REPLY);
		break;
	case MAILBOX_SET:
		error = control_set_text(name, value);
		refresh();
		break;
	case MAILBOX_MAP:
		length = map_reply(value, m->reply);
		break;
	default:
		error = ENOSYS;
	}
	m->error = error;
	m->length = length;
	m->answered = ticket;
	/* Pairs with the acquire of who asked. */
	AO_int_store_release(&m->state, MAILBOX_DONE);
	wake_clients(&m->state);
	return true;
}

/* The beginning of a small file, terminated. False: it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The share of time that some task waited for memory, in 1/100 %; 0: not told. */
static unsigned stall_of(const char *path)
{
	char text[128];
	unsigned whole, part;

	if (!read_text(path, text, sizeof(text)) ||
	    sscanf(text, "some avg10=%u.%2u", &whole, &part) < 2)
		return 0;
	return whole * 100 + part;
}

/* The same of the process's own cgroup (v2). */
static unsigned stall_of_cgroup(void)
{
	char text[300], path[400];

	if (!read_text("/proc/self/cgroup", text, sizeof(text)))
		return 0;
	char *own = strstr(text, "0::/");
	if (!own)
		return 0;
	own[strcspn(own, "\n")] = '\0';
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.pressure", own + 3);
	return stall_of(path);
}

static void watch_pressure(uint64_t now)
{
	if (!flag_load(&settings.pressure) || now - pressure_ns < PRESSURE_NS)
		return;
	pressure_ns = now;
	unsigned some = stall_of("/proc/pressure/memory"), own = stall_of_cgroup();
	some = own > some ? own : some;
	counter_add_owned(&collect_pressure_reads, 1);
	flag_store(&collect_pressure_some, some);
	if (some > flag_load(&settings.pressure_threshold)) {
		counter_add_owned(&collect_pressure_purges, 1);
		background_pass(true);
	}
}

/* What the kernel counts for the whole process, in bytes; SIZE_MAX: not told. */
static size_t process_resident(void)
{
	char text[64];
	size_t pages;

	return read_text("/proc/self/statm", text, sizeof(text)) &&
	    sscanf(text, "%*u %zu", &pages) == 1 ? pages * PAGE : SIZE_MAX;
}

/* Classes round up, and not all that is allocated was written: where the snapshot's number
 * is over the limit, the kernel's may not be. */
static size_t resident_over(size_t limit)
{
	size_t resident = snapshot_at(layout.current)->resident;

	if (resident > limit) {
		size_t counted = process_resident();
		resident = counted < resident ? counted : resident;
	}
	return resident > limit ? resident : 0;
}

static void watch_limit(void)
{
	size_t limit = flag_load(&settings.soft_bytes);

	if (!limit || !resident_over(limit))
		return;
	counter_add_owned(&collect_soft_purges, 1);
	background_pass(true);
	refresh();
	size_t resident = resident_over(limit);
	void (*callback)(size_t) = (void (*)(size_t))flag_load(&control_limit_callback);
	if (resident && callback)
		callback(resident);
}

static bool serve(void)
{
	uint64_t now = collect_now_ns(), seen = refreshed_ns;

	if (!segment)
		return false;
	unsigned bell = AO_int_load(&segment->bell);
	bool rung = bell != last_bell;
	last_bell = bell;
	bool answered = rung && answer();
	if (collect_rows() > layout.arena_rows)
		segment_make();
	if (!segment)
		return false;
	if (!answered || now >= refreshed_ns + REFRESH_NS)
		refresh();
	if (refreshed_ns != seen) {
		watch_limit();
		watch_pressure(now);
	}
	bool again = active;
	active = false;
	return again;
}

static void forget(void)
{
	segment = NULL;
	segment_service.bell = NULL;
}

struct background_service segment_service = { start, serve, forget, NULL };
