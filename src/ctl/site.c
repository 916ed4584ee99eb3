#define _GNU_SOURCE
#include "ctl/site.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "page/page_map.h"
#include "tcache/tcache.h"

AO_t site_rules;
struct lock site_lock = LOCK_INITIALIZER;

struct rule {
	char pattern[SITE_RULE_TEXT - ARENA_NAME - 1];
	struct arena *arena;
};

/* Guarded by site_lock; the first site_rules are in use. */
static struct rule rules[SITE_RULES_MAX];

_Static_assert(ARENAS_LIMIT < 1u << (SITE_KIND_BITS - SITE_GENERATION_BITS),
    "an entry holds any arena");

AO_t site_entries[1u << LG_SITE_ENTRIES];
AO_t site_generation;

#if __GLIBC_PREREQ(2, 35)

/* The object of an address: its name, where it starts. No lock. */
static bool object_at(const void *address, const char **name, uintptr_t *start)
{
	struct dl_find_object found;

	if (_dl_find_object((void *)(uintptr_t)address, &found) != 0)
		return false;
	*name = found.dlfo_link_map ? found.dlfo_link_map->l_name : "";
	*start = (uintptr_t)found.dlfo_map_start;
	return true;
}
#define SITES_SUPPORTED 1

#else

static bool object_at(const void *address, const char **name, uintptr_t *start)
{
	(void)address, (void)name, (void)start;
	return false;
}
#define SITES_SUPPORTED 0

#endif

/* Of the program itself, which the dynamic linker leaves without a name. */
static const char *program_path(void)
{
	extern char *program_invocation_name;

	return program_invocation_name;
}

/* Does c fit the pattern's first element: ?, [a-z], [!a-z], \c or c? *next is behind
 * it. */
static bool fits(const char *pattern, char c, const char **next)
{
	bool negate, found = false;

	if (*pattern == '[' && strchr(pattern + 2, ']')) {
		const char *p = pattern + 1;
		negate = *p == '!';
		p += negate;
		do {
			bool is_range = p[1] == '-' && p[2] != ']' && p[2];
			found |= is_range ? c >= p[0] && c <= p[2] : c == *p;
			p += is_range ? 3 : 1;
		} while (*p && *p != ']');
		*next = p + (*p == ']');
		return found != negate;
	}
	if (*pattern == '\\' && pattern[1])
		pattern++;
	else if (*pattern == '?')
		c = '?';
	*next = pattern + 1;
	return c == *pattern;
}

/* As fnmatch(3) without flags in the C locale; that one allocates in others, which
 * would ask for a site in the middle of finding one. */
static bool pattern_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *tried = NULL, *next;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			tried = text;
		} else if (*pattern && fits(pattern, *text, &next)) {
			pattern = next;
			text++;
		} else if (star) {
			/* The last star takes one more. */
			pattern = star;
			text = ++tried;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool rule_matches(const struct rule *rule, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!strchr(rule->pattern, '/') && slash)
		path = slash + 1;
	return pattern_matches(rule->pattern, path);
}

static struct arena *arena_of_object(const char *name)
{
	struct arena *arena = NULL;

	if (!*name)
		name = program_path();
	lock_acquire(&site_lock);
	for (size_t i = 0; i < flag_load(&site_rules) && !arena; i++)
		if (rule_matches(&rules[i], name))
			arena = rules[i].arena;
	lock_release(&site_lock);
	return arena;
}

/* Every dlopen allocates from within the dynamic linker before the new object's
 * code can run: then all entries are void, since an address may be another
 * object's than before. By its name, or by what lies in it, as it may have been started
 * under any name. */
static bool is_dynamic_linker(const char *name, uintptr_t start)
{
	extern struct r_debug _r_debug __attribute__((weak));
	const char *slash = strrchr(name, '/'), *its_name;
	uintptr_t its_start;

	return strncmp(slash ? slash + 1 : name, "ld-linux", 8) == 0 ||
	    (*name && object_at(&_r_debug, &its_name, &its_start) && its_start == start);
}

static void clear_entries(void)
{
	for (size_t i = 0; i < sizeof(site_entries) / sizeof(site_entries[0]); i++)
		AO_store(&site_entries[i], 0);
}

/* The generation counts within a few bits: where they start anew, what is left of
 * those that had the same must go. */
static void forget(void)
{
	size_t old = AO_fetch_and_add_full(&site_generation, 1);

	if ((old + 1) % (1u << SITE_GENERATION_BITS) == 0)
		clear_entries();
}

SLOW_PATH struct arena *site_find(const void *return_address)
{
	const char *name;
	uintptr_t start;
	size_t seen = AO_load_acquire(&site_generation);

	if (!object_at((const char *)return_address - 1, &name, &start))
		return NULL;
	struct arena *arena = arena_of_object(name);
	if (is_dynamic_linker(name, start))
		forget();
	else
		AO_store(site_entry(return_address), site_word(return_address, seen) |
		    (AO_t)(arena ? arena->id : 0) << SITE_GENERATION_BITS);
	return arena;
}

/* Holds site_lock. */
static void rules_changed(size_t count)
{
	flag_store(&site_rules, count);
	forget();
	clear_entries();
	tcaches_set_layers(SETTING_SITES, count ? SETTING_SITES : 0);
}

static size_t find_rule(const char *pattern)
{
	size_t i = 0;

	while (i < flag_load(&site_rules) && strcmp(rules[i].pattern, pattern) != 0)
		i++;
	return i;
}

struct arena *site_named(const char *name)
{
	return *name ? arena_create(name) : NULL;
}

int site_add(const char *text)
{
	const char *equals = strrchr(text, '=');
	struct rule rule = { .arena = NULL };
	char name[ARENA_NAME] = "";

	if (!SITES_SUPPORTED)
		return ENOTSUP;
	if (!equals || equals == text || !equals[1] ||
	    (size_t)(equals - text) >= sizeof(rule.pattern) ||
	    strlen(equals + 1) >= sizeof(name))
		return EINVAL;
	memcpy(rule.pattern, text, (size_t)(equals - text));
	memcpy(name, equals + 1, strlen(equals + 1));
	lock_acquire(&site_lock);
	size_t count = flag_load(&site_rules), i = find_rule(rule.pattern);
	int error = i == SITE_RULES_MAX ? ENOSPC : 0;
	if (!error && !(rule.arena = arena_create(name)))
		error = ENOMEM;
	if (!error) {
		if (i < count)
			counter_sub(&rules[i].arena->rules, 1);
		rules[i] = rule;
		counter_add(&rule.arena->rules, 1);
		rules_changed(i < count ? count : count + 1);
	}
	lock_release(&site_lock);
	return error;
}

int site_remove(const char *pattern)
{
	lock_acquire(&site_lock);
	size_t count = flag_load(&site_rules), i = find_rule(pattern);
	int error = i == count ? ENOENT : 0;
	if (!error) {
		counter_sub(&rules[i].arena->rules, 1);
		memmove(&rules[i], &rules[i + 1], (count - i - 1) * sizeof(rules[0]));
		rules_changed(count - 1);
	}
	lock_release(&site_lock);
	return error;
}

unsigned site_count(void)
{
	return (unsigned)flag_load(&site_rules);
}

bool site_rule(unsigned i, char *text, struct arena **arena)
{
	char name[ARENA_NAME];

	lock_acquire(&site_lock);
	bool found = i < flag_load(&site_rules);
	if (found) {
		*arena = rules[i].arena;
		arena_get_name(rules[i].arena, name);
		size_t length = strlen(rules[i].pattern);
		memcpy(text, rules[i].pattern, length);
		text[length] = '=';
		memcpy(text + length + 1, name, sizeof(name));
		text[SITE_RULE_TEXT - 1] = '\0';
	}
	lock_release(&site_lock);
	return found;
}
