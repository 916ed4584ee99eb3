#include "arena/slab.h"

#include <string.h>

#include "base/log.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/page_heap.h"

_Static_assert(offsetof(struct slab, extent) == 0, "an extent is its slab");
_Static_assert(8 * GRANULE / PAGE <= 32, "purged has a bit for each page of a slab");

static unsigned words(unsigned slots)
{
	return (slots + 63) / 64;
}

static size_t slab_bytes(unsigned slots)
{
	return sizeof(struct slab) + words(slots) * sizeof(uint64_t);
}

static size_t first_offset(const struct slab *slab)
{
	return slab->colour * SLAB_COLOUR;
}

struct slab *slab_new(unsigned arena, size_t class, unsigned side, bool *zeroed)
{
	const struct size_class *k = &size_classes[class];
	struct slab *slab = metadata_alloc(slab_bytes(k->slots));

	if (!slab)
		return NULL;
	slab->extent.arena = (uint16_t)arena;
	slab->extent.class = (uint8_t)class;
	slab->extent.side = (uint8_t)side;
	slab->slots = slab->free = k->slots;
	memset(slab->free_slots, 0xff, words(k->slots) * sizeof(uint64_t));
	if (k->slots % 64)
		slab->free_slots[k->slots / 64] = ((uint64_t)1 << k->slots % 64) - 1;
	list_init(&slab->by_fullness);
	list_init(&slab->to_purge);
	if (page_heap_alloc(&slab->extent, k->granules, zeroed)) {
		slab_take_side(slab, 0);
		/* Fresh memory: no page of it was touched yet. */
		if (*zeroed && k->slots > 1)
			slab->purged = (uint32_t)(((uint64_t)1 <<
			    slab->extent.size / PAGE) - 1);
		return slab;
	}
	metadata_free(slab, slab_bytes(k->slots));
	return NULL;
}

void slab_take_side(struct slab *slab, unsigned side)
{
	uintptr_t granule = (uintptr_t)slab->extent.base >> LG_GRANULE;

	hak_assert(slab->free == slab->slots);
	slab->side = (uint8_t)side;
	slab->colour = side == ALIGNED_SIDE ? 0 :
	    (uint8_t)(granule % size_classes[slab->extent.class].colours);
}

void slab_delete(struct slab *slab)
{
	hak_assert(slab->free == slab->slots);
	list_remove(&slab->to_purge);
	page_heap_free(&slab->extent);
	metadata_free(slab, slab_bytes(slab->slots));
}

/* The slot's pages are about to be used. */
static void touch(struct slab *slab, size_t offset, size_t size)
{
	size_t first = offset / PAGE, last = (offset + size - 1) / PAGE;

	slab->purged &= ~(uint32_t)((((uint64_t)2 << last) - 1) &
	    ~(((uint64_t)1 << first) - 1));
}

/* So many slots of a word, from that one on. */
static unsigned take_run(struct slab *slab, unsigned word, unsigned slot, void **objects,
    unsigned n)
{
	size_t size = size_class_size(slab->extent.class);
	size_t offset = first_offset(slab) + (word * 64 + slot) * size;
	char *object = slab->extent.base + offset;

	for (unsigned i = 0; i < n; i++, object += size)
		objects[i] = object;
	slab->free_slots[word] &= ~(~(uint64_t)0 >> (64 - n) << slot);
	slab->free = (uint16_t)(slab->free - n);
	if (slab->purged)
		touch(slab, offset, n * size);
	return n;
}

/* Of those of a word that are in bits; returns how many. */
static unsigned take_bits(struct slab *slab, unsigned word, uint64_t bits,
    void **objects, unsigned n)
{
	size_t size = size_class_size(slab->extent.class);
	char *base = slab->extent.base, *first = base + first_offset(slab) + word * 64 * size;
	uint64_t left = bits;
	unsigned taken = 0;

	if (!bits)
		return 0;
	/* In a fresh slab they are side by side. */
	unsigned lowest = (unsigned)__builtin_ctzl(bits);
	uint64_t gaps = ~(bits >> lowest);
	unsigned run = gaps ? (unsigned)__builtin_ctzl(gaps) : 64;
	if (run >= n || lowest + run == 64 || bits >> lowest >> run == 0)
		return take_run(slab, word, lowest, objects, run < n ? run : n);
	while (left && taken < n) {
		objects[taken++] = first + (unsigned)__builtin_ctzl(left) * size;
		left &= left - 1;
	}
	slab->free_slots[word] &= ~(bits ^ left);
	slab->free = (uint16_t)(slab->free - taken);
	for (unsigned i = 0; unlikely(slab->purged != 0) && i < taken; i++)
		touch(slab, (size_t)((char *)objects[i] - base), size);
	return taken;
}

unsigned slab_take(struct slab *slab, void **objects, unsigned n)
{
	unsigned taken = 0;

	for (unsigned w = 0; taken < n && slab->free; w++)
		taken += take_bits(slab, w, slab->free_slots[w], objects + taken, n - taken);
	return taken;
}

/* Of aligned groups of that many bits, a power of two below 64, those that are all 1. */
static uint64_t whole_groups(uint64_t bits, unsigned group)
{
	uint64_t ones = ((uint64_t)1 << group) - 1;

	for (unsigned shift = 1; shift < group; shift *= 2)
		bits &= bits >> shift;
	return (bits & (~(uint64_t)0 / ones)) * ones;
}

unsigned slab_take_lines(struct slab *slab, void **objects, unsigned n)
{
	unsigned group = size_class_line_group(slab->extent.class), taken = 0;

	for (unsigned w = 0; taken < n && w < words(slab->slots); w++)
		taken += take_bits(slab, w, whole_groups(slab->free_slots[w], group),
		    objects + taken, n - taken);
	return taken;
}

/* The slab of an object about to come back; reports misuse and aborts. */
static struct slab *slab_of(const void *object)
{
	struct extent *extent = page_map_extent(object);

	if (unlikely(!extent || extent->class == CLASS_WHALE))
		misuse_of_free(object);
	return container_of(extent, struct slab, extent);
}

/* Take back those of n objects that lie in it, up to the first that does not; returns
 * how many. Neighbours often come back together. */
ALWAYS_INLINE unsigned give(struct slab *slab, size_t size, size_t reciprocal,
    void *const *objects, unsigned n)
{
	const char *base = slab->extent.base;
	size_t length = slab->extent.size, slots = slab->slots, first = first_offset(slab);
	unsigned i;

	for (i = 0; i < n; i++) {
		size_t offset = (size_t)((char *)objects[i] - base);
		if (offset >= length)
			break;
		offset -= first;
		size_t slot = offset * reciprocal >> 32;
		if (unlikely(slot * size != offset || slot >= slots))
			misuse_of_free(objects[i]);
		uint64_t bit = (uint64_t)1 << slot % 64;
		uint64_t *word = &slab->free_slots[slot / 64];
		if (unlikely(*word & bit))
			log_double_free(objects[i]);
		*word |= bit;
	}
	slab->free = (uint16_t)(slab->free + i);
	return i;
}

unsigned slabs_give(unsigned arena, size_t class, void *const *objects, unsigned n,
    struct slab **given, unsigned *ngiven)
{
	size_t size = size_class_size(class);
	/* As size_class_slot; what has one slot may be too large for that. */
	size_t reciprocal = class >= CLASS_L25 ? 0 : size_classes[class].reciprocal;
	unsigned i, known = 0;

	for (i = 0; i < n;) {
		struct slab *slab = slab_of(objects[i]);
		if (unlikely(slab->extent.arena != arena || slab->extent.class != class))
			misuse_of_free(objects[i]);
		if (!slab->is_given) {
			if (known == GIVEN_SLABS)
				break;
			slab->is_given = true;
			given[known++] = slab;
		}
		i += give(slab, size, reciprocal, objects + i, n - i);
	}
	for (unsigned k = 0; k < known; k++)
		given[k]->is_given = false;
	*ngiven = known;
	return i;
}

/* Does no live slot touch the page? */
static bool page_is_free(const struct slab *slab, unsigned page)
{
	size_t class = slab->extent.class, begin = page * PAGE, skip = first_offset(slab);
	unsigned first = begin < skip ? 0 : size_class_slot(class, begin - skip);
	unsigned last = size_class_slot(class, begin + PAGE - 1 - skip);

	if (first >= slab->slots)
		return true;
	return bits_all_set(slab->free_slots, first,
	    last < slab->slots ? last : slab->slots - 1u);
}

size_t slab_purge(struct slab *slab)
{
	unsigned pages = (unsigned)(slab->extent.size / PAGE);
	size_t total = 0;

	for (unsigned page = 0; page < pages; page++) {
		unsigned end = page;
		while (end < pages && !(slab->purged >> end & 1) &&
		    page_is_free(slab, end))
			slab->purged |= 1u << end++;
		if (end == page)
			continue;
		os_purge(slab->extent.base + page * PAGE, (end - page) * PAGE);
		total += (end - page) * PAGE;
		page = end;
	}
	return total;
}

void misuse(const char *call, const void *p)
{
	struct extent *extent = page_map_find_around(p);

	if (page_map_was_ours(p) && !extent)
		log_fatal("%s(%p): %s", call, p,
		    strcmp(call, "free") == 0 ? "double free" : "freed before");
	if (!extent)
		/* Its own functions, as mallocx, go on giving out memory. */
		log_fatal("%s(%p): not a hakmem pointer%s", call, p, os_has_library("/libjemalloc.so") ?
		    " (libjemalloc.so is there, too: preload libhakmem-jemalloc.so)" : "");
	const char *object = extent->base;
	size_t size = extent->size;
	if (extent->class != CLASS_WHALE) {
		size = size_class_size(extent->class);
		object += first_offset(container_of(extent, struct slab, extent));
		if ((const char *)p > object)
			object += (size_t)((const char *)p - object) / size * size;
	}
	log_fatal("%s(%p): not the start of an object (inside %p, %zu bytes)",
	    call, p, (const void *)object, size);
}
