#include "hakctl/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool proc_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	text[0] = '\0';
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool proc_read_at(int mem, void *to, uint64_t from, size_t size)
{
	return pread(mem, to, size, (off_t)from) == (ssize_t)size;
}

bool proc_is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

char proc_state(pid_t tid)
{
	char path[64], text[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (!proc_read(path, text, sizeof(text)))
		return '?';
	/* After the command, which may hold anything. */
	const char *end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] ? end[2] : '?';
}

bool proc_has_ended(pid_t tid)
{
	return strchr("ZX?", proc_state(tid)) != NULL;
}

uint64_t proc_rss(pid_t tid)
{
	char path[64], text[128];
	uint64_t pages = 0;

	snprintf(path, sizeof(path), "/proc/%d/statm", tid);
	if (!proc_read(path, text, sizeof(text)) || sscanf(text, "%*s %" SCNu64, &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

pid_t proc_task(pid_t pid)
{
	char path[64];
	pid_t task = pid;

	if (!proc_has_ended(pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && task == pid && (e = readdir(dir));)
		if (proc_is_number(e->d_name) && !proc_has_ended((pid_t)atol(e->d_name)))
			task = (pid_t)atol(e->d_name);
	if (dir)
		closedir(dir);
	return task;
}
