#define _GNU_SOURCE
#include "ctl/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "base/size_class.h"
#include "ctl/site.h"
#include "ctl/table.h"
#include "hakmem/hakmem.h"

#define CONF_FILE "/etc/hakmem.conf"
#define FILE_MAX 4096

/* A program's own definition comes before this one. */
__attribute__((weak)) const char *hak_malloc_conf;

enum type { BOOL, MILLISECONDS, ARENAS, SIZE, ONE, THP, JUNK, LETTERS, FREE, SITE };

struct item {
	const char *name;
	enum type type;
	size_t offset;
};

#define ITEM(name, type) { #name, type, offsetof(struct options, name) }

static const struct item items[] = {
	ITEM(abort_conf, BOOL),
	ITEM(background_thread, BOOL),
	ITEM(confirm_conf, BOOL),
	ITEM(dirty_decay_ms, MILLISECONDS),
	ITEM(junk, JUNK),
	ITEM(limit_soft_bytes, SIZE),
	ITEM(max_background_threads, ONE),
	ITEM(muzzy_decay_ms, MILLISECONDS),
	ITEM(narenas, ARENAS),
	ITEM(pressure, BOOL),
	{ "site", SITE, 0 },
	ITEM(stats_print, BOOL),
	ITEM(stats_print_opts, LETTERS),
	ITEM(tcache, BOOL),
	ITEM(tcache_max, SIZE),
	ITEM(thp, THP),
	ITEM(tls_l2, BOOL),
	ITEM(tls_l25, BOOL),
	ITEM(tls_tiny, BOOL),
	ITEM(whale, BOOL),
	ITEM(whale_max_bytes, SIZE),
	ITEM(xmalloc, BOOL),
	ITEM(zero, BOOL),
	{ "zero_realloc", FREE, 0 },
};

/* A piece of the text: not terminated. */
struct span {
	const char *start;
	size_t length;
};

/* What is read from CONF_FILE; kept for conf_sites. */
static char file_text[FILE_MAX + 1];

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

/* What a value is to be, for who wrote another. */
static const char *const takes[] = {
	[BOOL] = "true or false", [MILLISECONDS] = "-1 to 86400000", [ARENAS] = "1 to 256",
	[SIZE] = "bytes, as 4096, 64K or 2GiB", [ONE] = "1",
	[THP] = "default, always or never", [JUNK] = "true, alloc, free or false",
	[LETTERS] = "letters of Jgmdablxe", [FREE] = "free",
};
_Static_assert(NARENAS_MAX == 256, "as takes says");

static bool parse_number(struct span value, long low, long high, long *out)
{
	char text[24], *end;
	int saved = errno;

	if (value.length == 0 || value.length >= sizeof(text))
		return false;
	memcpy(text, value.start, value.length);
	text[value.length] = '\0';
	errno = 0;
	*out = strtol(text, &end, ctl_number_base(text));
	bool good = errno == 0 && *end == '\0' && strchr("-0123456789", text[0]) &&
	    *out >= low && *out <= high;
	errno = saved;
	return good;
}

/* Which of n names the value is; n: none. */
static int parse_name(struct span value, const char *const *names, int n)
{
	int i = 0;

	while (i < n && !span_is(value, names[i]))
		i++;
	return i;
}

static bool parse_thp(struct span value, void *out)
{
	static const char *const names[] = { "default", "always", "never" };
	int i = parse_name(value, names, 3);

	if (i < 3)
		*(enum thp_mode *)out = (enum thp_mode)i;
	return i < 3;
}

static bool parse_junk(struct span value, void *out)
{
	static const char *const names[] = { "false", "alloc", "free", "true" };
	int i = parse_name(value, names, 4);

	if (i < 4)
		*(enum junk_mode *)out = (enum junk_mode)i;
	return i < 4;
}

static bool parse_letters(struct span value, void *out)
{
	if (value.length >= sizeof(options.stats_print_opts))
		return false;
	for (size_t i = 0; i < value.length; i++)
		if (!strchr("Jgmdablxe", value.start[i]))
			return false;
	memcpy(out, value.start, value.length);
	((char *)out)[value.length] = '\0';
	return true;
}

/* As parse_number, of bytes, which may have a unit. */
static bool parse_size(struct span value, size_t *out)
{
	unsigned shift = ctl_cut_unit(value.start, &value.length);
	long number;

	if (!parse_number(value, 0, PTRDIFF_MAX >> shift, &number))
		return false;
	*out = (size_t)number << shift;
	return true;
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
	case JUNK:
		return parse_junk(value, out);
	case LETTERS:
		return parse_letters(value, out);
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
	case SIZE:
		return parse_size(value, (size_t *)out);
	case ONE:
		return parse_number(value, 1, 1, &number);
	case FREE:
		return span_is(value, "free");
	case SITE:
		return true; /* conf_sites */
	}
	return false;
}

static bool apply_site(const char *source, struct span value)
{
	char rule[SITE_RULE_TEXT];

	if (value.length < sizeof(rule)) {
		memcpy(rule, value.start, value.length);
		rule[value.length] = '\0';
		int error = site_add(rule);
		if (!error)
			return true;
		if (error == ENOSPC)
			log_line("%s: more than %u site rules: '%s' is left out",
			    source, SITE_RULES_MAX, rule);
		if (error == ENOTSUP)
			log_line("%s: site rules need glibc 2.35", source);
		if (error != EINVAL)
			return false;
	}
	log_line("%s: bad value '%.*s' for 'site'", source, (int)value.length,
	    value.start);
	return false;
}

/* A text is gone through for the options, for what of it confirm_conf tells, and, later,
 * for the site rules. What is wrong is told by the first. */
enum purpose { OPTIONS, CONFIRM, SITES };

static bool parse_item(const char *source, struct span text, enum purpose purpose)
{
	const char *colon = memchr(text.start, ':', text.length);

	if (!colon) {
		if (purpose == OPTIONS)
			log_line("%s: '%.*s' is not name:value", source,
			    (int)text.length, text.start);
		return purpose != OPTIONS;
	}
	struct span name = { text.start, (size_t)(colon - text.start) };
	struct span value = { colon + 1, text.length - name.length - 1 };
	if (purpose == SITES)
		return !span_is(name, "site") || apply_site(source, value);
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (!span_is(name, items[i].name))
			continue;
		bool good = apply(&items[i], value);
		if (good && purpose == CONFIRM)
			log_line("%s: '%.*s'", source, (int)text.length, text.start);
		if (good || purpose == CONFIRM)
			return true;
		log_line("%s: bad value '%.*s' for '%s', which takes %s", source,
		    (int)value.length, value.start, items[i].name, takes[items[i].type]);
		return false;
	}
	if (purpose == OPTIONS)
		log_line("%s: unknown option '%.*s'", source, (int)name.length, name.start);
	return purpose == CONFIRM;
}

/* Items end at commas; in a file also at line ends, and # starts a comment. */
static bool parse(const char *source, const char *text, enum purpose purpose)
{
	bool good = true, is_file = strcmp(source, CONF_FILE) == 0;

	while (text && *text) {
		if (is_file)
			text += strspn(text, " \t");
		struct span item = { text, strcspn(text, ",\n") };
		if (*text == '#')
			item.length = strcspn(text, "\n");
		else if (item.length)
			good &= parse_item(source, item, purpose);
		text += item.length;
		text += *text != '\0';
	}
	return good;
}

bool conf_parse(const char *source, const char *text)
{
	return parse(source, text, OPTIONS);
}

/* System calls of our own: libc's are cancellation points. */
static void read_file(void)
{
	long n = syscall(SYS_readlinkat, AT_FDCWD, CONF_FILE, file_text, FILE_MAX);

	if (n < 0 && errno == EINVAL) {
		/* Whatever it is: a FIFO has nobody who writes. */
		long fd = syscall(SYS_openat, AT_FDCWD, CONF_FILE,
		    O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		n = fd < 0 ? -1 : syscall(SYS_read, fd, file_text, FILE_MAX);
		if (fd >= 0)
			syscall(SYS_close, fd);
	}
	file_text[n > 0 ? n : 0] = '\0';
	if (n < FILE_MAX)
		return;
	log_line("%s: longer than %d bytes: the rest is left out", CONF_FILE, FILE_MAX - 1);
	/* The last item may go on. */
	while (n > 0 && !strchr(",\n", file_text[n - 1]))
		n--;
	file_text[n] = '\0';
}

#define SOURCES 6
static struct source {
	const char *name, *text;
} sources[SOURCES];

static void find_sources(void)
{
	bool is_secure = getauxval(AT_SECURE) != 0;
	bool is_jemalloc = &jemalloc_names != NULL;

	if (!is_secure)
		read_file();
	sources[0] = (struct source) { "--with-hakmem-conf", HAK_BUILT_IN_CONF };
	sources[1] = (struct source) { "hak_malloc_conf", hak_malloc_conf };
	sources[2] = (struct source) { "malloc_conf", is_jemalloc ? *jemalloc_names.conf : NULL };
	sources[3] = (struct source) { CONF_FILE, file_text };
	sources[4] = (struct source) { "MALLOC_CONF",
		is_jemalloc ? secure_getenv("MALLOC_CONF") : NULL };
	sources[5] = (struct source) { "HAKMEM_CONF", secure_getenv("HAKMEM_CONF") };
}

void conf_init(void)
{
	bool good = true;

	find_sources();
	for (int i = 0; i < SOURCES; i++)
		good &= conf_parse(sources[i].name, sources[i].text);
	for (int i = 0; i < SOURCES && options.confirm_conf; i++)
		parse(sources[i].name, sources[i].text, CONFIRM);
	if (!good && options.abort_conf)
		abort();
}

void conf_sites(void)
{
	bool good = true;

	for (int i = 0; i < SOURCES; i++)
		if (sources[i].text && strstr(sources[i].text, "site:"))
			good &= parse(sources[i].name, sources[i].text, SITES);
	if (!good && options.abort_conf)
		abort();
}
