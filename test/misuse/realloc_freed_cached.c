/* An object of the L2.5 range resized while it lies on the thread's stack. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(200 << 10), *q;

	/* Until the thread has such a stack. */
	for (int i = 0; i < 100; i++) {
		q = allocate(200 << 10);
		hak_free(p);
		p = q;
	}
	hak_free(misused(p));
	p = hak_realloc(opaque(p), 60 << 10);
	(void)p;
	return 0;
}
