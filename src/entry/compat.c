/* glibc's functions around malloc that report and tune. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#include "arena/background.h"
#include "ctl/control.h"
#include "entry/entry.h"
#include "page/page_heap.h"
#include "page/whale.h"

/* What went back so far, less what waits in the whale cache. */
static ptrdiff_t given_back(void)
{
	struct page_heap_stats heap;
	struct whale_stats whales;

	page_heap_stats(&heap);
	whale_stats(&whales);
	return (ptrdiff_t)heap.purged - (ptrdiff_t)whales.cached_bytes;
}

int hak_malloc_trim(size_t pad)
{
	(void)pad;
	if (!entry_is_initialized())
		entry_init();
	ptrdiff_t before = given_back();
	control_purge_all();
	return given_back() > before;
}

#if STANDARD_NAMES
ALSO_AS(malloc_trim, hak_malloc_trim);

/* What these functions tell of, also of a process that never allocated. */
struct numbers {
	size_t allocated, active, mapped, metadata, free_cached, dirty, muzzy;
	size_t whales, whale_bytes, slabs, arenas, arenas_in_use;
};

static struct numbers numbers(void)
{
	struct numbers n = { .allocated = 0 };

	if (!entry_is_initialized())
		entry_init();
	const struct snapshot *s = control_snapshot(true);
	if (!s)
		return n;
	n = (struct numbers) {
		.allocated = s->allocated, .active = s->active,
		.mapped = s->mapped, .metadata = s->metadata,
		.free_cached = s->tcache_bytes + s->depot_bytes,
		.dirty = s->dirty, .muzzy = s->muzzy, .whales = s->whales,
		.whale_bytes = s->whale_bytes, .arenas = s->narenas,
		.arenas_in_use = s->arenas_in_use,
		.slabs = snapshot_count(&s->arenas[0],
		    offsetof(struct snapshot_bin, curslabs), 1, CLASS_L25),
	};
	lock_release(&control_lock);
	return n;
}

HAK_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct numbers n = numbers();

	return (struct mallinfo2) {
		.arena = n.mapped - n.whale_bytes,
		.ordblks = n.slabs,
		.smblks = 0,
		.hblks = n.whales,
		.hblkhd = n.whale_bytes,
		.fsmblks = n.free_cached,
		.uordblks = n.allocated - n.whale_bytes,
		.fordblks = n.active - n.allocated + n.dirty,
		.keepcost = n.dirty + n.muzzy,
	};
}

static int to_int(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

HAK_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo) {
		.arena = to_int(m.arena), .ordblks = to_int(m.ordblks),
		.smblks = to_int(m.smblks), .hblks = to_int(m.hblks),
		.hblkhd = to_int(m.hblkhd), .fsmblks = to_int(m.fsmblks),
		.uordblks = to_int(m.uordblks), .fordblks = to_int(m.fordblks),
		.keepcost = to_int(m.keepcost),
	};
}

HAK_EXPORT void malloc_stats(void)
{
	hak_malloc_stats_print(NULL, NULL, NULL);
}

HAK_EXPORT int malloc_info(int flags, FILE *stream)
{
	if (flags != 0)
		return EINVAL;
	struct numbers n = numbers();
	fprintf(stream, "<malloc version=\"hakmem-%s\">\n"
	    "<arenas in_use=\"%zu\" count=\"%zu\"/>\n"
	    "<total type=\"allocated\" size=\"%zu\"/>\n"
	    "<total type=\"whale\" count=\"%zu\" size=\"%zu\"/>\n"
	    "<system type=\"current\" size=\"%zu\"/>\n"
	    "<system type=\"active\" size=\"%zu\"/>\n"
	    "<system type=\"metadata\" size=\"%zu\"/>\n</malloc>\n",
	    HAK_VERSION, n.arenas_in_use, n.arenas, n.allocated, n.whales,
	    n.whale_bytes, n.mapped, n.active, n.metadata);
	return 0;
}

/* Nothing here is tuned by glibc's parameters: as glibc for an unknown one, 1
 * is returned, so that a program does not take it for a failure. */
HAK_EXPORT int mallopt(int parameter, int value)
{
	(void)parameter;
	(void)value;
	return 1;
}
#endif
