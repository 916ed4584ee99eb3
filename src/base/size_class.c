#include "base/size_class.h"

#include "base/log.h"

_Static_assert(CLASS_WHALE < CLASSES, "each class has a number");
_Static_assert(CLASSES == 1u << LG_CLASSES, "a class number fits its bits");

struct size_class size_classes[CLASSES];
uint8_t size_class_tiny[TINY_MAX + 1];
uint8_t size_class_l2[L2_MAX / L2_STEP], size_class_l25[L25_MAX / GRANULE];

/* A slab is as short as it can be: the fewer slots, the sooner all are free. Not for
 * sizes of which one granule has so many that it is hardly ever free anyway. */
#define MANY_SLOTS_MAX 128u
#define MANY_SLOTS_GRANULES 4u
#define SLAB_GRANULES_MAX 8u
#define SLAB_SLOTS_MIN 4u
/* A slab may leave so small a share of it over for being shorter. */
#define REST_SHARE 60u

static unsigned slab_granules(size_t size)
{
	unsigned best = (unsigned)((SLAB_SLOTS_MIN * size + GRANULE - 1) / GRANULE);

	if (size <= TINY_MAX)
		return size <= MANY_SLOTS_MAX ? MANY_SLOTS_GRANULES : 1;
	/* The first that leaves little over, or else the one that leaves the smallest share. */
	for (unsigned n = best; n <= SLAB_GRANULES_MAX; n++) {
		size_t length = n * GRANULE, rest = length % size;
		if (rest * REST_SHARE <= length)
			return n;
		if (rest * best < best * GRANULE % size * n)
			best = n;
	}
	return best;
}

/* Is there a class that many eighths above a power of two? Four a doubling. One more
 * above a KiB and 4 to 16 KiB, for a page and its header; in exchange none of 40 and
 * 56 KiB, which take as many granules as the next, nor of 640 KiB. */
static bool ends_class(size_t doubling, size_t eighths)
{
	if (doubling == L2_MAX)
		return eighths % 4 == 0;
	if (eighths == 1)
		return doubling == 1 * KiB || (doubling >= 4 * KiB && doubling < L2_MAX);
	return eighths % 2 == 0 && doubling + doubling / 8 * eighths != 640 * KiB;
}

/* Entry i is of sizes up to i + 1 steps; the classes begin with first. */
static void fill(uint8_t *classes, size_t entries, size_t step, size_t first)
{
	for (size_t i = 0, c = first; i < entries; i++) {
		c += size_classes[c].size < (i + 1) * step;
		classes[i] = (uint8_t)c;
	}
}

/* As many as bring the slots to each multiple of SLAB_COLOUR, for at most a slot. */
static void set_colours(struct size_class *k)
{
	size_t step = k->size & -(size_t)k->size;
	size_t rest = k->granules * GRANULE - (size_t)k->slots * k->size;

	k->colours = 1;
	if (k->size > TINY_MAX || step <= SLAB_COLOUR)
		return;
	if (rest < SLAB_COLOUR) {
		k->slots--;
		rest += k->size;
	}
	size_t places = rest / SLAB_COLOUR + 1;
	k->colours = (uint8_t)(places < step / SLAB_COLOUR ? places : step / SLAB_COLOUR);
}

void size_class_init(void)
{
	size_t c = 1;
	size_classes[c++].size = 8;
	for (size_t size = 16; size <= TINY_MAX; size += size < 128 ? 16 : ((size_t)1 << lg_floor(size)) / 4)
		size_classes[c++].size = (uint32_t)size;
	hak_assert(c == CLASS_L2);
	for (size_t doubling = TINY_MAX; doubling < L25_MAX; doubling *= 2)
		for (size_t eighths = 1; eighths <= 8; eighths++)
			if (ends_class(doubling, eighths))
				size_classes[c++].size = (uint32_t)(doubling + doubling / 8 * eighths);
	hak_assert(c == CLASS_WHALE);
	size_class_tiny[0] = 1;
	fill(size_class_tiny + 1, TINY_MAX, 1, 1);
	fill(size_class_l2, sizeof(size_class_l2), L2_STEP, CLASS_L2);
	fill(size_class_l25, sizeof(size_class_l25), GRANULE, CLASS_L25);
	for (c = 1; c < CLASS_WHALE; c++) {
		struct size_class *k = &size_classes[c];
		k->granules = (uint16_t)(c < CLASS_L25 ? slab_granules(k->size) :
		    round_up(k->size, GRANULE) / GRANULE);
		k->slots = (uint16_t)(c < CLASS_L25 ?
		    k->granules * GRANULE / k->size : 1);
		set_colours(k);
		k->reciprocal = (uint32_t)((((uint64_t)1 << 32) + k->size - 1) / k->size);
	}
}
