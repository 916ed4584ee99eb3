/* A pointer to code. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused((void *)(uintptr_t)&main));
	return 0;
}
