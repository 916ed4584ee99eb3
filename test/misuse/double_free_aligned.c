/* An object from aligned_alloc, freed twice. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(hak_aligned_alloc(4096, 100));

	hak_free(p);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
