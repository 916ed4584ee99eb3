#include "tcache/explicit.h"

static AO_t caches[EXPLICIT_MAX]; /* struct tcache * */

unsigned explicit_create(void)
{
	struct tcache *t = tcache_create_explicit();

	for (unsigned i = 0; t && i < EXPLICIT_MAX; i++)
		/* Pairs with the load in explicit_get. */
		if (!flag_load(&caches[i]) && pointer_cas_release(&caches[i], NULL, t))
			return i;
	if (t)
		tcache_destroy_explicit(t);
	return EXPLICIT_MAX;
}

struct tcache *explicit_get(unsigned number)
{
	/* Pairs with the exchange in explicit_create. */
	return number < EXPLICIT_MAX ? pointer_load_acquire(&caches[number]) : NULL;
}

bool explicit_destroy(unsigned number)
{
	struct tcache *t = explicit_get(number);

	if (!t || !pointer_cas_release(&caches[number], t, NULL))
		return false;
	tcache_destroy_explicit(t);
	return true;
}
