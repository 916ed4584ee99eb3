/* 64 KiB into an object of the L2.5 range. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(200 << 10);

	hak_free(misused_inside(p, 64 << 10));
	flush_caches();
	return 0;
}
