/* The first free's mapping has gone back to the system before the second. */
#include "misuse.h"

int
main(void)
{
	void *p = misused(allocate(40 << 20));

	hak_free(p);
	hak_malloc_trim(0);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
