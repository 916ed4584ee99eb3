/*
 * From an address to what it is. Two maps, by granule:
 *
 *   the page map     16 bits: arena << 6 | class of the object that starts
 *                    here, or of the slab that the granule belongs to; 0 for
 *                    all that is not the allocator's. The fast path of free
 *                    reads it and nothing else.
 *   the extent map   64 bits: the descriptor (struct extent); for the slow
 *                    paths.
 *
 * The page map is reserved read-only, unbacked, and made writable piece by piece.
 * It covers the lowest part of the address space alone, where hakmem asks the
 * system for its memory (page_map_place), so that it takes little of a limit on
 * address space and of what mlockall(2) goes through. What the system maps
 * elsewhere all the same is in a second map, high, made when it is first needed,
 * that the fast path does not know.
 * Where address space is limited from the start, or that part of it is taken, the
 * map is a window over the part that mmap hands out, page_map.limit is 0 (so that
 * the fast path, which compares with it, leaves everything to the slow one) and
 * page_map_get checks the range.
 *
 * Entries of live memory do not change, but by who resizes an object of its own; a reader
 * that holds a live object needs no order. Writers hold the lock of the page heap or of the whales.
 */
#ifndef HAK_PAGE_PAGE_MAP_H
#define HAK_PAGE_PAGE_MAP_H

#include "base/atomic.h"
#include "base/lock.h"
#include "base/size_class.h"

#if defined(__aarch64__)
#define ADDRESS_BITS 48
#else
#define ADDRESS_BITS 47
#endif
#define LG_PAGE_MAP (ADDRESS_BITS - LG_GRANULE)

/* Threads are of so many sides, by the numbers of their caches. What one of a side had goes
 * to that side again where there is a choice: its lines are in the caches of that processor,
 * most likely, and from there to another they may take longer than from memory. */
#define SIDES 4u

/* A run of granules in use, or a whale. page/ fills all but what it says. */
struct extent {
	char *base;
	size_t size;         /* bytes */
	struct chunk *chunk; /* NULL: a whale */
	uint16_t arena;
	uint8_t class;
	uint8_t side;        /* below SIDES: of who took it; of a cached whale, who freed it */
};

struct page_map {
	uint16_t *map;    /* biased: map[address >> LG_GRANULE] */
	size_t limit;     /* of page_map_word: below it the fast path may look up */
	size_t first, end; /* granules that map has */
	AO_t high;        /* uint16_t *: of all granules, for those that map has not;
			   * published once */
};

/* An address for the fast path: in words, so that one that is not aligned as all objects
 * are lies beyond any limit. */
#define LG_WORD 3
ALWAYS_INLINE size_t page_map_word(const void *p)
{
	return rotate_right((uintptr_t)p, LG_WORD);
}
ALWAYS_INLINE bool page_map_is_aligned(const void *p)
{
	return (uintptr_t)p % ((size_t)1 << LG_WORD) == 0;
}
/* Of a word below the limit. */
ALWAYS_INLINE size_t page_map_granule(size_t word)
{
	return word >> (LG_GRANULE - LG_WORD);
}

extern struct page_map page_map;
extern struct lock page_map_lock; /* leaf; for fork */

/* False: no address space at all. */
bool page_map_init(void);
/* Give back the address space of those parts of the map that will hardly be needed: it
 * is limited now. They come back when they are, if their place is free still. */
void page_map_shrink(void);

unsigned page_map_get_high(size_t granule);

/* The entry of an address, any address. */
static inline unsigned page_map_get(const void *p)
{
	size_t granule = (uintptr_t)p >> LG_GRANULE;

	if (unlikely(granule < page_map.first || granule >= page_map.end))
		return page_map_get_high(granule);
	return AO_short_load(&page_map.map[granule]);
}

/* Where to ask the system for memory for slabs and extents, or for whales, when
 * nothing was mapped yet: below that. */
enum page_map_use { FOR_HEAP, FOR_WHALES };
void *page_map_place(enum page_map_use use);

/* Describe extent's granules: the entry and the descriptor. All of a slab, but the first
 * alone of what is one object (its class says so): no other address of it may come back.
 * False: no memory, nothing changed. */
bool page_map_set(struct extent *extent);
/* The granules are nobody's again. In the extent map stays owner (a chunk), so
 * that a later free of that address is known as a double free. */
void page_map_clear(const struct extent *extent);

/* The descriptor of an address in a slab, or of the start of a larger object; or NULL. The
 * caller must know that it does not go away: it holds a live object there or the lock of
 * what does. */
struct extent *page_map_extent(const void *p);
/* Was there an object of ours once? */
bool page_map_was_ours(const void *p);
/* The extent in use that an address lies in, or NULL: for the message of a
 * misuse, by a search downwards. */
struct extent *page_map_find_around(const void *p);

static inline unsigned page_map_entry(unsigned arena, size_t class)
{
	return arena << LG_CLASSES | (unsigned)class;
}

/* The page map becomes writable in pieces of this many bytes: 512 MiB of heap. The
 * extent map has a root by GiB, leaves by granule. */
#define PAGE_MAP_PIECE (64 * KiB)
#define PIECE_GRANULES (PAGE_MAP_PIECE / sizeof(uint16_t))
#define PIECES (((size_t)1 << LG_PAGE_MAP) / PIECE_GRANULES)
#define LG_LEAF (30 - LG_GRANULE)
#define LEAF_BYTES (sizeof(AO_t) << LG_LEAF)

/* Bytes of maps that were made writable. */
size_t page_map_bytes(void);
/* Of these, what has memory. */
size_t page_map_resident(void);
/* Where they are kept, for who reads this process's memory from outside. */
extern const struct page_map_places {
	const AO_t *leaf_bytes, *piece_bytes, *resident;
} page_map_places;

#endif
