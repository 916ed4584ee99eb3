/* Other objects come and go between the two frees. */
#include "misuse.h"

#define OTHERS 100000

int
main(void)
{
	static void *other[OTHERS];
	void *p;
	int i;

	for (i = 0; i < OTHERS / 2; i++)
		other[i] = allocate(64);
	p = misused(allocate(64));
	for (; i < OTHERS; i++)
		other[i] = allocate(64);
	hak_free(p);
	for (i = 0; i < OTHERS; i++)
		hak_free(other[i]);
	hak_free(opaque(p));
	flush_caches();
	return 0;
}
