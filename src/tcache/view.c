#include "tcache/view.h"

#include <string.h>

RACY_READER size_t tcache_count_racy(const struct tcache *t, size_t class)
{
	const struct cache_bin *b = &t->bins[class];
	uintptr_t head = (uintptr_t)*(void **const volatile *)&t->heads[class];
	unsigned cut = b->cut, end = cut ? cut : b->capacity + 1u;
	uintptr_t bottom = b->slots ? (uintptr_t)&b->slots[end] : 0;
	size_t n = (bottom - head) / sizeof(void *);

	return b->slots && n <= b->capacity ? n : 0;
}

RACY_READER void tcache_sum_bytes(const struct tcache *t, uint64_t *allocated,
    uint64_t *freed)
{
	*allocated = counter_get(&t->other_allocated);
	*freed = counter_get(&t->other_freed);
	for (size_t c = 1; HAK_STATS && c < CLASS_WHALE; c++) {
		const struct cache_bin *b = &t->bins[c];
		size_t allocs = counter_get(&t->allocs[c]);
		size_t pushed = tcache_count_racy(t, c) + allocs + counter_get(&b->moved);
		*allocated += (allocs + counter_get(&b->misses)) * size_class_size(c);
		*freed += pushed * size_class_size(c);
	}
}

RACY_READER void tcache_look(const struct tcache *t, long first_tid,
    struct tcache_view *view)
{
	memset(view, 0, sizeof(*view));
	/* By the tag: what the pointer leads to may not be seen here yet. */
	view->arena_id = (unsigned)(t->tag >> LG_CLASSES);
	view->tid = t->tid ? t->tid : first_tid;
	view->is_site = t->is_site;
	view->is_thread = !t->is_parked && !t->is_explicit && !t->is_site;
	tcache_sum_bytes(t, &view->allocated, &view->freed);
	view->allocated -= t->bytes.allocated_base;
	view->freed -= t->bytes.freed_base;
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		enum layer layer = size_class_layer(c);
		const struct cache_bin *b = &t->bins[c];
		size_t hits = counter_get(&t->allocs[c]);
		size_t misses = counter_get(&b->misses);
		view->hits[layer] += hits;
		view->misses[layer] += misses;
		view->allocs[c] = hits + misses - b->counted;
		view->objects[c] = tcache_count_racy(t, c);
		view->capacity[layer] += b->capacity * size_class_size(c);
		view->capacity_bytes += b->capacity * size_class_size(c);
	}
}
