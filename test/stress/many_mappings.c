/*
 * 100,000 live objects that have a mapping each must not hit the system's
 * limit on mappings (vm.max_map_count, 65,530), nor may holes between them.
 *
 * usage: many_mappings [-n objects]
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <sys/mman.h>

#define SIZE (MIB + 1000)

static size_t objects = 100000;
static unsigned char **object;

static void
make(size_t i)
{
	object[i] = opaque(hak_malloc(SIZE));
	if (object[i] == NULL)
		fail("many_mappings: object %zu: %s", i, strerror(errno));
	/* Touching all would take 400 MiB. */
	if (i % 16 < 2) {
		memcpy(object[i], &i, sizeof(i));
		memcpy(object[i] + SIZE - sizeof(i), &i, sizeof(i));
	}
}

static void
check_free(size_t i)
{
	if (i % 16 < 2) {
		CHECK(memcmp(object[i], &i, sizeof(i)) == 0);
		CHECK(memcmp(object[i] + SIZE - sizeof(i), &i,
		    sizeof(i)) == 0);
	}
	hak_free(object[i]);
	object[i] = NULL;
}

/* Other allocation goes on, too. */
static void
use_others(void)
{
	size_t size;
	void *p;

	for (size = 8; size <= 16 * MIB; size *= 2) {
		p = opaque(hak_calloc(1, size));
		CHECK(p != NULL);
		memset(p, 1, size < 65536 ? size : 65536);
		hak_free(p);
	}
}

static size_t
mappings(void)
{
	static char buffer[65536];
	size_t lines = 0;
	ssize_t n, i;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	return lines;
}

int
main(int argc, char **argv)
{
	size_t i, all, half;
	double resident;
	int c;

	if (HAVE_SANITIZER)
		objects = 2000;
	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n')
			return 2;
		objects = (size_t)atol(optarg);
	}
	if (proc_kib("/proc/sys/vm/overcommit_memory", "") == 2) {
		puts("skip: many_mappings: the system does not overcommit");
		return SKIP;
	}
	alarm(300);
	object = mmap(NULL, objects * sizeof(*object), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(object != MAP_FAILED);
	for (i = 0; i < objects; i++)
		make(i);
	all = mappings();
	use_others();
	for (i = 1; i < objects; i += 2)
		check_free(i);
	half = mappings();
	use_others();
	/* The holes serve again. */
	for (i = 1; i < objects; i += 2)
		make(i);
	use_others();
	for (i = 1; i < objects; i += 2)
		check_free(i);
	for (i = 0; i < objects; i += 2)
		check_free(i);
	use_others();
	hak_malloc_trim(0);
	resident = resident_mib();
	printf("many_mappings: %zu objects: %zu mappings, every second freed: "
	    "%zu, all freed: %zu, %.1f MiB resident\n", objects, all, half,
	    mappings(), resident);
	if (!HAVE_SANITIZER)
		CHECK(resident < 128);
	puts("many_mappings: ok");
	return 0;
}
