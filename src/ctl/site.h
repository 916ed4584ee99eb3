/*
 * Site rules: what a calling object (library or program) allocates goes to the
 * arena of a name, by PATTERN=NAME; PATTERN is a shell pattern (fnmatch(3)) for the
 * object's file name without folders, or for its whole path where it has a slash.
 * The first rule that matches wins.
 *
 * A caller's rule is found by its return address in a cache, and, where that does
 * not know it, through _dl_find_object (glibc 2.35), which takes no lock. Rules that
 * change, and objects that come and go, make all that is cached void.
 */
#ifndef HAK_CTL_SITE_H
#define HAK_CTL_SITE_H

#include "arena/arena.h"

#define SITE_RULES_MAX 256u
#define SITE_RULE_TEXT 192u

/* Any rule at all? The only thing that costs where there is none. */
extern AO_t site_rules;

/* 0; EINVAL: no PATTERN=NAME, or too long; ENOSPC: SITE_RULES_MAX are there; ENOMEM. */
int site_add(const char *rule);
/* ENOENT: no rule has that pattern. Its arena stays. */
int site_remove(const char *pattern);
unsigned site_count(void);
/* Rule i as text, into SITE_RULE_TEXT bytes, and its arena; false: no such rule. */
bool site_rule(unsigned i, char *text, struct arena **arena);

/* The arena for what is allocated from that return address; NULL: no rule. */
struct arena *site_find(const void *return_address);
/* For an explicit site: the arena of that name, made if need be; NULL: no memory. */
struct arena *site_named(const char *name);

extern struct lock site_lock; /* first in the order; for fork */

#endif
