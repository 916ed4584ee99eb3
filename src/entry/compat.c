/* glibc's functions around malloc that report and tune. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#include "arena/background.h"
#include "ctl/stats.h"
#include "entry/entry.h"

/* The statistics of a process that may not have allocated yet. */
static void collect(struct stats *stats)
{
	if (!entry_is_initialized())
		entry_init();
	stats_collect(stats);
}

int hak_malloc_trim(size_t pad)
{
	struct stats before, after;

	(void)pad;
	collect(&before);
	tcache_flush();
	background_pass(true);
	stats_collect(&after);
	return after.heap.purged > before.heap.purged ||
	    after.whales.cached_bytes < before.whales.cached_bytes;
}

void hak_malloc_stats_print(void (*write_cb)(void *, const char *),
    void *opaque, const char *opts)
{
	(void)opts;
	if (!entry_is_initialized())
		entry_init();
	stats_print(write_cb, opaque);
}

#if STANDARD_NAMES
ALSO_AS(malloc_trim, hak_malloc_trim);

HAK_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct stats s;

	collect(&s);
	return (struct mallinfo2) {
		.arena = s.mapped - s.whales.live_bytes - s.whales.cached_bytes,
		.ordblks = s.slabs,
		.smblks = 0,
		.hblks = s.whales.live,
		.hblkhd = s.whales.live_bytes,
		.fsmblks = s.depot_bytes + s.tcaches.bytes,
		.uordblks = s.allocated - s.whales.live_bytes,
		.fordblks = s.active - s.allocated + s.heap.dirty,
		.keepcost = s.heap.dirty + s.heap.muzzy,
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
	struct stats s;

	if (flags != 0) {
		errno = EINVAL;
		return -1;
	}
	collect(&s);
	fprintf(stream, "<malloc version=\"hakmem-%s\">\n"
	    "<arenas in_use=\"%zu\" count=\"%zu\"/>\n"
	    "<total type=\"allocated\" size=\"%zu\"/>\n"
	    "<total type=\"whale\" count=\"%zu\" size=\"%zu\"/>\n"
	    "<system type=\"current\" size=\"%zu\"/>\n"
	    "<system type=\"active\" size=\"%zu\"/>\n"
	    "<system type=\"metadata\" size=\"%zu\"/>\n</malloc>\n",
	    HAK_VERSION, s.arenas_in_use, s.arenas, s.allocated, s.whales.live,
	    s.whales.live_bytes, s.mapped, s.active, s.metadata);
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
