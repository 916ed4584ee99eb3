/* The same, where the stack gave it up: the oldest of many. */
#include "misuse.h"

int
main(void)
{
	void *p[24];

	/* The last time with a stack that is as large as it will be. */
	for (int i = 0; i <= 20; i++) {
		for (int k = 0; k < 24; k++)
			p[k] = allocate(128 << 10);
		hak_free(i < 20 ? p[0] : misused(p[0]));
		for (int k = 1; k < 12; k++)
			hak_free(p[k]);
		for (int k = 12; i < 20 && k < 24; k++)
			hak_free(p[k]);
	}
	p[0] = hak_realloc(opaque(p[0]), 40000);
	return 0;
}
