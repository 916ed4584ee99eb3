/* An object of the L2.5 range, freed twice in a row. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(200 << 10));

	hak_free(p);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
