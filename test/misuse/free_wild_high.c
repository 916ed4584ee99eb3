/* An address that no user space has. */
#include "misuse.h"

int
main(void)
{
	hak_free(misused((void *)(uintptr_t)0xdeadbeefdeadbeefu));
	return 0;
}
