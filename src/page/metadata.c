#include "page/metadata.h"

#include <string.h>

#include "base/size_class.h"
#include "page/os.h"

#define ALIGNMENT 32
/* Slabs' descriptors, of which there are many: two may share a cache line. All that
 * is smaller or larger has its own. */
#define DESCRIPTOR 96
/* Up to here a list for each multiple of ALIGNMENT, above for each power of
 * two: descriptors and pointer stacks come in few sizes. */
#define EXACT_MAX 4096
#define EXACT_LISTS (EXACT_MAX / ALIGNMENT)
#define LISTS (EXACT_LISTS + 64)
#define BLOCK (256 * KiB)
/* Enough for one thread and a small heap without a system call. */
#define FIRST_BLOCK (96 * KiB)

struct piece {
	struct piece *next;
};

struct lock metadata_lock = LOCK_INITIALIZER;

/* All guarded by metadata_lock. */
static struct piece *free_pieces[LISTS];
static char first_block[FIRST_BLOCK] __attribute__((aligned(4096)));
static char *bump = first_block, *bump_end = first_block + FIRST_BLOCK;
static AO_t mapped = FIRST_BLOCK;

static size_t rounded(size_t size)
{
	if (size > CACHE_LINE && size <= DESCRIPTOR)
		return DESCRIPTOR;
	return size <= EXACT_MAX ? round_up(size, CACHE_LINE) : (size_t)1 << lg_ceil(size);
}

static struct piece **list_of(size_t size)
{
	return &free_pieces[size <= EXACT_MAX ? size / ALIGNMENT - 1 :
	    EXACT_LISTS + lg_floor(size)];
}

static void *take_fresh(size_t size)
{
	char *p = size == DESCRIPTOR ? bump :
	    (char *)round_up((uintptr_t)bump, CACHE_LINE);

	if (p > bump_end || (size_t)(bump_end - p) < size) {
		size_t block = size > BLOCK / 4 ? round_up(size, 4096) : BLOCK;
		char *fresh = os_map(NULL, block);
		if (!fresh)
			return NULL;
		counter_add_owned(&mapped, block);
		if (block != BLOCK)
			return fresh;
		p = fresh;
		bump_end = fresh + block;
	}
	bump = p + size;
	return p;
}

void *metadata_alloc(size_t size)
{
	size = rounded(size);
	struct piece **list = list_of(size);

	lock_acquire(&metadata_lock);
	struct piece *piece = *list;
	void *p = piece;
	if (piece)
		*list = piece->next;
	else
		p = take_fresh(size);
	lock_release(&metadata_lock);
	if (piece)
		memset(p, 0, size);
	return p;
}

void metadata_free(void *p, size_t size)
{
	struct piece *piece = p;
	struct piece **list = list_of(rounded(size));

	lock_acquire(&metadata_lock);
	piece->next = *list;
	*list = piece;
	lock_release(&metadata_lock);
}

size_t metadata_bytes(void)
{
	return counter_get(&mapped);
}

size_t metadata_resident(void)
{
	lock_acquire(&metadata_lock);
	size_t unused = (size_t)(bump_end - bump);
	lock_release(&metadata_lock);
	return counter_get(&mapped) - unused;
}

const struct metadata_places metadata_places = { &mapped, &bump, &bump_end };
