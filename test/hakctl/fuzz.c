/*
 * A process that lies: it shows a stats segment as the library does, damages it at
 * random or by plan, answers its mailbox with nonsense, and runs hakctl on itself.
 * hakctl must end in time, by itself, with 0, 1 or 2, and print nothing that steers
 * a terminal.
 *
 *     fuzz HAKCTL [ROUNDS [SEED]]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctl/segment.h"
#include "fuzz.h"

#define ROWS 9u

enum mail { MAIL_HONEST, MAIL_SILENT, MAIL_NONSENSE, MAIL_STALE, MAIL_KINDS };
enum file { FILE_GOOD, FILE_UNSEALED, FILE_SHRINKS, FILE_EMPTY, FILE_SHORT, FILE_HUGE,
	FILE_PAGES, FILE_FROZEN, FILE_KINDS };

static struct segment *segment;
static size_t size;
static int fd = -1;
static enum mail mail;
static enum file file;
static volatile bool is_running, is_mutating;
static pthread_t server;

/* Numbers that are just too large, just too small, or mean something. */
static uint64_t strange(void)
{
	const uint64_t numbers[] = { 0, 1, 2, 7, 8, 255, 256, 257, 4095, 4096, 4097,
		0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX,
		(uint64_t)INT64_MAX + 1, UINT64_MAX, UINT64_MAX - 7, size, size - 1,
		size + 1, size - 8, ROWS, ROWS + 1, sizeof(struct snapshot),
		snapshot_size(ROWS), snapshot_size(ROWS) + 1, SEGMENT_REPLY + 1 };

	return random_below(4) ? numbers[random_below(sizeof(numbers) / sizeof(*numbers))] :
	    random_next();
}

/* ---- A segment as it should be ---- */

static size_t page_up(size_t n)
{
	return (n + 4095) & ~(size_t)4095;
}

static void fill_snapshot(struct snapshot *s)
{
	s->taken_ns = now_ns();
	s->epoch = 1;
	s->allocated = 1 << 20;
	s->active = 2 << 20;
	s->resident = 3 << 20;
	s->mapped = 4 << 20;
	s->nthreads = 3;
	s->narenas = ROWS - 1;
	s->arenas_in_use = 1;
	s->thread_rows = 3;
	s->arena_rows = ROWS;
	for (unsigned k = 1; k < CLASS_WHALE; k++)
		s->classes[k] = (struct snapshot_class) { 16 * k, 65536 / (16 * k), 65536,
			k < CLASS_L2 ? LAYER_TINY : k < CLASS_L25 ? LAYER_L2 : LAYER_L25 };
	for (unsigned i = 0; i < ROWS; i++) {
		s->arenas[i].is_made = 1;
		snprintf(s->arenas[i].name, SNAPSHOT_NAME, "site%u", i);
		for (unsigned k = 1; k < CLASS_WHALE; k++)
			s->arenas[i].bins[k] = (struct snapshot_bin) { .nmalloc = 100 * k,
				.ndalloc = 90 * k, .live = 10 * k, .curslabs = k };
	}
	for (unsigned i = 0; i < 3; i++)
		s->threads[i].tid = getpid() + (int)i;
}

static void fill_segment(void)
{
	size_t at = SEGMENT_HEADER;

	memset(segment, 0, size);
	segment->version = SEGMENT_VERSION;
	segment->size = (uint32_t)size;
	segment->mailbox_offset = (uint32_t)at;
	segment->mailbox_size = sizeof(struct mailbox);
	at += page_up(sizeof(struct mailbox));
	segment->snapshot_size = (uint32_t)snapshot_size(ROWS);
	for (int i = 0; i < 2; i++) {
		segment->snapshot_offset[i] = (uint32_t)at;
		fill_snapshot((struct snapshot *)((char *)segment + at));
		segment->sequence[i] = 2;
		at += page_up(snapshot_size(ROWS));
	}
	segment->arena_rows = ROWS;
	segment->pid = getpid();
	memcpy(segment->magic, SEGMENT_MAGIC, sizeof(segment->magic));
}

/* ---- Damage ---- */

static void damage_words(size_t from, size_t length, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		uint64_t n = strange();
		size_t width = random_below(2) ? 8 : 4;
		size_t at = from + random_below((length - width) / 4 + 1) * 4;
		memcpy((char *)segment + at, &n, width);
	}
}

static void damage_bytes(size_t from, size_t length, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		((unsigned char *)segment)[from + random_below(length)] =
		    (unsigned char)random_next();
}

static void fill_random(size_t from, size_t length)
{
	for (size_t i = 0; i + 8 <= length; i += 8) {
		uint64_t n = random_next();
		memcpy((char *)segment + from + i, &n, 8);
	}
}

static size_t snapshot_offset(void)
{
	size_t at = SEGMENT_HEADER + page_up(sizeof(struct mailbox));

	return at + random_below(2) * page_up(snapshot_size(ROWS));
}

/* Names that never end, and that a terminal would obey. */
static void damage_names(void)
{
	static const char evil[] = "\033[2J\033]0;x\a\233\n\r\t\"\\\xff\xfe<>&%s%n";

	for (int half = 0; half < 2; half++) {
		struct snapshot *s = (struct snapshot *)((char *)segment + SEGMENT_HEADER +
		    page_up(sizeof(struct mailbox)) +
		    (size_t)half * page_up(snapshot_size(ROWS)));
		for (unsigned i = 0; i < ROWS; i++)
			for (unsigned c = 0; c < SNAPSHOT_NAME; c++)
				s->arenas[i].name[c] = evil[random_below(sizeof(evil) - 1)];
	}
}

static void damage(void)
{
	const size_t header = sizeof(struct segment);

	switch (random_below(11)) {
	case 0:
		break;
	case 1:
		damage_words(8, header - 8, 1 + (unsigned)random_below(3));
		break;
	case 2:
		damage_bytes(0, header, 1 + (unsigned)random_below(20));
		break;
	case 3: /* the heads of both snapshots, rows among it */
		damage_words(snapshot_offset(), offsetof(struct snapshot, threads), 8);
		break;
	case 4:
		for (int i = 0; i < 2; i++) {
			struct snapshot *s = (struct snapshot *)((char *)segment +
			    segment->snapshot_offset[i]);
			s->thread_rows = (uint32_t)strange();
			s->arena_rows = (uint32_t)strange();
		}
		break;
	case 5:
		damage_words(snapshot_offset(), snapshot_size(ROWS), 2000);
		break;
	case 6: /* every number, but rows that are right */
		for (int i = 0; i < 2; i++) {
			struct snapshot *s = (struct snapshot *)((char *)segment +
			    segment->snapshot_offset[i]);
			fill_random(segment->snapshot_offset[i], snapshot_size(ROWS));
			s->thread_rows = SNAPSHOT_THREADS;
			s->arena_rows = ROWS;
		}
		break;
	case 7:
		damage_names();
		break;
	case 8:
		segment->sequence[0] = random_next();
		segment->sequence[1] = random_next() | 1;
		segment->current = (uint32_t)strange();
		break;
	case 9:
		segment->is_replaced = 1;
		break;
	default:
		fill_random(random_below(2) ? 0 : 8, size - 8);
	}
}

/* ---- The thread that has the segment ---- */

static void make_file(void)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	size = SEGMENT_HEADER + page_up(sizeof(struct mailbox)) +
	    2 * page_up(snapshot_size(ROWS));
	if (file == FILE_PAGES)
		flags |= MFD_HUGETLB;
	fd = memfd_create(SEGMENT_MEMFD, flags);
	if (fd < 0 && file == FILE_PAGES) {
		file = FILE_GOOD;
		fd = memfd_create(SEGMENT_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	}
	if (fd < 0) {
		perror("memfd_create");
		exit(1);
	}
	/* One that cannot be mapped here shows what it is by itself. */
	segment = MAP_FAILED;
	if (file == FILE_PAGES) {
		if (ftruncate(fd, 2 << 20) == 0)
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	} else if (ftruncate(fd, (off_t)size) == 0) {
		segment = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (segment == MAP_FAILED)
		segment = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (segment == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
}

static void seal_file(void)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	off_t length = file == FILE_EMPTY ? 0 : file == FILE_SHORT ? 100 :
	    file == FILE_HUGE ? (off_t)1 << 40 : 0;

	if (file == FILE_EMPTY || file == FILE_SHORT || file == FILE_HUGE)
		if (ftruncate(fd, length) != 0)
			perror("ftruncate");
	if (file == FILE_FROZEN)
		seals |= 0x10; /* F_SEAL_FUTURE_WRITE */
	if (file != FILE_UNSEALED && file != FILE_SHRINKS && file != FILE_PAGES)
		fcntl(fd, F_ADD_SEALS, seals);
}

static bool is_mapped_whole(void)
{
	return file != FILE_EMPTY && file != FILE_SHORT && file != FILE_SHRINKS;
}

static void answer(void)
{
	struct mailbox *m = (struct mailbox *)((char *)segment + SEGMENT_HEADER);

	if (mail == MAIL_SILENT || m->state != MAILBOX_REQUESTED)
		return;
	m->error = 0;
	m->length = 4;
	memcpy(m->reply, "true", 5);
	m->answered = m->ticket;
	if (mail == MAIL_NONSENSE) {
		fill_random(SEGMENT_HEADER + offsetof(struct mailbox, reply), SEGMENT_REPLY);
		m->length = random_below(2) ? SEGMENT_REPLY : (uint32_t)strange();
		m->error = random_below(2) ? 0 : (int32_t)strange();
	} else if (mail == MAIL_STALE) {
		m->answered = strange();
	}
	__atomic_store_n(&m->state, mail == MAIL_STALE ? (uint32_t)strange() :
	    MAILBOX_DONE, __ATOMIC_RELEASE);
	syscall(SYS_futex, &m->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void *serve(void *ready)
{
	struct timespec pause = { 0, 200000 };

	pthread_setname_np(pthread_self(), SEGMENT_THREAD);
	if (unshare(CLONE_FILES) != 0)
		perror("unshare");
	make_file();
	fill_segment();
	if (file == FILE_GOOD || random_below(2))
		damage();
	seal_file();
	pthread_barrier_wait(ready);
	while (is_running) {
		if (is_mapped_whole()) {
			answer();
			if (is_mutating)
				damage_words(8, size - 8, 50);
		} else if (file == FILE_SHRINKS && random_below(4) == 0) {
			if (ftruncate(fd, random_below(2) ? 0 : (off_t)size) != 0)
				perror("ftruncate");
		}
		nanosleep(&pause, NULL);
	}
	munmap(segment, size);
	close(fd);
	return NULL;
}

/* ---- hakctl ---- */

/* Some wait for an answer long: not for one that never comes. */
static const char *const deeds[][8] = {
	{ "get", "PID", "version", "arenas.narenas", "arena.0.name", "opt.thp" },
	{ "get", "PID", "version", "epoch", "--json" },
	{ "set", "PID", "tls.tiny.enabled=true", "arena.0.purge" },
	{ "set", "PID", "arena.0.name=x", "--json" },
	{ "purge", "PID" }, { "purge", "PID", "--json" }, { "purge", "PID", "--site", "x" },
	{ "toggle", "PID", "tiny", "on" }, { "site", "PID", "list" },
	{ "site", "PID", "list", "--json" }, { "site", "PID", "add", "a*=b" },
	{ "map", "PID", "-o", "/dev/null" }, { "map", "PID", "--json" },
};

static bool round_of(uint64_t this_seed)
{
	pthread_barrier_t ready;
	bool good = true;

	seed = this_seed;
	file = random_below(3) ? FILE_GOOD : (enum file)random_below(FILE_KINDS);
	mail = random_below(2) ? MAIL_HONEST : (enum mail)random_below(MAIL_KINDS);
	is_mutating = random_below(4) == 0;
	is_running = true;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_create(&server, NULL, serve, &ready);
	pthread_barrier_wait(&ready);
	for (int i = 0; good && i < 2; i++) {
		bool may_act = file == FILE_GOOD && !is_mutating &&
		    (mail == MAIL_HONEST || mail == MAIL_NONSENSE);
		if (may_act && random_below(2))
			good = run(deeds[random_below(COUNT(deeds))]);
		else
			good = run(looks[random_below(COUNT(looks))]);
	}
	is_running = false;
	pthread_join(server, NULL);
	pthread_barrier_destroy(&ready);
	if (!good)
		printf("seed %llu: file %d, mailbox %d, changing %d\n",
		    (unsigned long long)this_seed, (int)file, (int)mail, is_mutating);
	return good;
}

int main(int argc, char **argv)
{
	return run_rounds(argc, argv, round_of);
}
