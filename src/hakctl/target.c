#define _GNU_SOURCE
#include "hakctl/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "ctl/collect.h"
#include "hakctl/format.h"
#include "hakctl/memory.h"
#include "hakctl/proc.h"
#include "hakctl/summon.h"

/* A thousand arenas need 14 MiB. */
#define SEGMENT_MAX (64u << 20)
/* The service takes none anew that is younger. */
#define FRESH_NS 10000000u
/* A reader meets a writer for so long before it takes it for ill will. */
#define COPY_MS 100
/* Threads of the background thread's name that are looked into, and descriptors of a
 * segment's name of each. */
#define THREADS_MAX 16
#define SEGMENTS_MAX 64
/* While waiting: how often to look whether the process is still there. */
#define LOOK_MS 20
/* And whether its thread is: it ends when the process changes its identity
 * or forks. */
#define THREAD_MS 500
/* Another hakctl that summons holds a process as a debugger does, and for less. */
#define SUMMONED_MS 500
/* How often a process is had to start its thread, and what is waited for it the first
 * time, twice as long each time after: one that changes its identity or forks again and
 * again ends it, and not in our rhythm. */
#define SUMMONS 6
#define SUMMON_MS 25

#define LINK_TEXT "/memfd:" SEGMENT_MEMFD

/* ---- /proc ---- */

static void read_command(pid_t pid, char *command, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (!proc_read(path, command, size))
		snprintf(command, size, "?");
	command[strcspn(command, "\n")] = '\0';
	format_printable(command);
}

static bool process_exists(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return access(path, F_OK) == 0;
}

/* The pid as the process itself knows it, in its own pid namespace; 0: unknown. */
static int64_t inner_pid(pid_t pid)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!proc_read(path, text, sizeof(text)))
		return 0;
	char *line = strstr(text, "\nNSpid:");
	if (!line)
		return pid;
	line++;
	line[strcspn(line, "\n")] = '\0';
	const char *last = strrchr(line, '\t');
	return last ? strtoll(last + 1, NULL, 10) : 0;
}

/* ---- Finding the segment ---- */

static bool is_segment_link(const char *path)
{
	char text[64];
	ssize_t n = readlink(path, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strncmp(text, LINK_TEXT, sizeof(LINK_TEXT) - 1) == 0 &&
	    (text[sizeof(LINK_TEXT) - 1] == '\0' ||
	     text[sizeof(LINK_TEXT) - 1] == ' ');
}

enum target_result target_result_of(int error)
{
	return error == EACCES || error == EPERM ? TARGET_NOT_ALLOWED :
	    error == ENOENT || error == ESRCH ? TARGET_NO_PROCESS : TARGET_FAILED;
}

/* Where candidates go; true: this is it, look no further. */
typedef bool (*visit_fn)(const char *path, void *context);

/* Every descriptor in folder that says it is a segment. */
static enum target_result visit_folder(const char *folder, visit_fn visit,
    void *context)
{
	char path[320];
	DIR *dir = opendir(folder);
	enum target_result result = TARGET_NOT_HAKMEM;
	int segments = 0;

	if (!dir)
		return target_result_of(errno);
	errno = 0;
	for (struct dirent *e; segments < SEGMENTS_MAX && (e = readdir(dir));) {
		if (!proc_is_number(e->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (!is_segment_link(path))
			continue;
		segments++;
		if (visit(path, context)) {
			result = TARGET_OK;
			break;
		}
	}
	closedir(dir);
	return result;
}

/* The background thread has a file table of its own, and another thread may have
 * its name: all that have it are looked at. */
static enum target_result visit_threads(pid_t pid, visit_fn visit, void *context)
{
	char path[320], name[32];
	enum target_result result = TARGET_NOT_HAKMEM;
	int threads = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return TARGET_NO_PROCESS;
	for (struct dirent *e; result != TARGET_OK && threads < THREADS_MAX &&
	    (e = readdir(dir));) {
		if (!proc_is_number(e->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, e->d_name);
		if (!proc_read(path, name, sizeof(name)) ||
		    strcmp(name, SEGMENT_THREAD "\n") != 0)
			continue;
		threads++;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/fd", pid, e->d_name);
		enum target_result found = visit_folder(path, visit, context);
		/* Of one that ended meanwhile nothing is known. (As a list of what does say
		 * something gcc 14.2 inverts this: cmovae after bt, by -fif-conversion.) */
		if (found != TARGET_NOT_HAKMEM && found != TARGET_NO_PROCESS)
			result = found;
	}
	closedir(dir);
	return result;
}

static enum target_result visit_segments(pid_t pid, visit_fn visit, void *context)
{
	char folder[64];
	enum target_result result = visit_threads(pid, visit, context);

	if (result != TARGET_NOT_HAKMEM)
		return result;
	/* Where the thread could not have a file table of its own. */
	snprintf(folder, sizeof(folder), "/proc/%d/fd", proc_task(pid));
	return visit_folder(folder, visit, context);
}

/* ---- Opening it ---- */

static void target_clear(struct target *target)
{
	*target = (struct target) { .fd = -1, .pidfd = -1 };
}

static bool has_range(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset % 8 == 0 && offset >= sizeof(struct segment) &&
	    offset <= size && length <= size - offset;
}

/* A header that was copied: does all that it says lie within the file? */
static enum target_result check_header(const struct segment *h, size_t size)
{
	static const char none[8];

	if (memcmp(h->magic, none, sizeof(none)) == 0)
		return TARGET_NOT_HAKMEM; /* nothing in it yet */
	if (memcmp(h->magic, SEGMENT_MAGIC, sizeof(h->magic)) != 0)
		return TARGET_DAMAGED;
	if (h->version != SEGMENT_VERSION)
		return TARGET_OTHER_VERSION;
	if (h->size != size || h->mailbox_size < sizeof(struct mailbox) ||
	    !has_range(h->mailbox_offset, h->mailbox_size, size) ||
	    h->snapshot_size < snapshot_size(1))
		return TARGET_DAMAGED;
	for (int i = 0; i < 2; i++)
		if (!has_range(h->snapshot_offset[i], h->snapshot_size, size))
			return TARGET_DAMAGED;
	return TARGET_OK;
}

/* Only a file whose mapping cannot turn into SIGBUS is mapped: shared memory of
 * ordinary pages that its owner gave up the right to shrink. */
static bool is_safe_to_map(int fd, size_t *size)
{
	struct stat st;
	struct statfs fs;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) ||
	    fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0)
		return false;
	*size = (size_t)st.st_size;
	return S_ISREG(st.st_mode) && fs.f_type == TMPFS_MAGIC &&
	    st.st_size >= (off_t)sizeof(struct segment) && st.st_size <= SEGMENT_MAX;
}

static bool map_segment(struct target *t)
{
	t->segment = MAP_FAILED;
	if (t->may_write)
		t->segment = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    t->fd, 0);
	if (t->segment == MAP_FAILED) {
		t->may_write = false;
		t->segment = mmap(NULL, t->size, PROT_READ, MAP_SHARED, t->fd, 0);
	}
	if (t->segment == MAP_FAILED)
		t->segment = NULL;
	return t->segment != NULL;
}

static void unmap(struct target *t)
{
	if (t->segment)
		munmap(t->segment, t->size);
	if (t->fd >= 0)
		close(t->fd);
	t->segment = NULL;
	t->fd = -1;
}

static void detach(struct target *t)
{
	unmap(t);
	if (t->pidfd >= 0)
		close(t->pidfd);
	t->pidfd = -1;
}

struct opening {
	struct target *target;
	enum target_result result; /* of the best candidate so far */
};

static enum target_result open_segment(struct target *t, const char *path)
{
	/* NONBLOCK: it might turn out to be something that keeps who opens it. */
	int flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	t->fd = open(path, O_RDWR | flags);
	t->may_write = t->fd >= 0;
	if (t->fd < 0)
		t->fd = open(path, O_RDONLY | flags);
	if (t->fd < 0)
		/* The thread ended, and maybe not the process. */
		return errno == ENOENT ? TARGET_NOT_HAKMEM : target_result_of(errno);
	if (!is_safe_to_map(t->fd, &t->size) || !map_segment(t))
		return TARGET_DAMAGED;
	t->header = *(volatile struct segment *)t->segment;
	enum target_result result = check_header(&t->header, t->size);
	if (result != TARGET_OK)
		return result;
	/* A parent's descriptor that a child of fork inherited is not the child's;
	 * one that is replaced has its successor beside it. */
	if (t->header.is_replaced || t->header.pid != inner_pid(t->pid))
		return TARGET_NOT_HAKMEM;
	return TARGET_OK;
}

static bool try_segment(const char *path, void *context)
{
	struct opening *opening = context;
	enum target_result result = open_segment(opening->target, path);

	if (result != TARGET_OK)
		unmap(opening->target);
	if (result == TARGET_OK || opening->result == TARGET_NOT_HAKMEM)
		opening->result = result;
	return result == TARGET_OK;
}

static enum target_result find_segment(struct target *t)
{
	struct opening opening = { t, TARGET_NOT_HAKMEM };
	enum target_result result = visit_segments(t->pid, try_segment, &opening);

	return result == TARGET_NOT_HAKMEM ? opening.result : result;
}

bool target_is_gone(const struct target *t)
{
	if (t->pidfd >= 0) {
		struct pollfd p = { .fd = t->pidfd, .events = POLLIN };
		return poll(&p, 1, 0) == 1;
	}
	return !process_exists(t->pid);
}

bool target_is_stopped(const struct target *t)
{
	char state = proc_state(proc_task(t->pid));

	return state == 'T' || state == 't';
}

const char *target_silence(const struct target *t)
{
	switch (proc_state(proc_task(t->pid))) {
	case 'T':
		return "is stopped";
	case 't':
		return "is stopped by a debugger";
	case 'Z':
	case 'X':
	case '?':
		return "is about to end";
	case 'D':
		return "waits for the system";
	default:
		return t->may_write ? "does not answer" : "may not be asked";
	}
}

uint64_t target_age_ns(const struct target *t)
{
	uint64_t now = collect_now_ns(), taken = t->snapshot ? t->snapshot->taken_ns : now;

	return now > taken ? now - taken : 0;
}

enum target_result target_open(struct target *t, pid_t pid)
{
	target_clear(t);
	if (pid <= 0 || !process_exists(pid))
		return TARGET_NO_PROCESS;
	t->pid = pid;
	/* First: whatever is found afterwards belongs to this process. */
	t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	read_command(pid, t->command, sizeof(t->command));
	enum target_result result = find_segment(t);
	if (result != TARGET_OK && target_is_gone(t))
		result = TARGET_NO_PROCESS;
	if (result == TARGET_NOT_HAKMEM)
		t->anchor = memory_find(pid, &result);
	if (result != TARGET_OK)
		detach(t);
	return result;
}

void target_close(struct target *t)
{
	detach(t);
	free(t->snapshot);
	target_clear(t);
}

const char *target_explain(enum target_result result)
{
	switch (result) {
	case TARGET_OK:
		return "fine";
	case TARGET_NO_PROCESS:
		return "process ended";
	case TARGET_NOT_ALLOWED:
		return "permission denied";
	case TARGET_NOT_HAKMEM:
		return "does not run on hakmem";
	case TARGET_DAMAGED:
		return "its statistics are damaged";
	case TARGET_OTHER_VERSION:
		return "runs on another version of hakmem";
	case TARGET_FAILED:
		break;
	}
	return "out of memory or file descriptors";
}

/* ---- The mailbox ---- */

static struct mailbox *mailbox(const struct target *t)
{
	return (struct mailbox *)((char *)t->segment + t->header.mailbox_offset);
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec) { .tv_nsec = ms * 1000000 }, NULL);
}

static uint64_t deadline_of(int wait_ms)
{
	return collect_now_ns() + (uint64_t)(wait_ms > 0 ? wait_ms : 0) * 1000000;
}

/* Stopped, and not for a moment by another hakctl? */
static bool stays_stopped(const struct target *t, uint64_t deadline)
{
	uint64_t summoned = deadline_of(SUMMONED_MS);

	while (proc_state(t->pid) == 't' && collect_now_ns() < deadline && collect_now_ns() < summoned)
		pause_ms(1);
	return target_is_stopped(t);
}

static void await_change(uint32_t *word, uint32_t value, uint64_t ns)
{
	struct timespec timeout = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

/* One asker or summoner at a time; another that never lets go must not keep us. */
static int take_turn(int fd, uint64_t deadline)
{
	struct timespec pause = { 0, 200000 };

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return errno;
		if (collect_now_ns() >= deadline)
			return ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void post(const struct target *t, struct mailbox *m)
{
	/* Pairs with the acquire of the process: the request is whole. */
	AO_int_store_release(&m->state, MAILBOX_REQUESTED);
	AO_int_fetch_and_add_full(&t->segment->bell, 1);
	syscall(SYS_futex, &t->segment->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void write_request(struct mailbox *m, enum mailbox_command command,
    uint64_t ticket, const char *name, const char *value)
{
	/* What an asker that died left must not be mixed with ours. */
	AO_int_store(&m->state, MAILBOX_IDLE);
	AO_nop_full();
	m->command = command;
	m->ticket = ticket;
	memcpy(m->name, name, strlen(name) + 1);
	memcpy(m->value, value, strlen(value) + 1);
}

static bool has_segment(pid_t pid)
{
	struct target other;

	target_clear(&other);
	other.pid = pid;
	bool found = find_segment(&other) == TARGET_OK;
	unmap(&other);
	return found;
}

/* Wait for the answer to ticket; an answer to what someone asked before us may
 * have come over our request, which is posted again then. */
static int await(const struct target *t, struct mailbox *m, uint64_t ticket,
    uint64_t deadline)
{
	uint64_t look_at_thread = deadline_of(THREAD_MS);

	for (;;) {
		/* Pairs with the release of the process: the reply is whole. */
		uint32_t state = AO_int_load_acquire(&m->state);
		uint64_t now = collect_now_ns();
		if (state == MAILBOX_DONE &&
		    *(volatile uint64_t *)&m->answered == ticket)
			return 0;
		if (target_is_gone(t))
			return ESRCH;
		if (*(volatile uint32_t *)&t->segment->is_replaced)
			return ESTALE;
		if (now >= look_at_thread) {
			if (!has_segment(t->pid))
				return ESTALE;
			look_at_thread = deadline_of(THREAD_MS);
		}
		if (now >= deadline || stays_stopped(t, deadline))
			return ETIMEDOUT;
		uint64_t left = deadline - now;
		if (state != MAILBOX_REQUESTED)
			post(t, m);
		await_change(&m->state, MAILBOX_REQUESTED,
		    left < LOOK_MS * 1000000u ? left : LOOK_MS * 1000000u);
	}
}

static int take_reply(const struct mailbox *m, char *reply, size_t *length)
{
	uint32_t n = *(const volatile uint32_t *)&m->length;
	int32_t error = *(const volatile int32_t *)&m->error;

	if (n > SEGMENT_REPLY)
		return EBADMSG;
	memcpy(reply, m->reply, n);
	reply[n] = '\0';
	*length = n;
	/* An errno, and not one that means something here. */
	if (error < 0 || error > 4095)
		return EBADMSG;
	return error;
}

static int ask_once(struct target *t, enum mailbox_command command,
    const char *name, const char *value, char *reply, size_t *length,
    uint64_t deadline)
{
	struct mailbox *m = mailbox(t);
	/* Unlike that of any asker before us. */
	uint64_t ticket = collect_now_ns() << 16 ^ (uint64_t)getpid();

	if (target_is_gone(t))
		return ESRCH;
	if (stays_stopped(t, deadline))
		return ETIMEDOUT;
	int error = take_turn(t->fd, deadline);
	if (error)
		return error;
	write_request(m, command, ticket, name, value);
	post(t, m);
	error = await(t, m, ticket, deadline);
	if (error)
		/* Who is not there to hear an answer does not want the deed. */
		AO_int_compare_and_swap_full(&m->state, MAILBOX_REQUESTED, MAILBOX_IDLE);
	else
		error = take_reply(m, reply, length);
	flock(t->fd, LOCK_UN);
	return error;
}

/* The process made itself another segment: use that from now on. */
static enum target_result follow(struct target *t)
{
	struct target next;
	enum target_result result;

	target_clear(&next);
	next.pid = t->pid;
	result = find_segment(&next);
	if (target_is_gone(t) || result != TARGET_OK) {
		unmap(&next);
		return target_is_gone(t) ? TARGET_NO_PROCESS : result;
	}
	unmap(t);
	t->fd = next.fd;
	t->segment = next.segment;
	t->size = next.size;
	t->header = next.header;
	t->may_write = next.may_write;
	return TARGET_OK;
}

/* 0, or an errno of target_ask. Has its turn. */
static int have_segment_made(struct target *t, uint64_t deadline)
{
	enum target_result result;

	if (!t->anchor)
		t->anchor = memory_find(t->pid, &result);
	for (int tries = 0; tries < SUMMONS && !t->segment && collect_now_ns() < deadline; tries++) {
		int wait_ms = SUMMON_MS << tries;
		if (stays_stopped(t, deadline))
			return ETIMEDOUT;
		t->no_thread = find_segment(t) == TARGET_OK ? NULL :
		    summon_thread(t->pid, t->anchor);
		if (t->no_thread && t->no_thread != summon_again)
			break;
		for (int ms = 0; ms < wait_ms && !t->segment && !target_is_gone(t); ms += 5) {
			pause_ms(5);
			find_segment(t);
		}
	}
	return t->segment ? 0 : target_is_gone(t) ? ESRCH : ENXIO;
}

static int gain_segment(struct target *t, uint64_t deadline)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", t->pid);
	int turn = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (turn < 0)
		return errno == ENOENT ? ESRCH : errno;
	int error = take_turn(turn, deadline);
	if (!error)
		error = have_segment_made(t, deadline);
	close(turn);
	return error;
}

int target_ask(struct target *t, enum mailbox_command command, const char *name,
    const char *value, char *reply, size_t *length, int wait_ms)
{
	uint64_t deadline = deadline_of(wait_ms);
	int error = EACCES;

	*length = 0;
	reply[0] = '\0';
	if (strlen(name) >= sizeof(((struct mailbox *)0)->name) ||
	    strlen(value) >= sizeof(((struct mailbox *)0)->value))
		return ENAMETOOLONG;
	/* A segment is replaced, or its thread ends, a few times, not for ever. */
	for (int tries = 0; tries < 8; tries++) {
		if (!t->segment && (error = gain_segment(t, deadline)) != 0)
			return error;
		if (!t->may_write)
			return EACCES;
		error = ask_once(t, command, name, value, reply, length, deadline);
		if (error != ESTALE)
			return error;
		if (follow(t) != TARGET_OK) {
			if (target_is_gone(t))
				return ESRCH;
			unmap(t);
		}
	}
	return ETIMEDOUT;
}

const char *target_refusal(const struct target *target, int error)
{
	static char no_thread[160];

	switch (error) {
	case ESRCH:
		return "process ended";
	case EACCES:
		return "permission denied";
	case ENXIO:
		snprintf(no_thread, sizeof(no_thread), "has no thread that could answer: %s",
		    target->no_thread ? target->no_thread : "it did not start one in time");
		return no_thread;
	case ETIMEDOUT:
		return target_silence(target);
	case ENOENT:
		return "there is no such control";
	case EINVAL:
		return "the value is not right";
	case EPERM:
		return "only the process itself can do that";
	case ENOTSUP:
		return "not supported";
	case ENAMETOOLONG:
		return "too long";
	case EBADMSG:
		return "its answer makes no sense";
	default:
		return strerror(error);
	}
}

/* ---- Snapshots ---- */

static void clean_name(char *name, size_t size)
{
	name[size - 1] = '\0';
	format_printable(name);
}

/* What was copied becomes safe to walk through: rows, text and layers. */
static bool check_snapshot(struct snapshot *s, size_t bytes)
{
	if (s->arena_rows == 0 ||
	    snapshot_size(s->arena_rows) > bytes || s->thread_rows > SNAPSHOT_THREADS)
		return false;
	for (uint32_t i = 0; i < s->arena_rows; i++)
		clean_name(s->arenas[i].name, sizeof(s->arenas[i].name));
	for (unsigned k = 0; k < CLASSES; k++)
		s->classes[k].layer %= LAYERS;
	return true;
}

static void put_snapshot(struct target *t, struct snapshot *s, size_t bytes)
{
	free(t->snapshot);
	t->snapshot = s;
	t->snapshot_bytes = bytes;
	t->rss = proc_rss(proc_task(t->pid));
}

/* Copy one of the two; false: it was written to meanwhile. */
static bool copy(const struct target *t, unsigned which, struct snapshot *s)
{
	const volatile AO_t *sequence =
	    (const volatile AO_t *)&t->segment->sequence[which];
	size_t before = AO_load_acquire(sequence);

	if (before & 1)
		return false;
	memcpy(s, (char *)t->segment + t->header.snapshot_offset[which],
	    t->header.snapshot_size);
	/* Pairs with the full barrier of the writer: had it begun, we see it. */
	AO_nop_full();
	return AO_load(sequence) == before;
}

static enum target_result take(struct target *t)
{
	struct timespec pause = { 0, 100000 };
	size_t bytes = t->header.snapshot_size;
	struct snapshot *s = malloc(bytes);
	uint64_t deadline = deadline_of(COPY_MS);

	if (!s)
		return TARGET_FAILED;
	do {
		unsigned which = AO_int_load_acquire(&t->segment->current) & 1;
		if (copy(t, which, s) || copy(t, !which, s)) {
			if (!check_snapshot(s, bytes))
				break;
			put_snapshot(t, s, snapshot_size(s->arena_rows));
			return TARGET_OK;
		}
		nanosleep(&pause, NULL);
	} while (collect_now_ns() < deadline);
	free(s);
	return TARGET_DAMAGED;
}

static bool is_young(const struct target *t)
{
	unsigned which = AO_int_load_acquire(&t->segment->current) & 1;
	const struct snapshot *s = (const struct snapshot *)
	    ((char *)t->segment + t->header.snapshot_offset[which]);
	uint64_t taken = *(const volatile uint64_t *)&s->taken_ns, now = collect_now_ns();

	return taken <= now && now - taken < FRESH_NS;
}

static enum target_result look_at_memory(struct target *t)
{
	struct snapshot *s;
	size_t bytes;
	enum target_result result = memory_look(t->pid, t->anchor, (long)inner_pid(t->pid),
	    &s, &bytes);

	if (target_is_gone(t))
		result = TARGET_NO_PROCESS;
	if (result == TARGET_OK && !check_snapshot(s, bytes))
		result = TARGET_DAMAGED;
	if (result != TARGET_OK) {
		free(s);
		return result;
	}
	put_snapshot(t, s, bytes);
	t->is_fresh = true;
	return TARGET_OK;
}

enum target_result target_refresh(struct target *t, int wait_ms)
{
	char reply[SEGMENT_REPLY + 1];
	size_t length;
	int error = 0;

	/* It may have come to a segment since. */
	if (!t->segment && find_segment(t) != TARGET_OK)
		return look_at_memory(t);
	if (*(volatile uint32_t *)&t->segment->is_replaced) {
		enum target_result result = follow(t);
		if (result != TARGET_OK)
			return result;
	}
	if (!is_young(t))
		error = target_ask(t, MAILBOX_REFRESH, "", "", reply, &length, wait_ms);
	if (error == ESRCH || target_is_gone(t))
		return TARGET_NO_PROCESS;
	if (!t->segment)
		return look_at_memory(t);
	enum target_result result = take(t);
	/* Who may only read sees at least whether the process keeps it up. */
	t->is_fresh = result == TARGET_OK && !target_is_stopped(t) && (error == 0 ||
	    (error == EACCES && target_age_ns(t) < 20 * (uint64_t)FRESH_NS));
	return result;
}

/* ---- Finding processes ---- */

/* name: with a slash an executable's path. */
static bool is_named(pid_t pid, const char *name)
{
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (proc_read(path, text, sizeof(text))) {
		text[strcspn(text, "\n")] = '\0';
		/* The kernel keeps 15 bytes. */
		if (strcmp(text, name) == 0 ||
		    (strlen(text) == 15 && strncmp(text, name, 15) == 0))
			return true;
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", proc_task(pid));
	ssize_t n = readlink(path, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* "file (deleted)" after an upgrade. */
	char *deleted = strstr(text, " (deleted)");
	if (deleted)
		*deleted = '\0';
	const char *slash = strchr(name, '/') ? NULL : strrchr(text, '/');
	return strcmp(slash ? slash + 1 : text, name) == 0;
}

static bool found_one(const char *path, void *context)
{
	(void)path;
	(void)context;
	return true;
}

static bool is_on_hakmem(pid_t pid, bool bare)
{
	enum target_result result = visit_segments(pid, found_one, NULL);

	return result == TARGET_OK ||
	    (result == TARGET_NOT_HAKMEM && bare && memory_find(pid, &result));
}

static pid_t number_of(const char *name)
{
	long n;

	if (!proc_is_number(name) || strlen(name) > 9)
		return 0;
	n = strtol(name, NULL, 10);
	return n > 0 ? (pid_t)n : 0;
}

int target_find(const char *name, bool bare, pid_t *pids, int max)
{
	pid_t number = name ? number_of(name) : 0, first = 0;
	int found = 0;
	char real[PATH_MAX];

	/* As /proc has it: /bin may be a link. Of a file that is gone its old path will do. */
	if (name && strchr(name, '/') && realpath(name, real))
		name = real;
	if (number && max > 0 && process_exists(number)) {
		pids[0] = number;
		return 1;
	}
	DIR *dir = opendir("/proc");
	if (!dir)
		return -1;
	for (struct dirent *e; found < max && (e = readdir(dir));) {
		pid_t pid = number_of(e->d_name);
		if (!pid || pid == getpid() || (name && !is_named(pid, name)))
			continue;
		if (is_on_hakmem(pid, bare))
			pids[found++] = pid;
		else if (name && !first && !proc_has_ended(proc_task(pid)))
			first = pid;
	}
	closedir(dir);
	if (name && found == 0 && first && max > 0)
		pids[found++] = first;
	return found;
}
