/* Freed twice past the thread caches. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(64));

	hak_dallocx(p, HAK_TCACHE_NONE);
	hak_dallocx(opaque(p), HAK_TCACHE_NONE);
	flush_caches();
	return 0;
}
