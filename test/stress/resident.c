/*
 * stats.resident against what the kernel says (smaps_rollup): within 2 % while a
 * heap grows, is half freed, is purged, and is full of whales; and the order
 * allocated <= active <= resident <= mapped at each of these points.
 */
#include "../harness.h"

#define OBJECTS 300000

static void *objects[OBJECTS];

static long long
kernel_resident(void)
{
	char line[256];
	long long kib = -1;
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Rss: %lld kB", &kib) == 1)
			break;
	fclose(f);
	CHECK(kib > 0);
	return kib * 1024;
}

/* Of the process without what hakmem counts. */
static long long rest;

static void
compare(const char *when)
{
	long long resident = stat_get("stats.resident");
	long long kernel = kernel_resident() - rest;
	long long off = resident > kernel ? resident - kernel : kernel - resident;

	printf("resident: %s: %lld KiB, the kernel %lld KiB\n", when,
	    resident / 1024, kernel / 1024);
	CHECK(off * 50 <= kernel);
	CHECK(stat_get("stats.allocated") <= stat_get("stats.active"));
	CHECK(stat_get("stats.active") <= stat_get("stats.resident"));
	CHECK(stat_get("stats.resident") <= stat_get("stats.mapped"));
}

static void
fill(size_t first, size_t most)
{
	size_t i;

	for (i = first; i < OBJECTS; i += 2) {
		size_t size = 1 + rand() % (rand() % 100 ? 1500 : most);

		objects[i] = hak_malloc(size);
		CHECK(objects[i] != NULL);
		memset(objects[i], 1, hak_malloc_usable_size(objects[i]));
	}
}

int
main(void)
{
	bool off = false;
	size_t i;

	if (stat_get("stats.resident") < 0)
		return 77;
	/* Nothing else may change it meanwhile. */
	hak_mallctl("background_thread", NULL, NULL, &off, sizeof(off));
	fill(0, 100000);
	for (i = 0; i < OBJECTS; i += 2) {
		hak_free(objects[i]);
		objects[i] = NULL;
	}
	hak_malloc_trim(0);
	rest = kernel_resident() - stat_get("stats.resident");
	fill(0, 100000);
	compare("half full");
	fill(1, 100000);
	compare("full");
	for (i = 0; i < OBJECTS; i++)
		if (i % 16) {
			hak_free(objects[i]);
			objects[i] = NULL;
		}
	compare("a sixteenth left");
	hak_malloc_trim(0);
	compare("purged");
	for (i = 1; i < 40; i++) {
		objects[i] = hak_malloc(i << 19);
		CHECK(objects[i] != NULL);
		memset(objects[i], 1, i << 19);
	}
	compare("with whales");
	for (i = 1; i < 40; i += 2)
		hak_free(objects[i]);
	compare("half of them freed");
	hak_malloc_trim(0);
	compare("purged again");
	return 0;
}
