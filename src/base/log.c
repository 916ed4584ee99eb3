#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hakmem/hakmem.h"

void (*hak_malloc_message)(void *, const char *);

void log_text(const char *text, size_t length)
{
	int saved = errno;
	void (*message)(void *, const char *) = hak_malloc_message;

	if (!message && &jemalloc_names)
		message = *jemalloc_names.message;
	if (message) {
		message(NULL, text);
		errno = saved;
		return;
	}
	/* Not write() and its kin: those are cancellation points. */
	long n = syscall(SYS_write, STDERR_FILENO, text, length);

	if (n < 0 && errno == EBADF) {
		/* The background thread, which has a file table of its own. */
		long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd/2",
		    O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0) {
			syscall(SYS_write, fd, text, length);
			syscall(SYS_close, fd);
		}
	}
	errno = saved;
}

static void log_args(const char *format, va_list args)
{
	char line[512] = "hakmem: ";
	const size_t prefix = sizeof("hakmem: ") - 1;
	int saved = errno;
	int n = vsnprintf(line + prefix, sizeof(line) - prefix - 2, format, args);
	size_t length = prefix;

	if (n > 0)
		length += (size_t)n < sizeof(line) - prefix - 2 ?
		    (size_t)n : sizeof(line) - prefix - 3;
	line[length++] = '\n';
	line[length] = '\0';
	log_text(line, length);
	errno = saved;
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_args(format, args);
	va_end(args);
}

void log_fatal(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_args(format, args);
	va_end(args);
	abort();
}
