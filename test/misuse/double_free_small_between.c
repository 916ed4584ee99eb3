/* Freed twice with one other free between, so that it is not on top of
 * any cache the second time. */
#include "misuse.h"

int
main(void)
{
	void *other = allocate(64);
	void *p = misused(allocate(64));

	hak_free(p);
	hak_free(other);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
