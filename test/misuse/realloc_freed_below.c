/* The same, below others. */
#include "misuse.h"

int
main(void)
{
	void *p[3];

	/* The last time with a stack that has room for three. */
	for (int i = 0; i <= 100; i++) {
		for (int k = 0; k < 3; k++)
			p[k] = allocate(128 << 10);
		hak_free(i < 100 ? p[0] : misused(p[0]));
		hak_free(p[1]);
		hak_free(p[2]);
	}
	p[0] = hak_realloc(opaque(p[0]), 40000);
	return 0;
}
