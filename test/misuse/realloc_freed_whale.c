/* An object with a mapping of its own resized after it was freed. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(4 << 20));

	hak_free(p);
	flush_caches();
	p = hak_realloc(opaque(p), 8 << 20);
	flush_caches();
	(void)p;
	return 0;
}
