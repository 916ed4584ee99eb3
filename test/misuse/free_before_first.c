/* A foreign pointer, and nothing was allocated before. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused((void *)(uintptr_t)0x123456789000u));
	return 0;
}
