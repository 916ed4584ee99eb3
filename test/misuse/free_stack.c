/* A pointer to the stack. */
#include "misuse.h"

int
main(void)
{
	char buffer[64];

	hak_free(misused(buffer));
	return 0;
}
