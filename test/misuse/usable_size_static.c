/* The size of static data: no free is to be looked for. */
#include "misuse.h"

static char buffer[64];

int
main(void)
{
	return hak_malloc_usable_size(misused(buffer)) == 0;
}
