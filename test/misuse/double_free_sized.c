/* Freed twice by the sized form. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(100));

	hak_free_sized(p, 100);
	hak_free_sized(opaque(p), 100);
	flush_caches();
	return 0;
}
