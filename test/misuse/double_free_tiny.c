/* The smallest object, freed twice in a row. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(1));

	hak_free(p);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
