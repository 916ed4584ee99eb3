/* Memory that the program mapped itself. */
#include "misuse.h"

int
main(void)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 2;
	hak_free(misused(p));
	return 0;
}
