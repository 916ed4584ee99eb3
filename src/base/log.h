/* Lines to stderr, without allocating; and the end of a program's misuse. */
#ifndef HAK_BASE_LOG_H
#define HAK_BASE_LOG_H

#include "config.h"

#include <stddef.h>

/* The variables that libhakmem-jemalloc.so has under jemalloc's names besides;
 * libhakmem has none: the address is NULL. */
struct jemalloc_names {
	const char **conf;
	void (**message)(void *, const char *);
};
extern const struct jemalloc_names jemalloc_names
    __attribute__((weak, visibility("hidden")));

/* Text as it is, to hak_malloc_message where the program set it, else to stderr.
 * text[length] is 0. */
void log_text(const char *text, size_t length);

/* "hakmem: ", the text, a newline: one write(2), cut at 512 bytes. */
void log_line(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* The line, then abort(). */
void log_fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn, cold));

/* The misuse that is seen in most places. */
static inline __attribute__((noreturn, cold)) void log_double_free(const void *p)
{
	log_fatal("free(%p): double free", p);
}

#if HAK_DEBUG
#define hak_assert(condition) \
	((condition) ? (void)0 : \
	    log_fatal("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))
#else
#define hak_assert(condition) ((void)sizeof(condition))
#endif

#endif
