/* The last address of all. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused((void *)UINTPTR_MAX));
	return 0;
}
