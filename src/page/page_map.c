#include "page/page_map.h"

#include "base/options.h"
#include "page/metadata.h"
#include "page/os.h"

_Static_assert(ARENAS_LIMIT < 1u << (16 - LG_CLASSES), "an entry holds any arena");

/* Of the address space below WINDOW_ABOVE the highest mapping, what a window covers: so
 * much, or where it is limited, twice what can be mapped, and gaps. */
#define WINDOW (64 * GiB)
#define WINDOW_ABOVE (4 * GiB)
#define WINDOW_GAPS (WINDOW_ABOVE + 4 * GiB)

/* What the map covers where it can, 256 MiB of it, and where in that memory is
 * asked for: clear of what small programs, Java (to 32 GiB) and Go (from 768 GiB)
 * like to have. A random distance apart, as the system's own choice would be. */
#define COVERED ((size_t)1 << 41)
#define HEAP_PLACE (512 * GiB)
#define WHALE_PLACE (1536 * GiB)
#define PLACE_RANDOM (128 * GiB)

#define ROOTS ((size_t)1 << (LG_PAGE_MAP - LG_LEAF))
/* In place of a descriptor: an extent was here. */
#define WAS_OURS ((void *)1)

struct page_map page_map;
static uint64_t random_bits; /* fixed before the first mapping */
struct lock page_map_lock = LOCK_INITIALIZER;

/* By piece; guarded by page_map_lock. */
static uint64_t writable[PIECES / 64];
static uint64_t unmapped[PIECES / 64]; /* by page_map_shrink */
static AO_t leaves[ROOTS]; /* published once, never freed */
static AO_t leaf_bytes, piece_bytes, resident;

static bool init_window(size_t window)
{
	char *top = os_reserve_readable(PAGE);

	if (!top)
		return false;
	size_t first, end = ((uintptr_t)top + WINDOW_ABOVE) >> LG_GRANULE;
	os_unmap(top, PAGE);
	/* Whole pieces, so that each can change its protection. */
	end = round_up(end, PIECE_GRANULES);
	if (end > (size_t)1 << LG_PAGE_MAP)
		end = (size_t)1 << LG_PAGE_MAP;
	first = end > window >> LG_GRANULE ? end - (window >> LG_GRANULE) : 0;
	first -= first % PIECE_GRANULES;
	uint16_t *map = os_reserve_readable((end - first) * sizeof(*map));
	if (!map)
		return false;
	page_map.map = (uint16_t *)((uintptr_t)map - first * sizeof(*map));
	page_map.first = first;
	page_map.end = end;
	page_map.limit = 0;
	return true;
}

/* Can memory be had where the map is to be? Then a page above it stays: to unmap it
 * would be one more call of each process's start. */
static bool place_is_free(void)
{
	char *probe = os_map(page_map_place(FOR_HEAP), PAGE);

	if (probe && (uintptr_t)probe >= COVERED)
		os_unmap(probe, PAGE);
	return probe && (uintptr_t)probe < COVERED;
}

bool page_map_init(void)
{
	size_t granules = COVERED >> LG_GRANULE, most;

	/* As random as the system makes the places of libraries and stacks; who
	 * learns an object's address learns nothing more than from mmap's own. */
	random_bits = ((uintptr_t)&page_map ^ (uintptr_t)&granules << 16) *
	    0x9e3779b97f4a7c15u >> 16;
	if (os_is_address_space_limited(&most))
		return init_window(most < WINDOW / 4 ? WINDOW_GAPS + 2 * most : WINDOW);
	if (!place_is_free())
		return init_window(WINDOW);
	page_map.map = os_reserve_readable(granules * sizeof(*page_map.map));
	if (!page_map.map)
		return init_window(WINDOW);
	page_map.end = granules;
	page_map.limit = granules << (LG_GRANULE - LG_WORD);
	return true;
}

void *page_map_place(enum page_map_use use)
{
	if (page_map.map && page_map.limit == 0)
		return NULL; /* a window: where the system likes */
	return (void *)((use == FOR_HEAP ? HEAP_PLACE : WHALE_PLACE) +
	    (random_bits % PLACE_RANDOM & ~(2 * MiB - 1)));
}

unsigned page_map_get_high(size_t granule)
{
	/* Pairs with the store in ensure_high. */
	uint16_t *high = pointer_load_acquire(&page_map.high);

	return high && granule < (size_t)1 << LG_PAGE_MAP ?
	    AO_short_load(&high[granule]) : 0;
}

/* The map that has the granule. */
static uint16_t *map_of(size_t granule)
{
	return granule >= page_map.first && granule < page_map.end ? page_map.map :
	    (uint16_t *)flag_load(&page_map.high);
}

/* Holds page_map_lock. */
static bool ensure_high(void)
{
	uint16_t *high;

	if (flag_load(&page_map.high))
		return true;
	high = os_reserve_readable(sizeof(*high) << LG_PAGE_MAP);
	/* Pairs with the load in page_map_get_high. */
	pointer_store_release(&page_map.high, high);
	return high != NULL;
}

/* Pieces that stay whatever page_map_shrink does: 4 GiB at the bottom, where free(3) of
 * what is no object may point to in a program that is not PIE, and this much below what
 * is in use, for more. */
#define LOW_PIECES ((4 * GiB >> LG_GRANULE) / PIECE_GRANULES)
#define PIECES_TO_SPARE ((32 * GiB >> LG_GRANULE) / PIECE_GRANULES)

static bool has_bit(const uint64_t *bits, size_t n)
{
	return bits[n / 64] >> n % 64 & 1;
}

static size_t piece_of(const void *place)
{
	return ((uintptr_t)place >> LG_GRANULE) / PIECE_GRANULES;
}

/* Holds page_map_lock. */
static void unmap_pieces(size_t first, size_t end)
{
	if (first == end || !os_unmap(&page_map.map[first * PIECE_GRANULES],
	    (end - first) * PAGE_MAP_PIECE))
		return;
	for (; first < end; first++)
		unmapped[first / 64] |= (uint64_t)1 << first % 64;
}

void page_map_shrink(void)
{
	size_t heap = piece_of(page_map_place(FOR_HEAP));
	size_t whales = piece_of(page_map_place(FOR_WHALES));
	size_t piece = page_map.end / PIECE_GRANULES, end = piece, spare = 0, most;

	if (page_map.limit == 0 || !os_is_address_space_limited(&most))
		return;
	lock_acquire(&page_map_lock);
	while (piece-- > LOW_PIECES) {
		if (piece == heap || piece == whales || has_bit(writable, piece))
			spare = PIECES_TO_SPARE;
		if (spare || has_bit(unmapped, piece)) {
			unmap_pieces(piece + 1, end);
			end = piece;
			spare -= spare > 0;
		}
	}
	unmap_pieces(LOW_PIECES, end);
	lock_release(&page_map_lock);
}

/* Holds page_map_lock. */
static bool make_writable(size_t piece)
{
	uint16_t *map = &map_of(piece * PIECE_GRANULES)[piece * PIECE_GRANULES];

	if (!has_bit(unmapped, piece))
		return os_make_writable(map, PAGE_MAP_PIECE);
	if (!os_map_at(map, PAGE_MAP_PIECE))
		return false;
	unmapped[piece / 64] &= ~((uint64_t)1 << piece % 64);
	return true;
}

/* Holds page_map_lock. */
static bool ensure_writable(size_t first, size_t last)
{
	for (size_t piece = first / PIECE_GRANULES; piece <= last / PIECE_GRANULES; piece++) {
		if (has_bit(writable, piece))
			continue;
		if (!map_of(piece * PIECE_GRANULES) && !ensure_high())
			return false;
		if (!make_writable(piece))
			return false;
		writable[piece / 64] |= (uint64_t)1 << piece % 64;
		counter_add_owned(&piece_bytes, PAGE_MAP_PIECE);
	}
	return true;
}

/* Holds page_map_lock. */
static bool ensure_leaves(size_t first, size_t last)
{
	for (size_t root = first >> LG_LEAF; root <= last >> LG_LEAF; root++) {
		if (flag_load(&leaves[root]))
			continue;
		void *leaf = os_map(NULL, LEAF_BYTES + PAGE);
		if (!leaf)
			return false;
		counter_add_owned(&leaf_bytes, LEAF_BYTES + PAGE);
		counter_add_owned(&resident, PAGE);
		/* Pairs with the load in slot_of. */
		pointer_store_release(&leaves[root], leaf);
	}
	return true;
}

/* Count the pages of the maps that get memory now: a bit for each page of a leaf lies
 * behind it; so many of these have one page of the page map in common. The system would
 * tell (mincore), but filters of system calls forbid that. Holds page_map_lock. */
#define LEAF_PAGE_GRANULES (PAGE / sizeof(AO_t))
#define LEAF_PAGES_A_MAP_PAGE (sizeof(AO_t) / sizeof(uint16_t))
static void count_resident(size_t first, size_t last)
{
	for (size_t n = first / LEAF_PAGE_GRANULES; n <= last / LEAF_PAGE_GRANULES; n++) {
		AO_t *leaf = (AO_t *)flag_load(&leaves[n * LEAF_PAGE_GRANULES >> LG_LEAF]);
		size_t page = n % (LEAF_BYTES / PAGE);
		uint64_t *bits = (uint64_t *)&leaf[LEAF_BYTES / sizeof(*leaf)] + page / 64;
		uint64_t bit = (uint64_t)1 << page % 64;
		uint64_t together = (((uint64_t)1 << LEAF_PAGES_A_MAP_PAGE) - 1) <<
		    (page % 64 & ~(LEAF_PAGES_A_MAP_PAGE - 1));
		if (*bits & bit)
			continue;
		counter_add_owned(&resident, *bits & together ? PAGE : 2 * PAGE);
		*bits |= bit;
	}
}

static AO_t *slot_of(size_t granule)
{
	if (granule >= (size_t)1 << LG_PAGE_MAP)
		return NULL;
	/* Pairs with the store in ensure_leaves. */
	AO_t *leaf = pointer_load_acquire(&leaves[granule >> LG_LEAF]);
	return leaf ? &leaf[granule & (((size_t)1 << LG_LEAF) - 1)] : NULL;
}

static size_t described(const struct extent *extent)
{
	return extent->class < CLASS_L25 ? extent->size / GRANULE : 1;
}

/* Slabs lie in a chunk, so that neither map changes between. */
static void write_entries(const struct extent *extent, unsigned entry, const void *descriptor)
{
	size_t granule = (uintptr_t)extent->base >> LG_GRANULE, n = described(extent);
	AO_t *slots = slot_of(granule);
	uint16_t *map = &map_of(granule)[granule];

	for (size_t i = 0; i < n; i++) {
		/* Pairs with the load in page_map_extent. */
		pointer_store_release(&slots[i], descriptor);
		AO_short_store(&map[i], (unsigned short)entry);
	}
}

/* Have the maps memory for these granules, as something lay there before? */
static bool are_prepared(size_t first, size_t last)
{
	AO_t *slot = slot_of(first);

	/* Pairs with the store in write_entries, of who prepared them. */
	return slot && pointer_load_acquire(slot) &&
	    first / LEAF_PAGE_GRANULES == last / LEAF_PAGE_GRANULES;
}

/* False: no memory. */
static bool prepare(size_t first, size_t last)
{
	lock_acquire(&page_map_lock);
	bool ready = ensure_writable(first, last) && ensure_leaves(first, last);
	if (ready)
		count_resident(first, last);
	lock_release(&page_map_lock);
	return ready;
}

bool page_map_set(struct extent *extent)
{
	size_t first = (uintptr_t)extent->base >> LG_GRANULE;
	size_t last = first + described(extent) - 1;

	if (first + (extent->size - 1) / GRANULE >= (size_t)1 << LG_PAGE_MAP)
		return false;
	if (!are_prepared(first, last) && !prepare(first, last))
		return false;
	write_entries(extent, page_map_entry(extent->arena, extent->class), extent);
	return true;
}

void page_map_clear(const struct extent *extent)
{
	write_entries(extent, 0, WAS_OURS);
}

struct extent *page_map_extent(const void *p)
{
	AO_t *slot = slot_of((uintptr_t)p >> LG_GRANULE);
	/* Pairs with the store in write_entries. */
	void *descriptor = slot ? pointer_load_acquire(slot) : NULL;

	return descriptor == WAS_OURS ? NULL : descriptor;
}

bool page_map_was_ours(const void *p)
{
	AO_t *slot = slot_of((uintptr_t)p >> LG_GRANULE);

	return slot && (void *)flag_load(slot) == WAS_OURS;
}

struct extent *page_map_find_around(const void *p)
{
	size_t granule = (uintptr_t)p >> LG_GRANULE;
	AO_t *slot;

	/* Leaves are contiguous by GiB; no object spans one that is missing. */
	for (; (slot = slot_of(granule)) != NULL; granule--) {
		void *descriptor = pointer_load_acquire(slot);
		if (!descriptor || descriptor == WAS_OURS)
			continue;
		struct extent *extent = descriptor;
		return (uintptr_t)p < (uintptr_t)extent->base + extent->size ?
		    extent : NULL;
	}
	return NULL;
}

size_t page_map_bytes(void)
{
	return counter_get(&leaf_bytes) + counter_get(&piece_bytes);
}

size_t page_map_resident(void)
{
	return counter_get(&resident);
}

const struct page_map_places page_map_places = { &leaf_bytes, &piece_bytes, &resident };
