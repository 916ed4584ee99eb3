/* Freed twice with one other free between: a list through the objects would lead in
 * a circle from here on. Seen at once, not when the caches are emptied. */
#include "misuse.h"

int
main(void)
{
	void *other = allocate(64);
	void *p = misused(allocate(64));

	hak_free(p);
	hak_free(other);
	hak_free(opaque(p));
	return 0;
}
