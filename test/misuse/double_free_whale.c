/* An object with a mapping of its own, freed twice in a row. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(4 << 20));

	hak_free(p);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
