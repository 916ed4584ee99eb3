#define _GNU_SOURCE
#include "ctl/conf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/options.h"

enum type { BOOL, MILLISECONDS, ARENAS, THP };

struct item {
	const char *name;
	enum type type;
	size_t offset;
};

#define ITEM(name, type) { #name, type, offsetof(struct options, name) }

static const struct item items[] = {
	ITEM(abort_conf, BOOL),
	ITEM(background_thread, BOOL),
	ITEM(dirty_decay_ms, MILLISECONDS),
	ITEM(junk, BOOL),
	ITEM(muzzy_decay_ms, MILLISECONDS),
	ITEM(narenas, ARENAS),
	ITEM(stats_print, BOOL),
	ITEM(thp, THP),
	ITEM(tls_l2, BOOL),
	ITEM(tls_l25, BOOL),
	ITEM(tls_tiny, BOOL),
	ITEM(whale, BOOL),
	ITEM(zero, BOOL),
};

/* A piece of the text: not terminated. */
struct span {
	const char *start;
	size_t length;
};

static bool span_is(struct span s, const char *text)
{
	return strlen(text) == s.length && memcmp(s.start, text, s.length) == 0;
}

static bool parse_bool(struct span value, void *out)
{
	if (!span_is(value, "true") && !span_is(value, "false"))
		return false;
	*(bool *)out = value.length == sizeof("true") - 1;
	return true;
}

static bool parse_number(struct span value, long low, long high, long *out)
{
	char text[24], *end;
	int saved = errno;

	if (value.length == 0 || value.length >= sizeof(text))
		return false;
	memcpy(text, value.start, value.length);
	text[value.length] = '\0';
	errno = 0;
	*out = strtol(text, &end, 0);
	bool good = errno == 0 && *end == '\0' && strchr("-0123456789", text[0]) &&
	    *out >= low && *out <= high;
	errno = saved;
	return good;
}

static bool parse_thp(struct span value, void *out)
{
	static const char *const names[] = { "default", "always", "never" };

	for (int i = 0; i < 3; i++)
		if (span_is(value, names[i])) {
			*(enum thp_mode *)out = (enum thp_mode)i;
			return true;
		}
	return false;
}

static bool apply(const struct item *item, struct span value)
{
	char *out = (char *)&options + item->offset;
	long number;

	switch (item->type) {
	case BOOL:
		return parse_bool(value, out);
	case THP:
		return parse_thp(value, out);
	case MILLISECONDS:
		/* A day: times are kept in 32 bits of milliseconds. */
		if (!parse_number(value, -1, 86400000, &number))
			return false;
		*(ssize_t *)out = number;
		return true;
	case ARENAS:
		if (!parse_number(value, 1, NARENAS_MAX, &number))
			return false;
		*(unsigned *)out = (unsigned)number;
		return true;
	}
	return false;
}

static bool parse_item(struct span text)
{
	const char *colon = memchr(text.start, ':', text.length);

	if (!colon) {
		log_line("HAKMEM_CONF: '%.*s' is not name:value",
		    (int)text.length, text.start);
		return false;
	}
	struct span name = { text.start, (size_t)(colon - text.start) };
	struct span value = { colon + 1, text.length - name.length - 1 };
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (!span_is(name, items[i].name))
			continue;
		if (apply(&items[i], value))
			return true;
		log_line("HAKMEM_CONF: bad value '%.*s' for '%s'",
		    (int)value.length, value.start, items[i].name);
		return false;
	}
	log_line("HAKMEM_CONF: unknown option '%.*s'",
	    (int)name.length, name.start);
	return false;
}

bool conf_parse(const char *text)
{
	bool good = true;

	while (text && *text) {
		struct span item = { text, strcspn(text, ",") };
		text += item.length;
		text += *text == ',';
		good &= parse_item(item);
	}
	return good;
}

void conf_init(void)
{
	bool good = conf_parse(secure_getenv("HAKMEM_CONF"));

	if (!good && options.abort_conf)
		abort();
}
