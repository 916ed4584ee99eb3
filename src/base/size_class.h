/*
 * Size classes: 8; steps of 16 to 128; then four a doubling to 1 MiB, one more just
 * above 1, 4, 8 and 16 KiB, and fewer elsewhere (size_class.c).
 *
 *   class  0       none: what the page map says of foreign memory
 *          1..21   Tiny, to 1 KiB      slabs of 16 or 64 KiB
 *         22..45   L2,   to 32 KiB     slabs of 16 to 128 KiB
 *         46..62   L2.5, to 1 MiB      an extent for each object
 *         63       Whale               a mapping for each object
 */
#ifndef HAK_BASE_SIZE_CLASS_H
#define HAK_BASE_SIZE_CLASS_H

#include "base/bits.h"

#define LG_PAGE 12
#define PAGE ((size_t)1 << LG_PAGE)
#define CACHE_LINE ((size_t)64)
/* What the page map tells apart; slabs and extents are runs of granules. */
#define LG_GRANULE 14
#define GRANULE ((size_t)1 << LG_GRANULE)

#define TINY_MAX ((size_t)1024)
#define L2_MAX (32 * KiB)
#define L25_MAX (1 * MiB)
#define SIZE_MAX_ALLOWED ((size_t)PTRDIFF_MAX)

#define LG_CLASSES 6
#define CLASSES 64u  /* entries of a per-class table */
#define CLASS_NONE 0u
#define CLASS_L2 22u   /* the first of each range */
#define CLASS_L25 46u
#define CLASS_WHALE 63u

#define SLAB_SLOTS_MAX 8192u

/* Where the first slot of a Tiny slab lies: so many bytes or a small multiple of them
 * from its start, by turns (struct size_class). Objects of that alignment keep it; what is
 * to have more is not of Tiny. */
#define SLAB_COLOUR ((size_t)128)

enum layer { LAYER_TINY, LAYER_L2, LAYER_L25, LAYER_WHALE, LAYERS };

struct size_class {
	uint32_t size;
	uint32_t reciprocal; /* ceil(2^32 / size): slot of an offset */
	uint16_t slots;      /* in a slab; 1 from CLASS_L25 on */
	uint16_t granules;   /* of a slab or extent */
	/* Of the places where its first slot may lie. Else all objects of 512 bytes would
	 * have their first line, and any other that is used much, in an eighth of the sets of
	 * each of the processor's caches. */
	uint8_t colours;
};

extern struct size_class size_classes[CLASSES];
/* Class of a size up to TINY_MAX. */
extern uint8_t size_class_tiny[TINY_MAX + 1];
/* Above: by (size - 1) / L2_STEP up to L2_MAX, and by (size - 1) / GRANULE. */
#define L2_STEP ((size_t)128)
extern uint8_t size_class_l2[L2_MAX / L2_STEP], size_class_l25[L25_MAX / GRANULE];

/* Fills the tables; to be called once before all else. */
void size_class_init(void);

/* TINY_MAX < size <= L25_MAX */
ALWAYS_INLINE size_t size_class_above_tiny(size_t size)
{
	return size <= L2_MAX ? size_class_l2[(size - 1) / L2_STEP] :
	    size_class_l25[(size - 1) / GRANULE];
}

/* size <= L25_MAX */
static inline size_t size_class_of(size_t size)
{
	return size <= TINY_MAX ? size_class_tiny[size] :
	    size_class_above_tiny(size);
}

static inline size_t size_class_size(size_t class)
{
	return size_classes[class].size;
}

static inline enum layer size_class_layer(size_t class)
{
	return class < CLASS_L2 ? LAYER_TINY : class < CLASS_L25 ? LAYER_L2 :
	    class < CLASS_WHALE ? LAYER_L25 : LAYER_WHALE;
}

/* So many slots, a power of two, from a multiple of it are whole cache lines. */
static inline unsigned size_class_line_group(size_t class)
{
	size_t size = size_class_size(class);

	/* size / 64 in lowest terms has the denominator. */
	return (unsigned)(CACHE_LINE / ((size & -size) < CACHE_LINE ? size & -size : CACHE_LINE));
}

/* Slot of the byte at offset from a slab's first slot; exact below 128 KiB. */
static inline unsigned size_class_slot(size_t class, size_t offset)
{
	return (unsigned)(offset * size_classes[class].reciprocal >> 32);
}

#endif
