/*
 * For memcheck.sh: correct use (no argument) or one mistake that memcheck must
 * see in hakmem's objects.
 */
#include "../harness.h"

int
main(int argc, char **argv)
{
	static const size_t sizes[] = { 24, 3000, 100000, 3 << 20 };
	const char *mistake = argc > 1 ? argv[1] : "none";
	volatile unsigned char *p;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		p = opaque(hak_calloc(1, sizes[i]));
		CHECK(p != NULL);
		if (p[sizes[i] - 1] != 0)
			puts("not zero");
		p = opaque(hak_realloc((void *)p, 2 * sizes[i]));
		CHECK(p != NULL);
		p[2 * sizes[i] - 1] = 1;
		if (p[0] != 0)
			puts("not kept");
		if (strcmp(mistake, "uninitialized") == 0) {
			hak_free((void *)p);
			p = opaque(hak_malloc(sizes[i]));
			CHECK(p != NULL);
			if (p[1] == 77)
				puts("77");
		}
		hak_free((void *)p);
		p = opaque((void *)p);
		if (strcmp(mistake, "read") == 0 && p[3] == 77)
			puts("77");
		if (strcmp(mistake, "write") == 0)
			p[5] = 1;
	}
	return 0;
}
