/* As double_free_small_delayed, in the L2 range. */
#include "misuse.h"

#define OTHERS 4000

int
main(void)
{
	static void *other[OTHERS];
	void *p = misused(allocate(3000));
	int i;

	for (i = 0; i < OTHERS; i++)
		other[i] = allocate(3000);
	hak_free(p);
	for (i = 0; i < OTHERS; i++)
		hak_free(other[i]);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
