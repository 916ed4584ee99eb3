#include "page/whale.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/options.h"
#include "page/metadata.h"
#include "page/os.h"

/* What the cache wants to hold follows regret: it begins with little, and where a block
 * is asked for that what was let go of would have served, it wants four times as
 * much from then on, or so much more. */
#define CACHE_START (2 * MiB)
/* What lay in it for so long rests: in programs that use whales all the time the next would
 * have taken it. */
#define RESTS_MS 2u
/* What a side freed serves it first, if it is no more than so many times as large as what
 * another did. */
#define SIDE_SHARE 4u
/* A page fault takes the time of copying so many pages. */
#define COPIED_SHARE 4u
/* Unmapped places that are remembered. */
#define GAPS 128
/* What moves from cached mappings to a new one: all that one page table has, to where
 * another has it, so that the system moves tables and not their entries, and huge pages
 * stay whole. What is several mappings to the system after that meets where blocks do;
 * BLOCKS_BELOW, live and cached, keeps their number far from vm.max_map_count. */
#define BLOCK (2 * MiB)
#define BLOCKS_BELOW (16 * GiB)
/* None move where so large a share of moves failed: mremap(2) is forbidden, or the system is
 * older than Linux 6.17, which moves no block of several mappings, and has many. */
#define MOVES_A_FAILURE 32

struct whale {
	struct extent extent; /* first: the extent map points here */
	size_t mapped;        /* bytes; up to an eighth over extent.size */
	struct link link;     /* among those that live; in the cache, newest first */
	uint64_t freed_ms;
	bool purged;          /* cached without memory */
	bool patched;         /* to the system it may be several mappings */
};

struct lock whale_lock = LOCK_INITIALIZER;

/* All guarded by whale_lock. */
static struct link cache = { &cache, &cache };
static struct link alive = { &alive, &alive };
static struct whale_owner owners[ARENAS_LIMIT + 1];
/* Where to map: all mappings so far, and those about to be made, lie above frontier, next to
 * each other so that the system merges them; what was unmapped above it is in gaps, to be
 * used again: the maps of pages grow with the address space that was ever used. */
static char *frontier;
static struct gap {
	char *base;
	size_t size;
} gaps[GAPS];
static struct whale_stats stats;
/* Since peak_ms, a decay time at most: */
static uint64_t peak_ms;
static size_t peak_bytes;   /* most of stats.live_bytes */
static size_t let_go_bytes; /* for lack of room in the cache */
static size_t least_cached; /* never taken out */
static size_t first_hit;    /* of stats.hits */
static size_t wanted_bytes = CACHE_START; /* in the cache */
static size_t blocks_moved, moves_failed;

const struct whale_places whale_places = { &stats, owners, &peak_bytes, &wanted_bytes };

/* Into the cache and out of it. Hold the lock. */
static void cache_add(struct whale *w, struct link *after)
{
	list_insert(after, &w->link);
	stats.cached++;
	stats.cached_bytes += w->purged ? 0 : w->mapped;
}

static void cache_remove(struct whale *w)
{
	list_remove(&w->link);
	stats.cached--;
	stats.cached_bytes -= w->purged ? 0 : w->mapped;
}

/* The mapping behind the first keep bytes of a cached whale as one of its own, next
 * to it in the cache. NULL: no memory for a descriptor. Holds the lock. */
static struct whale *split(struct whale *w, size_t keep)
{
	struct whale *rest = metadata_alloc(sizeof(*rest));

	if (!rest)
		return NULL;
	struct link *before = w->link.prev;
	cache_remove(w);
	*rest = *w;
	list_init(&rest->link);
	rest->extent.base += keep;
	rest->mapped -= keep;
	w->mapped = keep;
	cache_add(w, before);
	cache_add(rest, &w->link);
	return rest;
}

static bool is_cut(const struct whale *w, size_t size)
{
	return w->mapped - size > size / 8;
}

/* Is a to serve rather than b? What need not be cut; where both are alike, and neither much
 * larger, what that side freed; or the smaller. */
static bool is_better(const struct whale *a, const struct whale *b, size_t size, unsigned side)
{
	bool is_own = a->extent.side == side;
	bool is_like = a->mapped / SIDE_SHARE <= b->mapped && b->mapped / SIDE_SHARE <= a->mapped;

	if (is_cut(a, size) != is_cut(b, size))
		return is_cut(b, size);
	return is_like && is_own != (b->extent.side == side) ? is_own : a->mapped < b->mapped;
}

/* The cached whale that fits best, cut to size by cache_take: what is freed in any sizes
 * serves any others, without a page fault. Hold the lock. */
static struct whale *cache_best(size_t size, size_t alignment, unsigned side)
{
	struct whale *best = NULL;

	for (struct link *l = cache.next; l != &cache; l = l->next) {
		struct whale *w = container_of(l, struct whale, link);
		if (w->mapped < size || ((uintptr_t)w->extent.base & (alignment - 1)))
			continue;
		if (!best || is_better(w, best, size, side))
			best = w;
	}
	return best;
}

static struct whale *cache_take(struct whale *best, size_t size)
{
	if (!best || (is_cut(best, size) && !split(best, size)))
		return NULL;
	cache_remove(best);
	if (stats.cached_bytes < least_cached)
		least_cached = stats.cached_bytes;
	return best;
}

/* One with those in the cache that touch it. Holds the lock. */
static void coalesce(struct whale *w)
{
	struct link *l = cache.next;

	while (l != &cache) {
		struct whale *other = container_of(l, struct whale, link);
		bool before = other->extent.base + other->mapped == w->extent.base;
		bool behind = w->extent.base + w->mapped == other->extent.base;
		l = l->next;
		if (other->purged || (!before && !behind))
			continue;
		cache_remove(other);
		if (before)
			w->extent.base = other->extent.base;
		w->patched |= other->patched;
		w->mapped += other->mapped;
		metadata_free(other, sizeof(*other));
	}
}

/* A place was unmapped: one gap with those that it touches. What there is no room
 * to remember is lost as address space, the smallest first. Holds the lock. */
static void gap_add(char *base, size_t size)
{
	struct gap *smallest = &gaps[0];

	for (int i = 0; i < GAPS; i++) {
		struct gap *g = &gaps[i];
		if (g->size && (g->base + g->size == base || base + size == g->base)) {
			base = g->base < base ? g->base : base;
			size += g->size;
			g->size = 0;
			i = -1; /* it may touch another now */
		}
	}
	if (base == frontier) {
		frontier += size;
		return;
	}
	for (int i = 0; i < GAPS; i++)
		if (gaps[i].size < smallest->size)
			smallest = &gaps[i];
	if (smallest->size < size)
		*smallest = (struct gap) { base, size };
}

/* A place of that size at the top of the gap that fits best, or NULL. Holds the
 * lock. */
static char *gap_take(size_t size, size_t alignment)
{
	struct gap *best = NULL;

	for (int i = 0; i < GAPS; i++)
		if (gaps[i].size >= size + (alignment - GRANULE) &&
		    (!best || gaps[i].size < best->size))
			best = &gaps[i];
	if (!best)
		return NULL;
	char *place = (char *)(((uintptr_t)best->base + best->size - size) &
	    ~(alignment - 1));
	best->size = (size_t)(place - best->base);
	return place;
}

/* The place is in use again, from the end of a whale on. Holds the lock. */
static void gap_remove(const char *base, size_t size)
{
	for (int i = 0; i < GAPS; i++) {
		struct gap *g = &gaps[i];
		size_t cut = (size_t)(base + size - g->base);
		if (!g->size || g->base + g->size <= base || g->base >= base + size)
			continue;
		g->base += g->size > cut ? cut : 0;
		g->size -= g->size > cut ? cut : g->size;
	}
}

/* Nobody else gets it: the frontier falls at once. Holds the lock. */
static char *place_at_frontier(size_t size, size_t alignment)
{
	char *above = frontier ? frontier : page_map_place(FOR_WHALES);

	if ((uintptr_t)above <= size)
		return NULL;
	frontier = (char *)(((uintptr_t)above - size) & ~(alignment - 1));
	return frontier;
}

/* Address space where the page map has it, if that can be. */
static char *map_place(size_t size, size_t alignment)
{
	lock_acquire(&whale_lock);
	char *gap = gap_take(size, alignment);
	char *place = gap ? gap : place_at_frontier(size, alignment);
	lock_release(&whale_lock);
	char *base = os_map_aligned(place, size, alignment);
	if (base && base != place && gap) {
		/* Somebody else took the gap. */
		os_unmap(base, size);
		lock_acquire(&whale_lock);
		place = place_at_frontier(size, alignment);
		lock_release(&whale_lock);
		base = os_map_aligned(place, size, alignment);
	}
	if (!base && place) {
		lock_acquire(&whale_lock);
		gap_add(place, size);
		lock_release(&whale_lock);
	}
	return base;
}

static struct whale *whale_map(size_t size, size_t alignment)
{
	struct whale *w = metadata_alloc(sizeof(*w));

	if (!w)
		return NULL;
	w->extent.base = map_place(size, alignment);
	if (!w->extent.base) {
		metadata_free(w, sizeof(*w));
		return NULL;
	}
	os_advise_huge(w->extent.base, size);
	list_init(&w->link);
	w->mapped = size;
	w->extent.class = CLASS_WHALE;
	w->purged = true;
	w->patched = false;
	return w;
}

/* Unmap, or where the system cannot, keep as address space in the cache. */
static void whale_drop(struct whale *w)
{
	if (!w->purged)
		os_purge(w->extent.base, w->mapped);
	bool unmapped = os_unmap(w->extent.base, w->mapped);
	lock_acquire(&whale_lock);
	if (unmapped) {
		gap_add(w->extent.base, w->mapped);
		lock_release(&whale_lock);
		metadata_free(w, sizeof(*w));
		return;
	}
	w->purged = true;
	cache_add(w, cache.prev);
	lock_release(&whale_lock);
}

/* Count a change of a live whale, before (sign -1) and after it. Holds the lock. */
static void count(const struct whale *w, int sign)
{
	struct whale_owner *owner = &owners[w->extent.arena];

	stats.live += (size_t)(ptrdiff_t)sign;
	stats.live_bytes += (size_t)sign * w->mapped;
	if (stats.live_bytes > peak_bytes)
		peak_bytes = stats.live_bytes;
	owner->live += (size_t)(ptrdiff_t)sign;
	owner->live_bytes += (size_t)sign * w->extent.size;
}

/* Holds the lock. */
static size_t cache_room(void)
{
	return whale_room(stats.live_bytes, peak_bytes, wanted_bytes);
}

/* The cache could not serve so many bytes: could it have, with all that was let go of?
 * Holds the lock. */
static void regret(size_t bytes)
{
	if (bytes > let_go_bytes + stats.cached_bytes)
		return;
	wanted_bytes += bytes > 3 * wanted_bytes ? bytes : 3 * wanted_bytes;
	if (wanted_bytes > peak_bytes + WHALE_SPARE)
		wanted_bytes = peak_bytes + WHALE_SPARE;
}

static struct blocks {
	char *first, *end;
} blocks_of(const struct whale *w)
{
	uintptr_t base = (uintptr_t)w->extent.base;
	uintptr_t first = round_up(base, BLOCK), end = (base + w->mapped) & ~(BLOCK - 1);

	return (struct blocks) { (char *)first, (char *)(end > first ? end : first) };
}

/* The cached whale with most blocks, or NULL: none has any. Holds the lock. */
static struct whale *most_blocks(void)
{
	struct whale *most = NULL;
	ptrdiff_t n = 0;

	for (struct link *l = cache.next; l != &cache; l = l->next) {
		struct whale *w = container_of(l, struct whale, link);
		struct blocks blocks = blocks_of(w);
		if (!w->purged && blocks.end - blocks.first > n) {
			n = blocks.end - blocks.first;
			most = w;
		}
	}
	return most;
}

/* Up to so many bytes of blocks, out of the cache; none: there is no more. Holds the
 * lock. */
static struct blocks take_blocks(ptrdiff_t bytes)
{
	struct whale *w = most_blocks();

	if (!w)
		return (struct blocks) { NULL, NULL };
	struct blocks blocks = blocks_of(w);
	if (blocks.end - blocks.first > bytes)
		blocks.end = blocks.first + bytes;
	if (w->extent.base < blocks.first)
		w = split(w, (size_t)(blocks.first - w->extent.base));
	size_t size = (size_t)(blocks.end - blocks.first);
	if (!w || (w->mapped > size && !split(w, size)))
		return (struct blocks) { NULL, NULL };
	cache_remove(w);
	metadata_free(w, sizeof(*w));
	return blocks;
}

/* A block's pages could not be moved: nobody knows what is at place now, as some kernels
 * unmap it before they fail. Let go of w but for that, and of the blocks. Holds the
 * lock. */
static void give_up(struct whale *w, struct blocks blocks, char *place)
{
	char *end = w->extent.base + w->mapped;

	/* Part of the first may be gone: what is not there cannot be purged. */
	if (!os_unmap(blocks.first, (size_t)(blocks.end - blocks.first)))
		os_purge(blocks.first, (size_t)(blocks.end - blocks.first));
	os_unmap(w->extent.base, (size_t)(place - w->extent.base));
	os_unmap(place + BLOCK, (size_t)(end - place) - BLOCK);
	metadata_free(w, sizeof(*w));
	moves_failed++;
}

/* Move pages of cached mappings, none of which is large enough, to a new one. False: w
 * is gone. */
static bool fill(struct whale *w)
{
	size_t missed = w->mapped;
	bool done = true;

	lock_acquire(&whale_lock);
	struct blocks to = blocks_of(w), from = { NULL, NULL };
	if (moves_failed * MOVES_A_FAILURE > blocks_moved ||
	    stats.live_bytes + stats.cached_bytes > BLOCKS_BELOW)
		to.end = to.first;
	for (; done && to.first < to.end; to.first += BLOCK, from.first += BLOCK) {
		if (from.first == from.end)
			from = take_blocks(to.end - to.first);
		if (from.first == from.end)
			break;
		w->purged = false;
		w->patched = true;
		missed = (size_t)(to.end - to.first) - BLOCK;
		done = os_remap_onto(from.first, BLOCK, BLOCK, to.first);
		if (!done) {
			give_up(w, from, to.first);
		} else {
			gap_add(from.first, BLOCK);
			blocks_moved++;
		}
	}
	if (stats.cached_bytes < least_cached)
		least_cached = stats.cached_bytes;
	if (missed)
		regret(missed);
	stats.hits += missed == 0;
	stats.misses += missed != 0;
	lock_release(&whale_lock);
	return done;
}

static struct whale *whale_new(size_t size, size_t alignment)
{
	struct whale *w = whale_map(size, alignment);

	/* Seldom, if ever. */
	return !w || fill(w) ? w : whale_map(size, alignment);
}

/* It is a live one of that arena from now on. False: no memory, it is gone. */
static bool begin(struct whale *w, size_t size, unsigned arena, unsigned side)
{
	w->extent.size = size;
	w->extent.arena = (uint16_t)arena;
	w->extent.side = (uint8_t)side;
	w->purged = false;
	lock_acquire(&whale_lock);
	bool known = page_map_set(&w->extent);
	if (known) {
		count(w, 1);
		owners[arena].nmalloc++;
		list_push(&alive, &w->link);
		if (!frontier || w->extent.base < frontier)
			frontier = w->extent.base;
	}
	lock_release(&whale_lock);
	if (!known)
		whale_drop(w);
	return known;
}

void *whale_alloc(size_t size, size_t alignment, unsigned arena, unsigned side,
    bool *zeroed)
{
	if (size > SIZE_MAX_ALLOWED)
		return NULL;
	size = round_up(size, GRANULE);
	lock_acquire(&whale_lock);
	struct whale *w = cache_take(cache_best(size, alignment, side), size);
	stats.hits += w != NULL;
	lock_release(&whale_lock);
	if (!w)
		w = whale_new(size, alignment);
	if (!w)
		return NULL;
	*zeroed = w->purged;
	return begin(w, size, arena, side) ? w->extent.base : NULL;
}

static struct whale *whale_of(const void *p)
{
	struct extent *extent = page_map_extent(p);

	return extent && extent->class == CLASS_WHALE && extent->base == p ?
	    container_of(extent, struct whale, extent) : NULL;
}

/* The first to go from the cache, or NULL. Holds the lock. */
static struct whale *oldest(void)
{
	for (struct link *l = cache.prev; l != &cache; l = l->prev) {
		struct whale *w = container_of(l, struct whale, link);
		/* Purged ones stay: they could not be unmapped. */
		if (!w->purged)
			return w;
	}
	return NULL;
}

/* Take it out of the cache, or its end, if that is enough for so many bytes. Holds the
 * lock. */
static struct whale *evict(struct whale *w, size_t bytes)
{
	struct whale *rest = w->mapped > bytes + MiB ? split(w, w->mapped - bytes) : NULL;

	w = rest ? rest : w;
	cache_remove(w);
	return w;
}

/* Let go of so much of the cache, so far as that lies there for so long. */
static void yield(size_t bytes, uint64_t rested_ms)
{
	uint64_t now = os_now_ms();

	if (setting_ms(&settings.dirty_decay_ms) < 0)
		return;
	while (bytes > 0) {
		lock_acquire(&whale_lock);
		struct whale *w = oldest();
		bool rests = w && now - w->freed_ms >= rested_ms;
		if (rests)
			w = evict(w, bytes);
		lock_release(&whale_lock);
		if (!rests)
			return;
		bytes -= bytes < w->mapped ? bytes : w->mapped;
		whale_drop(w);
	}
}

void whale_yield(size_t bytes)
{
	yield(bytes, RESTS_MS);
}

/* Take the oldest out of the cache while it is too full or, at time now, has
 * decayed. Holds the lock. */
static struct whale *cache_evict(uint64_t now, bool all)
{
	struct whale *w = oldest();
	size_t room = cache_room();
	ssize_t decay_ms = setting_ms(&settings.dirty_decay_ms);
	size_t excess = stats.cached_bytes > room ? stats.cached_bytes - room : 0;

	if (!w)
		return NULL;
	bool decayed = decay_ms >= 0 && now - w->freed_ms >= (uint64_t)decay_ms;
	if (all || decayed)
		return evict(w, w->mapped);
	if (!excess)
		return NULL;
	/* No more than what is too much. */
	w = evict(w, round_up(excess, MiB));
	let_go_bytes += w->mapped;
	return w;
}

/* What of the cache served nothing in the last decay time is not wanted any more. Holds
 * the lock. */
static void begin_period(uint64_t now)
{
	size_t unused = stats.hits == first_hit ? wanted_bytes / 2 : least_cached;

	wanted_bytes = wanted_bytes > CACHE_START + unused ? wanted_bytes - unused : CACHE_START;
	peak_ms = now;
	peak_bytes = stats.live_bytes;
	let_go_bytes = 0;
	least_cached = stats.cached_bytes;
	first_hit = stats.hits;
}

size_t whale_purge(bool all)
{
	ssize_t decay_ms = setting_ms(&settings.dirty_decay_ms);
	size_t total = 0;

	lock_acquire(&whale_lock);
	/* Under the lock: nothing in the cache is younger. */
	uint64_t now = os_now_ms();
	if (decay_ms >= 0 && now - peak_ms > (uint64_t)decay_ms)
		begin_period(now);
	struct whale *w;
	while ((w = cache_evict(now, all))) {
		lock_release(&whale_lock);
		total += w->mapped;
		whale_drop(w);
		lock_acquire(&whale_lock);
		now = os_now_ms();
	}
	lock_release(&whale_lock);
	return total;
}

void whale_free(void *p, unsigned side)
{
	lock_acquire(&whale_lock);
	struct whale *w = whale_of(p);
	if (!w) {
		lock_release(&whale_lock);
		log_double_free(p);
	}
	page_map_clear(&w->extent);
	count(w, -1);
	list_remove(&w->link);
	w->extent.side = (uint8_t)side;
	w->freed_ms = os_now_ms();
	if (flag_load(&settings.layers) >> LAYER_WHALE & 1 &&
	    setting_ms(&settings.dirty_decay_ms) != 0) {
		coalesce(w);
		cache_add(w, &cache);
		w = NULL;
	}
	lock_release(&whale_lock);
	if (w)
		whale_drop(w);
	else
		whale_purge(false);
}

size_t whale_size(const void *p)
{
	const struct whale *w = whale_of(p);

	return w ? w->extent.size : 0;
}

static void set_size(struct whale *w, size_t size, size_t mapped)
{
	lock_acquire(&whale_lock);
	count(w, -1);
	w->extent.size = size;
	w->mapped = mapped;
	count(w, 1);
	lock_release(&whale_lock);
}

/* The system grows one mapping: the last of several. The cache may have joined what it
 * did not, or the program given advice for a part. */
static bool grow(struct whale *w, size_t size)
{
	char *end = w->extent.base + w->mapped;
	size_t more = size - w->mapped;

	if (!w->patched) {
		int error = os_grow(w->extent.base, w->mapped, size);
		w->patched = error == EFAULT;
		if (error != EFAULT)
			return error == 0;
	}
	return os_grow(end - GRANULE, GRANULE, GRANULE + more) == 0;
}

/* Without moving; false: not possible. */
static bool resize_in_place(struct whale *w, size_t size)
{
	size_t mapped = w->mapped;
	char *base = w->extent.base;

	if (size <= mapped && mapped - size <= size / 8) {
		set_size(w, size, mapped);
	} else if (size < mapped) {
		/* Where the tail cannot be unmapped it stays, without memory. */
		os_purge(base + size, mapped - size);
		bool unmapped = os_unmap(base + size, mapped - size);
		set_size(w, size, unmapped ? size : mapped);
		if (unmapped) {
			lock_acquire(&whale_lock);
			gap_add(base + size, mapped - size);
			lock_release(&whale_lock);
		}
	} else if (grow(w, size)) {
		lock_acquire(&whale_lock);
		gap_remove(base + mapped, size - mapped);
		lock_release(&whale_lock);
		set_size(w, size, size);
	} else {
		return false;
	}
	return true;
}

/* The pages move to a place of our choice: the system would choose any page,
 * and whales start at granules. Those of several mappings were copied there. */
static bool move_to(struct whale *w, size_t size, char *place)
{
	struct extent old = w->extent;
	size_t old_mapped = w->mapped;

	lock_acquire(&whale_lock);
	count(w, -1);
	page_map_clear(&w->extent);
	w->extent.base = place;
	w->extent.size = size;
	bool known = page_map_set(&w->extent);
	bool moved = known && (w->patched || os_remap_onto(old.base, w->mapped, size, place));
	if (moved) {
		if (!w->patched || os_unmap(old.base, old_mapped))
			gap_add(old.base, old_mapped);
		else
			os_purge(old.base, old_mapped);
		w->patched = false;
		w->mapped = size;
		if (!frontier || place < frontier)
			frontier = place;
	} else {
		/* Where the move failed, some kernels unmapped the place before, and by
		 * now it may be somebody else's: it stays, without memory. */
		if (known)
			page_map_clear(&w->extent);
		else if (os_unmap(place, size))
			gap_add(place, size);
		w->extent = old;
		w->mapped = old_mapped;
		page_map_set(&w->extent);
	}
	count(w, 1);
	lock_release(&whale_lock);
	return moved;
}

/* What it is to grow by may be more work for the system than to copy it all, to where the
 * cache has pages. NULL: it is not, or the cache has none. */
static char *copy_to_cached(struct whale *w, size_t size, bool zero)
{
	size_t old_size = w->extent.size;
	unsigned side = w->extent.side;

	if (size <= w->mapped || size - w->mapped < w->mapped / COPIED_SHARE)
		return NULL;
	lock_acquire(&whale_lock);
	struct whale *best = cache_best(size, GRANULE, side);
	struct whale *copy = best && !best->purged ? cache_take(best, size) : NULL;
	stats.hits += copy != NULL;
	if (!copy)
		regret(size);
	lock_release(&whale_lock);
	if (!copy || !begin(copy, size, w->extent.arena, side))
		return NULL;
	memcpy(copy->extent.base, w->extent.base, old_size);
	if (zero)
		memset(copy->extent.base + old_size, 0, size - old_size);
	whale_free(w->extent.base, side);
	return copy->extent.base;
}

void *whale_resize(void *p, size_t size, bool may_move, bool zero)
{
	struct whale *w = whale_of(p);

	if (!w || size > SIZE_MAX_ALLOWED)
		return NULL;
	size = round_up(size, GRANULE);
	size_t old_size = w->extent.size, old_mapped = w->mapped;
	char *copy = may_move ? copy_to_cached(w, size, zero) : NULL;
	if (copy)
		return copy;
	if (!resize_in_place(w, size)) {
		char *place = may_move ? map_place(size, GRANULE) : NULL;
		if (!place)
			return NULL;
		if (w->patched) {
			os_advise_huge(place, size);
			memcpy(place, p, old_size);
		}
		if (!move_to(w, size, place))
			return NULL;
	}
	/* What it grew by the cache could not serve: else both would be there. */
	if (size > old_mapped)
		yield(size - old_mapped, 0);
	/* What a mapping grows by reads zero, what it had to spare may not. */
	if (zero && size > old_size && old_mapped > old_size)
		memset(w->extent.base + old_size, 0,
		    (size < old_mapped ? size : old_mapped) - old_size);
	return w->extent.base;
}

struct whale_owner whale_owner_stats(unsigned arena)
{
	lock_acquire(&whale_lock);
	struct whale_owner owner = owners[arena];
	lock_release(&whale_lock);
	return owner;
}

void *whale_any_of(unsigned arena)
{
	void *found = NULL;

	lock_acquire(&whale_lock);
	for (struct link *l = alive.next; l != &alive && !found; l = l->next) {
		struct whale *w = container_of(l, struct whale, link);
		if (w->extent.arena == arena)
			found = w->extent.base;
	}
	lock_release(&whale_lock);
	return found;
}

void whale_stats(struct whale_stats *out)
{
	lock_acquire(&whale_lock);
	*out = stats;
	lock_release(&whale_lock);
}

size_t whale_cache_room(void)
{
	lock_acquire(&whale_lock);
	size_t room = cache_room();
	lock_release(&whale_lock);
	return room;
}
