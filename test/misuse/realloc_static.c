/* A pointer to static data, resized. */
#include "misuse.h"

static char buffer[64];

int
main(void)
{
	void *p = hak_realloc(misused(buffer), 5000);

	(void)p;
	return 0;
}
