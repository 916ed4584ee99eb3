/* A small object resized after it was freed. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(64));

	hak_free(p);
	flush_caches();
	p = hak_realloc(opaque(p), 5000);
	flush_caches();
	(void)p;
	return 0;
}
