/* An address next to NULL. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused((void *)(uintptr_t)16));
	return 0;
}
