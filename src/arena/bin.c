#include "arena/bin.h"

#include <string.h>

#include "arena/background.h"
#include "base/log.h"
#include "base/options.h"
#include "page/metadata.h"
#include "page/os.h"

/* A depot holds at most this much and this many. */
#define DEPOT_BYTES (256 * KiB)
#define DEPOT_OBJECTS 2048
#define DEPOT_ROOM_MIN 64
/* Flushes after a thread's last refill from its depot until it passes for one that only
 * frees. */
#define OWN_USE 8u
/* A side makes a slab of its own so long as no more of the slots than this share of them,
 * and than a slab's, are free. */
#define ROOM_SHARE 16u
/* Empty slabs that a bin keeps for its next need: one, and one more for each that it had to
 * make less than REGRET_MS after it let go of one, to that many bytes. */
#define EMPTIES_BYTES (2 * MiB)
/* Of these so many are looked at for one of the side. */
#define EMPTIES_LOOKS 8u
#define REGRET_MS 20u
/* Free slots between two questions whether the background thread should run. */
#define ASK_BACKGROUND (256 * KiB)
/* Free room in a bin's slabs from which, if more than half of them is free, depots are left
 * out: below it batches would miss them. */
#define DRAIN_BYTES (1 * MiB)
/* Free room from which, if it is so large a share of what lives, a bin is sparse. */
#define SPARSE_BYTES (64 * KiB)
#define SPARSE_SHARE 4u
/* Slabs whose pages go back while the lock is held once. */
#define PURGE_BATCH 16

void bin_init(struct bin *bin, unsigned arena, size_t class)
{
	lock_init(&bin->lock);
	bin->arena = (uint16_t)arena;
	bin->class = (uint8_t)class;
	for (unsigned side = 0; side < SLAB_SIDES; side++)
		for (unsigned i = 0; i < SLAB_BUCKETS; i++)
			list_init(&bin->buckets[side][i]);
	list_init(&bin->aligned);
	list_init(&bin->empty);
	bin->empties_max = 1;
	list_init(&bin->to_purge);
}

static uint32_t depot_max(const struct bin *bin)
{
	size_t n = DEPOT_BYTES / size_class_size(bin->class);

	return (uint32_t)(n < DEPOT_OBJECTS ? n : DEPOT_OBJECTS);
}

/* Make room for n more; false: full, or no memory. */
static bool depot_reserve(struct depot *depot, unsigned n, unsigned max)
{
	unsigned need = depot->count + n;

	if (need <= depot->room)
		return true;
	if (need > max)
		return false;
	unsigned room = 1u << lg_ceil(need < DEPOT_ROOM_MIN ? DEPOT_ROOM_MIN : need);
	if (room > max)
		room = max;
	void **grown = metadata_alloc(room * sizeof(*grown));
	if (!grown)
		return false;
	if (depot->objects) {
		memcpy(grown, depot->objects, depot->count * sizeof(*grown));
		metadata_free(depot->objects, depot->room * sizeof(*grown));
	}
	depot->objects = grown;
	depot->room = room;
	return true;
}

static unsigned depot_take(struct depot *depot, void **objects, unsigned n)
{
	if (n > depot->count)
		n = depot->count;
	if (n == 0)
		return 0;
	AO_int_store(&depot->count, depot->count - n);
	if (depot->idle > depot->count)
		depot->idle = depot->count;
	memcpy(objects, depot->objects + depot->count, n * sizeof(*objects));
	return n;
}

/* Put a slab where its free slots say; every change of slab->free ends here. */
static void place(struct bin *bin, struct slab *slab)
{
	struct link *list = NULL;
	uint8_t bucket;

	if (slab->free == 0)
		bucket = SLAB_BUCKETS + 1;
	else if (slab->free == slab->slots)
		bucket = SLAB_BUCKETS;
	else
		bucket = (uint8_t)(slab->free * SLAB_BUCKETS / slab->slots);
	if (slab->bucket == bucket)
		return;
	if (bucket <= SLAB_BUCKETS)
		list = bucket == SLAB_BUCKETS ? &bin->empty :
		    slab->side == ALIGNED_SIDE ? &bin->aligned :
		    &bin->buckets[slab->side][bucket];
	if (slab->bucket == SLAB_BUCKETS)
		counter_add_owned(&bin->empties, (size_t)-1);
	if (bucket == SLAB_BUCKETS)
		counter_add_owned(&bin->empties, 1);
	list_remove(&slab->by_fullness);
	if (list)
		list_push(list, &slab->by_fullness);
	slab->bucket = bucket;
}

static struct slab *add_slab(struct bin *bin, unsigned cache, bool *zeroed)
{
	struct slab *slab = slab_new(bin->arena, bin->class, cache % SIDES, zeroed);
	if (slab) {
		slab->bucket = SLAB_BUCKETS + 1;
		counter_add_owned(&bin->slabs, 1);
		counter_add_owned(&bin->slabs_made, 1);
		counter_add_owned(&bin->purged_bytes, slab_purged_bytes(slab));
	}
	return slab;
}

/* A slab has to be made: would one that was let go of lately have served? */
static void note_need(struct bin *bin)
{
	if (bin->released == 0)
		return;
	if ((uint32_t)os_now_ms() - bin->released_ms > REGRET_MS) {
		bin->released = 0;
		return;
	}
	bin->released--;
	if (bin->empties_max < EMPTIES_BYTES / (size_classes[bin->class].granules * GRANULE))
		bin->empties_max++;
}

static struct slab *first(const struct link *list)
{
	return container_of(list->next, struct slab, by_fullness);
}

static struct slab *fullest_slab(struct bin *bin, unsigned side)
{
	for (unsigned i = 0; i < SLAB_BUCKETS; i++)
		if (!list_empty(&bin->buckets[side][i]))
			return first(&bin->buckets[side][i]);
	return NULL;
}

/* all: also from the depots of threads that allocate what they free. */
static unsigned take_from_others(struct bin *bin, unsigned cache, bool all, void **objects,
    unsigned n)
{
	unsigned got = 0;

	for (unsigned i = 1; got == 0 && i < SIDES; i++) {
		struct depot *depot = &bin->depots[(cache + i) % SIDES];
		if (all || depot->own_use == 0)
			got = depot_take(depot, objects, n);
	}
	return got;
}

/* Two threads whose batches are a bit larger than what stacks and depots hold would for
 * ever take each other's objects, and their cache lines: so rather from slabs. Larger
 * objects would be too much memory left alone. */
static unsigned depots_take(struct bin *bin, unsigned cache, void **objects, unsigned n)
{
	struct depot *own = &bin->depots[cache % SIDES];

	if (bin_depot_objects(bin) == 0)
		return 0;
	unsigned got = depot_take(own, objects, n);
	if (got > 0)
		own->own_use = own->flushed_by == cache && bin->class < CLASS_L2 ? OWN_USE : 0;
	else
		got = take_from_others(bin, cache, false, objects, n);
	if (got == 0 && !fullest_slab(bin, cache % SLAB_SIDES))
		got = take_from_others(bin, cache, true, objects, n);
	return got;
}

static void note_flush(struct depot *depot, unsigned cache)
{
	if (depot->flushed_by != cache)
		depot->own_use = 0;
	else if (depot->own_use > 0)
		depot->own_use--;
	depot->flushed_by = cache;
}

/* The last one that its side had, if that is not long ago. */
static struct slab *last_empty(struct bin *bin, unsigned cache)
{
	unsigned looks = EMPTIES_LOOKS;

	for (struct link *l = bin->empty.next; l != &bin->empty && looks-- > 0; l = l->next) {
		struct slab *slab = container_of(l, struct slab, by_fullness);
		if (slab->extent.side == cache % SIDES)
			return slab;
	}
	return first(&bin->empty);
}

static struct slab *empty_slab(struct bin *bin, unsigned side, unsigned cache, bool *zeroed)
{
	struct slab *slab;

	if (!list_empty(&bin->empty)) {
		slab = last_empty(bin, cache);
		slab->extent.side = cache % SIDES;
	} else {
		note_need(bin);
		slab = add_slab(bin, cache, zeroed);
	}
	if (slab)
		slab_take_side(slab, side);
	return slab;
}

/* Slots that are free, if all that lives is in so many slabs. */
static size_t room_in(const struct bin *bin, size_t slabs)
{
	size_t slots = slabs * size_classes[bin->class].slots, live = counter_get(&bin->live);

	/* Without the lock they may not be of one moment. */
	return slots > live ? slots - live : 0;
}

/* Is there so much room in slabs that the other side's must serve? */
static bool must_share(const struct bin *bin)
{
	size_t slabs = counter_get(&bin->slabs), slots = size_classes[bin->class].slots;
	size_t room = room_in(bin, slabs);

	return room > slots && room > slabs * slots / ROOM_SHARE;
}

static struct slab *slab_with_room(struct bin *bin, unsigned cache, bool *zeroed)
{
	unsigned side = cache % SLAB_SIDES;
	struct slab *slab = fullest_slab(bin, side);

	if (!slab && list_empty(&bin->empty) && must_share(bin))
		slab = fullest_slab(bin, SLAB_SIDES - 1 - side);
	return slab ? slab : empty_slab(bin, side, cache, zeroed);
}

static struct slab *emptiest_slab(struct bin *bin, unsigned cache, bool *zeroed)
{
	unsigned side = cache % SLAB_SIDES;

	if (list_empty(&bin->empty))
		for (unsigned i = SLAB_BUCKETS; i-- > 0;)
			if (!list_empty(&bin->buckets[side][i]))
				return first(&bin->buckets[side][i]);
	return empty_slab(bin, side, cache, zeroed);
}

/* slab_take or slab_take_lines, and what the bin must know of it. Holds the lock. */
static unsigned take(struct bin *bin, struct slab *slab,
    unsigned (*from)(struct slab *, void **, unsigned), void **objects, unsigned n)
{
	uint32_t purged = slab->purged;
	size_t bytes = purged ? slab_purged_bytes(slab) : 0;
	unsigned got = from(slab, objects, n);

	if (slab->purged != purged)
		counter_add_owned(&bin->purged_bytes, slab_purged_bytes(slab) - bytes);
	place(bin, slab);
	counter_add_owned(&bin->live, got);
	return got;
}

unsigned bin_refill_lines(struct bin *bin, unsigned cache, void **objects, unsigned n)
{
	bool fresh;

	lock_acquire(&bin->lock);
	struct slab *slab = emptiest_slab(bin, cache, &fresh);
	unsigned got = slab ? take(bin, slab, slab_take_lines, objects, n) : 0;
	counter_add_owned(&bin->refills, got > 0);
	lock_release(&bin->lock);
	return got;
}

unsigned bin_refill(struct bin *bin, unsigned cache, void **objects, unsigned n, bool *zeroed)
{
	bool fresh = false;

	lock_acquire(&bin->lock);
	counter_add_owned(&bin->refills, 1);
	unsigned got = depots_take(bin, cache, objects, n);
	bool from_slabs = got == 0;
	while (from_slabs && got < n) {
		fresh = false;
		struct slab *slab = slab_with_room(bin, cache, &fresh);
		if (!slab)
			break;
		got += take(bin, slab, slab_take, objects + got, n - got);
	}
	lock_release(&bin->lock);
	if (zeroed)
		*zeroed = fresh && got == 1;
	return got;
}

bool bin_refill_aligned(struct bin *bin, unsigned cache, void **object, bool *zeroed)
{
	bool fresh = false;

	lock_acquire(&bin->lock);
	struct slab *slab = list_empty(&bin->aligned) ?
	    empty_slab(bin, ALIGNED_SIDE, cache, &fresh) : first(&bin->aligned);
	bool done = slab && take(bin, slab, slab_take, object, 1) == 1;
	counter_add_owned(&bin->refills, done);
	lock_release(&bin->lock);
	if (zeroed)
		*zeroed = fresh && done;
	return done;
}

static void slab_release(struct bin *bin, struct slab *slab)
{
	if (slab->bucket == SLAB_BUCKETS)
		counter_add_owned(&bin->empties, (size_t)-1);
	list_remove(&slab->by_fullness);
	counter_add_owned(&bin->slabs, (size_t)-1);
	counter_add_owned(&bin->purged_bytes, (size_t)0 - slab_purged_bytes(slab));
	slab_delete(slab);
}

/* More than one only where somebody will see that they are of no use. */
static unsigned empties_max(const struct bin *bin)
{
	bool age = flag_load(&background_state) != BACKGROUND_NOT_ALLOWED &&
	    setting_ms(&settings.dirty_decay_ms) != 0;

	return age ? bin->empties_max : 1;
}

/* Slots came back to the slab: to where it belongs now. Holds the lock. */
static void settle(struct bin *bin, struct slab *slab, uint32_t now)
{
	slab->freed_ms = now;
	if (slab->slots == 1) {
		/* An L2.5 object's pages may serve any class. */
		slab_release(bin, slab);
		return;
	}
	if (slab->free == slab->slots && counter_get(&bin->empties) >= empties_max(bin)) {
		bin->released++;
		bin->released_ms = now;
		slab_release(bin, slab);
		return;
	}
	place(bin, slab);
	if (list_empty(&slab->to_purge))
		list_append(&bin->to_purge, &slab->to_purge);
}

/* Holds the lock. A slab's new place is looked for once, not for each of its objects. */
static void return_locked(struct bin *bin, void **objects, unsigned n)
{
	uint32_t now = (uint32_t)os_now_ms();
	struct slab *given[GIVEN_SLABS];
	unsigned ngiven;

	for (unsigned i = 0; i < n;) {
		i += slabs_give(bin->arena, bin->class, objects + i, n - i, given, &ngiven);
		for (unsigned k = 0; k < ngiven; k++)
			settle(bin, given[k], now);
	}
	counter_add_owned(&bin->live, (size_t)0 - n);
	bin->freed_bytes += n * size_class_size(bin->class);
}

/* Holds the lock, drops it. */
static bool release_lock(struct bin *bin)
{
	bool ask = bin->freed_bytes >= ASK_BACKGROUND;

	if (ask)
		bin->freed_bytes = 0;
	lock_release(&bin->lock);
	return ask;
}

/* The oldest, at the bottom, go first. Holds the lock. */
static void depot_age(struct bin *bin, struct depot *depot, bool all)
{
	unsigned n = all ? depot->count : depot->idle;

	if (depot->count == 0)
		return;
	return_locked(bin, depot->objects, n);
	AO_int_store(&depot->count, depot->count - n);
	memmove(depot->objects, depot->objects + n, depot->count * sizeof(void *));
	depot->idle = depot->count;
}

/* Have so many slabs room for more than bytes, and than that share of what lives? */
static bool has_room(const struct bin *bin, size_t slabs, size_t bytes, unsigned share)
{
	size_t room = room_in(bin, slabs);

	return room * share > counter_get(&bin->live) &&
	    room * size_class_size(bin->class) > bytes;
}

bool bin_is_draining(const struct bin *bin)
{
	return has_room(bin, counter_get(&bin->slabs), DRAIN_BYTES, 1);
}

bool bin_is_sparse(const struct bin *bin)
{
	size_t slabs = counter_get(&bin->slabs), empties = counter_get(&bin->empties);

	return slabs > empties + 1 && has_room(bin, slabs - empties, SPARSE_BYTES, SPARSE_SHARE);
}

bool bin_flush(struct bin *bin, unsigned cache, void **objects, unsigned n)
{
	struct depot *depot = &bin->depots[cache % SIDES];

	lock_acquire(&bin->lock);
	counter_add_owned(&bin->flushes, 1);
	note_flush(depot, cache);
	if (bin_is_draining(bin)) {
		depot_age(bin, depot, true);
		return_locked(bin, objects, n);
	} else if (depot_reserve(depot, n, depot_max(bin))) {
		memcpy(depot->objects + depot->count, objects, n * sizeof(*objects));
		AO_int_store(&depot->count, depot->count + n);
		bin->freed_bytes += n * size_class_size(bin->class);
	} else {
		return_locked(bin, objects, n);
	}
	return release_lock(bin);
}

bool bin_return(struct bin *bin, void **objects, unsigned n)
{
	lock_acquire(&bin->lock);
	return_locked(bin, objects, n);
	return release_lock(bin);
}

bool bin_return_all(struct bin *bin, unsigned cache, void **objects, unsigned n)
{
	lock_acquire(&bin->lock);
	depot_age(bin, &bin->depots[cache % SIDES], true);
	return_locked(bin, objects, n);
	return release_lock(bin);
}

void bin_rest(struct bin *bin, unsigned cache)
{
	struct depot *depot = &bin->depots[cache % SIDES];

	if (AO_int_load(&depot->count) == 0)
		return;
	lock_acquire(&bin->lock);
	depot_age(bin, depot, false);
	lock_release(&bin->lock);
}

/* Did nothing come back to the slab for so long? It may have been freed into after now
 * was read: then it has no age, which is enough for 0. */
static bool has_aged(const struct slab *slab, uint64_t now_ms, uint32_t age_ms)
{
	return age_ms == 0 || (int64_t)(int32_t)((uint32_t)now_ms - slab->freed_ms) >= age_ms;
}

static void release_empties(struct bin *bin, uint64_t now_ms, uint32_t age_ms)
{
	struct link *link = bin->empty.prev;
	size_t before = counter_get(&bin->empties);

	while (link != &bin->empty) {
		struct slab *slab = container_of(link, struct slab, by_fullness);
		link = link->prev;
		if (has_aged(slab, now_ms, age_ms))
			slab_release(bin, slab);
	}
	size_t left = counter_get(&bin->empties);
	if (left < before)
		bin->empties_max = left > 1 ? (unsigned)left : 1;
}

/* Up to PURGE_BATCH slabs of the queue; true: there may be more to do now. */
static bool purge_slabs(struct bin *bin, uint64_t now_ms, uint32_t age_ms)
{
	/* A slab that was freed into since it queued goes to the end; so many
	 * looks are enough to see each once. */
	for (unsigned i = 0; i < PURGE_BATCH; i++) {
		if (list_empty(&bin->to_purge))
			return false;
		struct slab *slab = container_of(bin->to_purge.next,
		    struct slab, to_purge);
		list_remove(&slab->to_purge);
		if (has_aged(slab, now_ms, age_ms))
			counter_add_owned(&bin->purged_bytes, slab_purge(slab));
		else
			list_append(&bin->to_purge, &slab->to_purge);
	}
	return true;
}

bool bin_purge(struct bin *bin, uint64_t now_ms, ssize_t decay_ms, bool all)
{
	uint32_t age_ms = all || decay_ms < 0 ? 0 : (uint32_t)decay_ms;

	if (!counter_get(&bin->slabs) || (decay_ms < 0 && !all))
		return false;
	lock_acquire(&bin->lock);
	for (unsigned i = 0; i < SIDES; i++)
		depot_age(bin, &bin->depots[i], all);
	/* Early: what an empty slab holds decays in the page heap once more. */
	release_empties(bin, now_ms, age_ms / 8);
	/* Count the queue first: those that are too young come round again. */
	size_t queued = counter_get(&bin->slabs);
	while (purge_slabs(bin, now_ms, age_ms / 2) && queued > PURGE_BATCH) {
		queued -= PURGE_BATCH;
		lock_release(&bin->lock);
		lock_acquire(&bin->lock);
	}
	bool left = bin_depot_objects(bin) || !list_empty(&bin->empty) ||
	    !list_empty(&bin->to_purge);
	if (all || !left)
		bin->freed_bytes = 0;
	lock_release(&bin->lock);
	return left;
}

void bin_count_allocs(struct bin *bin, size_t n)
{
	lock_acquire(&bin->lock);
	counter_add_owned(&bin->allocs, n);
	lock_release(&bin->lock);
}

void bin_count_moved(struct bin *bin, int n)
{
	lock_acquire(&bin->lock);
	counter_add_owned(&bin->live, (size_t)n);
	counter_add_owned(&bin->slabs, (size_t)n);
	if (n > 0) {
		counter_add_owned(&bin->slabs_made, (size_t)n);
		counter_add_owned(&bin->allocs, (size_t)n);
	}
	lock_release(&bin->lock);
}

bool bin_holds(struct bin *bin, const void *object)
{
	bool found = false;

	lock_acquire(&bin->lock);
	for (unsigned side = 0; side < SIDES; side++)
		for (unsigned i = 0; i < bin->depots[side].count; i++)
			found |= bin->depots[side].objects[i] == object;
	lock_release(&bin->lock);
	return found;
}

void bin_reset_slab(struct bin *bin, const void *base)
{
	lock_acquire(&bin->lock);
	/* Under the lock, since the background thread may have been faster. */
	struct extent *extent = page_map_extent(base);
	if (extent && extent->base == base && extent->arena == bin->arena &&
	    extent->class == bin->class) {
		struct slab *slab = container_of(extent, struct slab, extent);
		counter_add_owned(&bin->live, (size_t)slab->free - slab->slots);
		slab->free = slab->slots;
		slab_release(bin, slab);
	}
	lock_release(&bin->lock);
}

void bin_reset(struct bin *bin)
{
	lock_acquire(&bin->lock);
	for (unsigned i = 0; i < SIDES; i++) {
		AO_int_store(&bin->depots[i].count, 0);
		bin->depots[i].idle = 0;
	}
	bin->empties_max = 1;
	bin->released = 0;
	lock_release(&bin->lock);
}

size_t bin_free_bytes(const struct bin *bin)
{
	return room_in(bin, counter_get(&bin->slabs)) * size_class_size(bin->class);
}
