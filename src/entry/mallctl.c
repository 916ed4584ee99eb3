/* The control namespace, under the names that jemalloc gave it. */
#include <errno.h>

#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/site.h"
#include "entry/entry.h"

static void ensure_initialized(void)
{
	if (!entry_is_initialized())
		entry_init();
}

int hak_mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp,
    size_t newlen)
{
	struct ctl_place place;

	ensure_initialized();
	return ctl_find(name, &place) ? control(&place, oldp, oldlenp, newp, newlen) :
	    ENOENT;
}

/* A MIB is the row, then a word for each further component: the number where the
 * name has one. */
int hak_mallctlnametomib(const char *name, size_t *mibp, size_t *miblenp)
{
	struct ctl_place place;

	ensure_initialized();
	if (!ctl_find(name, &place))
		return ENOENT;
	if (!mibp || !miblenp || *miblenp == 0)
		return EINVAL;
	/* As with jemalloc: where there is less room, the first of them. */
	if (*miblenp > place.depth)
		*miblenp = place.depth;
	for (size_t i = 0; i < *miblenp; i++)
		mibp[i] = i == 0 ? place.row : 0;
	for (int k = 0; k < 2; k++)
		if (place.position[k] && place.position[k] < *miblenp)
			mibp[place.position[k]] = place.index[k];
	return 0;
}

int hak_mallctlbymib(const size_t *mib, size_t miblen, void *oldp, size_t *oldlenp,
    void *newp, size_t newlen)
{
	ensure_initialized();
	if (miblen == 0 || mib[0] >= CTL_ROWS)
		return ENOENT;
	struct ctl_place place = ctl_place_of((enum ctl_id)mib[0]);
	if (miblen != place.depth)
		return ENOENT;
	for (int k = 0; k < 2; k++)
		if (place.position[k])
			place.index[k] = mib[place.position[k]];
	return control(&place, oldp, oldlenp, newp, newlen);
}

void hak_malloc_stats_print(void (*write_cb)(void *, const char *), void *opaque,
    const char *opts)
{
	ensure_initialized();
	print_stats(write_cb, opaque, opts);
}

unsigned hak_site(const char *name)
{
	ensure_initialized();
	struct arena *arena = site_named(name);
	return arena ? arena->id : 0;
}

void *hak_alloc(size_t size, unsigned site)
{
	struct arena *arena = site <= ARENAS_LIMIT ? arena_get(site) : NULL;
	struct route route = { NULL, 0 };

	if (!arena)
		return hak_malloc(size);
	route.cache = tcache_for(arena);
	if (!route.cache)
		route.arena_id = site;
	return allocate(size, 1, false, route);
}
