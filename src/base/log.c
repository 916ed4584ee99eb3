#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void log_args(const char *format, va_list args)
{
	char line[512] = "hakmem: ";
	const size_t prefix = sizeof("hakmem: ") - 1;
	int saved = errno;
	int n = vsnprintf(line + prefix, sizeof(line) - prefix - 1, format, args);
	size_t length = prefix;

	if (n > 0)
		length += (size_t)n < sizeof(line) - prefix - 1 ?
		    (size_t)n : sizeof(line) - prefix - 2;
	line[length++] = '\n';
	/* Not write(): that is a cancellation point. */
	if (syscall(SYS_write, STDERR_FILENO, line, length) < 0) {
		/* Nobody left to tell. */
	}
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
