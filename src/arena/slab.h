/*
 * A slab: a run of granules cut into slots of one class. What is free is a
 * bitmap beside it, never in it: nothing of the allocator's lies in memory that
 * the program may write, free pages inside a slab can be given back, and an
 * object that comes back twice, or was none, is seen.
 *
 * The lock of the slab's bin guards everything but extent, which does not
 * change while the slab lives, but for its side where it is taken empty, under the lock,
 * and where the program resizes an L2.5 object: a slab of one slot, so that it is the
 * owner's.
 */
#ifndef HAK_ARENA_SLAB_H
#define HAK_ARENA_SLAB_H

#include "base/list.h"
#include "page/page_map.h"

#define SLAB_BUCKETS 8u
#define SLAB_SIDES 2u
#define ALIGNED_SIDE SLAB_SIDES
#define GIVEN_SLABS 64u

struct slab {
	struct extent extent;     /* first: the extent map points here */
	struct link by_fullness;  /* in one of the bin's buckets, or in none */
	struct link to_purge;     /* in the bin's queue, or not queued */
	uint32_t freed_ms;        /* when a slot last came back */
	uint32_t purged;          /* a bit a page: without memory, not used since */
	uint16_t slots, free;
	uint8_t bucket, side;     /* of the bin's; ALIGNED_SIDE: without a colour */
	uint8_t colour;           /* the first slot's place, in SLAB_COLOURs */
	bool is_given;            /* slabs_give has it in its list */
	uint64_t free_slots[];    /* a bit a slot */
};

/* side: the extent's. NULL: no memory. *zeroed as of page_heap_alloc. */
struct slab *slab_new(unsigned arena, size_t class, unsigned side, bool *zeroed);
/* It is that side's from now on. All slots must be free, in both. */
void slab_take_side(struct slab *slab, unsigned side);
void slab_delete(struct slab *slab);

/* Take up to n slots, lowest address first; returns how many. */
unsigned slab_take(struct slab *slab, void **objects, unsigned n);
/* The same, of slots that share cache lines with no other live slot. n: a multiple
 * of size_class_line_group. */
unsigned slab_take_lines(struct slab *slab, void **objects, unsigned n);
/* Take back the first of n objects, of any slabs of that class: as many as lie in GIVEN_SLABS
 * of them. Returns how many, and which slabs. Reports misuse and aborts. */
unsigned slabs_give(unsigned arena, size_t class, void *const *objects, unsigned n,
    struct slab **given, unsigned *ngiven);

/* Give back the pages that hold no live slot. Returns bytes. */
size_t slab_purge(struct slab *slab);

/* Bytes of its pages that are known to have no memory. */
static inline size_t slab_purged_bytes(const struct slab *slab)
{
	return (size_t)__builtin_popcount(slab->purged) * PAGE;
}

/* One line that says what is wrong with p as the argument of that function, then abort(). */
void misuse(const char *call, const void *p) __attribute__((noreturn, cold));
static inline __attribute__((noreturn, cold)) void misuse_of_free(const void *p)
{
	misuse("free", p);
}

#endif
