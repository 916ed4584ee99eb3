/* 16 bytes into a small object. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(64);

	hak_free(misused_inside(p, 16));
	flush_caches();
	return 0;
}
