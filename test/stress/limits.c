/*
 * limit.soft_bytes: above it free memory goes back long before its decay time, and
 * where that does not help the callback is told; in a process that can have no file
 * for its stats segment, too.
 */
#include "../harness.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define OBJECTS 10000
#define SIZE 10000u
#define LIMIT ((size_t)64 << 20)

static void *objects[OBJECTS];
static volatile size_t told;

static void
over(size_t resident)
{
	told = resident;
}

static void
set(const char *name, void *value, size_t size)
{
	CHECK(hak_mallctl(name, NULL, NULL, value, size) == 0);
}

/* Wait until the condition holds; the default decay time is five seconds. */
#define WITHIN_A_SECOND(condition) \
	do { \
		int tries_ = 0; \
		while (!(condition) && tries_++ < 20) \
			usleep(50000); \
		CHECK(condition); \
	} while (0)

/* What classes round up to and nobody wrote is no memory: 600,000 bytes take 768 KiB of
 * address space. */
static void
count_as_the_kernel(void)
{
	long long purges = stat_get("limit.purges");
	int i;

	for (i = 0; i < 100; i++)
		CHECK((objects[i] = hak_malloc(600000)) != NULL);
	CHECK(stat_get("stats.resident") > (long long)LIMIT);
	usleep(500000);
	CHECK(told == 0 && stat_get("limit.purges") == purges);
	for (i = 0; i < 100; i++)
		hak_free(objects[i]);
}

static int
test(bool is_counted)
{
	void (*callback)(size_t) = over;
	size_t limit = LIMIT, none = 0;
	long long purges, resident;
	int i;

	if (stat_get("stats.resident") < 0)
		return 77;
	set("limit.callback", &callback, sizeof(callback));
	set("limit.soft_bytes", &limit, sizeof(limit));
	CHECK(stat_get("limit.soft_bytes") == (long long)LIMIT);
	if (is_counted)
		count_as_the_kernel();
	for (i = 0; i < OBJECTS; i++) {
		objects[i] = hak_malloc(SIZE);
		CHECK(objects[i] != NULL);
		memset(objects[i], 1, SIZE);
	}
	if (stat_get("stats.background_thread.num_threads") == 0)
		return 77;
	WITHIN_A_SECOND(told > LIMIT);
	purges = stat_get("limit.purges");
	CHECK(purges > 0);

	/* All but a tenth is freed: below the limit, but for what waits to decay. */
	for (i = 0; i < OBJECTS; i++)
		if (i % 10) {
			hak_free(objects[i]);
			objects[i] = NULL;
		}
	WITHIN_A_SECOND(stat_get("stats.resident") < (long long)LIMIT);

	/* Without a limit what is freed rests for a while. */
	set("limit.soft_bytes", &none, sizeof(none));
	for (i = 0; i < OBJECTS; i++)
		if (!objects[i]) {
			objects[i] = hak_malloc(SIZE);
			memset(objects[i], 1, SIZE);
		}
	resident = stat_get("stats.resident");
	for (i = 0; i < OBJECTS; i++)
		if (i % 10)
			hak_free(objects[i]);
	usleep(500000);
	CHECK(stat_get("stats.resident") > resident * 3 / 4);
	return 0;
}

int
main(void)
{
	const struct rlimit none = { 0, 0 };
	int status;
	pid_t child = fork();

	if (child == 0) {
		CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
		_exit(test(false));
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
	return test(true);
}
