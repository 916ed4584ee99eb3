/* A pointer that was moved along a string: seen at once, not when the caches are
 * emptied, where it is not aligned as objects are. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused_inside(allocate(100), 13));
	return 0;
}
