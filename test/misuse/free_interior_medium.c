/* A page into an object of the L2 range. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(8 << 10);

	hak_free(misused_inside(p, 4096));
	flush_caches();
	return 0;
}
