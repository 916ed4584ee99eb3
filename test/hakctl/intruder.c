/*
 * Writes to another process's stats segment what no hakctl writes: numbers of rows that
 * are far too large, in both snapshots, all the while, and requests between them. The
 * process must go on: it reads nothing from there but its mailbox. Ends with 0 when the
 * process answers an honest request at the end.
 *
 *     intruder PID
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctl/segment.h"

#define REQUESTS 60
#define ANSWER_MS 5000

static char *memory;
static volatile bool stop;

static struct segment *segment(void)
{
	return (struct segment *)memory;
}

static struct mailbox *mailbox(void)
{
	return (struct mailbox *)(memory + segment()->mailbox_offset);
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int open_in(const char *folder)
{
	char path[600], link[64];
	DIR *dir = opendir(folder);
	int fd = -1;

	for (struct dirent *e; dir && fd < 0 && (e = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		ssize_t n = readlink(path, link, sizeof(link));
		if (n > 13 && memcmp(link, "/memfd:hakmem", 13) == 0)
			fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

/* The segment that the process has now: more arenas make it another. */
static bool map(const char *pid)
{
	char path[300];
	struct stat st;
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && fd < 0 && (e = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%s/task/%.20s/fd", pid, e->d_name);
		fd = open_in(path);
	}
	if (dir)
		closedir(dir);
	if (fd < 0 || fstat(fd, &st) != 0)
		return false;
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return memory != MAP_FAILED;
}

static void *hammer(void *unused)
{
	volatile struct snapshot *s[2];

	for (int i = 0; i < 2; i++)
		s[i] = (struct snapshot *)(memory + segment()->snapshot_offset[i]);
	for (unsigned n = 0; !stop; n++)
		for (int i = 0; i < 2; i++) {
			s[i]->arena_rows = n % 1000 ? 2000 : UINT32_MAX;
			s[i]->thread_rows = UINT32_MAX / 2;
		}
	return unused;
}

static void request(uint32_t command, uint64_t ticket, const char *value)
{
	struct mailbox *m = mailbox();

	strcpy(m->name, "site.add");
	strcpy(m->value, value);
	m->command = command;
	m->ticket = ticket;
	__atomic_store_n(&m->state, MAILBOX_REQUESTED, __ATOMIC_RELEASE);
	__atomic_fetch_add(&segment()->bell, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &segment()->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char rule[40];

	for (uint64_t i = 1; i <= REQUESTS; i++) {
		if (argc != 2 || !map(argv[1])) {
			printf("intruder: no segment at request %u\n", (unsigned)i);
			return 1;
		}
		stop = false;
		pthread_create(&thread, NULL, hammer, NULL);
		snprintf(rule, sizeof(rule), "no%u*=n%u", (unsigned)i, (unsigned)i);
		request(MAILBOX_SET, i, rule);
		pause_ms(15);
		stop = true;
		pthread_join(thread, NULL);
	}
	if (!map(argv[1]))
		return 1;
	request(MAILBOX_REFRESH, REQUESTS + 1, "");
	for (int ms = 0; ms < ANSWER_MS; ms += 10) {
		if (*(volatile uint64_t *)&mailbox()->answered == REQUESTS + 1)
			return 0;
		pause_ms(10);
	}
	printf("intruder: no answer\n");
	return 1;
}
