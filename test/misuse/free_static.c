/* A pointer to static data. */
#include "misuse.h"

static char buffer[64];

int
main(void)
{
	hak_free(misused(buffer));
	return 0;
}
