/* A program with a malloc family of its own calls the C library's reallocarray, which must
 * call the program's realloc. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

static char pool[65536];
static size_t used;
static int reallocs;

void *
malloc(size_t size)
{
	void *p = pool + used;

	used += (size + 31) / 16 * 16;
	return used <= sizeof(pool) ? p : NULL;
}

void *
calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *
realloc(void *p, size_t size)
{
	void *to = malloc(size);

	reallocs++;
	return p != NULL ? memcpy(to, p, 8) : to;
}

void
free(void *p)
{
	(void)p;
}

int
main(void)
{
	char *p = malloc(10);

	strcpy(p, "hello");
	p = reallocarray(p, 20, 10);
	free(p);
	return reallocs != 1 || strcmp(p, "hello") != 0;
}
