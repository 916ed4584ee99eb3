/* An object of the L2.5 range resized after it was freed. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(200 << 10));

	hak_free(p);
	flush_caches();
	p = hak_realloc(opaque(p), 900 << 10);
	flush_caches();
	(void)p;
	return 0;
}
