/*
 * For conf.sh: allocates from each range and prints the statistics. Starts no
 * thread of its own.
 */
#include "../harness.h"

static void
print(void *arg, const char *text)
{
	fputs(text, arg);
}

int
main(void)
{
	static const size_t sizes[] = { 1, 100, 5000, 100000, 3000000 };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned char *p = opaque(hak_malloc(sizes[i]));

		CHECK(p != NULL);
		memset(p, 1, sizes[i]);
		hak_free(p);
	}
	hak_malloc_stats_print(print, stdout, NULL);
	return 0;
}
