/*
 * Site rules: what a calling object (library or program) allocates goes to the
 * arena of a name, by PATTERN=NAME; PATTERN is a shell pattern (*, ?, [a-z]) for the
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

/*
 * What return addresses led to, in a word each, so that reading needs no lock:
 *
 *     address | arena's id, 0: none | generation
 *
 * A word of another generation tells nothing: rules changed since, or an object
 * was loaded. Arena and generation take as many bits as a page map's entry, and
 * the arena lies where it lies there.
 */
#define SITE_GENERATION_BITS LG_CLASSES
#define SITE_KIND_BITS 16
#define LG_SITE_ENTRIES 12
#if defined(__x86_64__)
#define SITE_ADDRESS_SHIFT 0
#else
#define SITE_ADDRESS_SHIFT 2 /* instructions are aligned */
#endif
_Static_assert(ADDRESS_BITS - SITE_ADDRESS_SHIFT + SITE_KIND_BITS <= 64,
    "an entry fits a word");

extern AO_t site_entries[1u << LG_SITE_ENTRIES];
extern AO_t site_generation;

static inline AO_t *site_entry(const void *return_address)
{
	size_t hash = (size_t)return_address * 0x9e3779b97f4a7c15u;

	return &site_entries[hash >> (64 - LG_SITE_ENTRIES)];
}

/* The word of an address that leads to no arena. */
static inline AO_t site_word(const void *return_address, size_t generation)
{
	return (AO_t)return_address >> SITE_ADDRESS_SHIFT << SITE_KIND_BITS |
	    (generation & (((size_t)1 << SITE_GENERATION_BITS) - 1));
}

/* The tag (page_map_entry of the arena and class 0) that the address leads to; 0:
 * no rule. SITE_UNKNOWN: ask site_find. */
#define SITE_UNKNOWN (~(size_t)0)
ALWAYS_INLINE size_t site_cached(const void *return_address)
{
	AO_t word = AO_load(site_entry(return_address));
	size_t tag = (word ^ site_word(return_address, AO_load(&site_generation)));

	return likely(tag >> SITE_KIND_BITS == 0 &&
	    !(tag & (((size_t)1 << SITE_GENERATION_BITS) - 1))) ? tag : SITE_UNKNOWN;
}
/* For an explicit site: the arena of that name, made if need be; NULL: no memory. */
struct arena *site_named(const char *name);

extern struct lock site_lock; /* first in the order; for fork */

#endif
