/* A pointer into an object, resized. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(64);

	p = hak_realloc(misused_inside(p, 16), 5000);
	flush_caches();
	(void)p;
	return 0;
}
