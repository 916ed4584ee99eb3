/*
 * A program that limits its own address space when it runs already, to less than the
 * page map takes: what it may use is for it, by malloc and by mmap. Two ways to set the
 * limit: libc's, and past it.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ROOM (64 * MIB)
/* Its slabs have no colours: those of 1,024 bytes give one slot of 16 to that. */
#define OBJECT 896
/* More whales than the map keeps room for. */
#define WHALES 40
#define WHALE ((size_t)1 << 30)

/* In use without what the allocator's map takes, and so much more. */
static void
limit(bool libc)
{
	size_t mapped = (size_t)proc_kib("/proc/self/status", "VmSize:") * KIB;
	struct rlimit limit = { mapped - 256 * MIB + ROOM, RLIM_INFINITY };

	CHECK(mapped > 256 * MIB);
	CHECK(libc ? setrlimit(RLIMIT_AS, &limit) == 0 :
	    syscall(SYS_setrlimit, RLIMIT_AS, &limit) == 0);
}

static void
use(bool libc)
{
	static void *held[100000];
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	static char *whales[WHALES];
	int n, i;
	void *p;

	limit(libc);
	if (libc) {
		p = mmap(NULL, 16 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(p != MAP_FAILED);
		munmap(p, 16 * MIB);
	}
	for (n = 0; (held[n] = opaque(malloc(OBJECT))) != NULL; n++)
		memset(held[n], n & 0xff, OBJECT);
	CHECK(errno == ENOMEM);
	CHECK((size_t)n * OBJECT > ROOM / 4 * 3);
	for (i = 0; i < n; i++) {
		CHECK(((unsigned char *)held[i])[OBJECT - 1] == (i & 0xff));
		free(held[i]);
	}
	p = opaque(malloc(ROOM / 2));
	CHECK(p != NULL);
	free(p);

	/* Parts of the map that are gone come back. */
	CHECK(setrlimit(RLIMIT_AS, &none) == 0);
	for (i = 0; i < WHALES; i++) {
		whales[i] = opaque(malloc(WHALE));
		CHECK(whales[i] != NULL);
		whales[i][WHALE - 1] = 1;
	}
	for (i = 0; i < WHALES; i++)
		free(whales[i]);
}

static void
by_libc(void)
{
	use(true);
}

static void
past_libc(void)
{
	use(false);
}

/* Whales of several threads, and such as the system does not grow, lie where the small map
 * has them: no room is left for another. */
static void *
churn(void *seed)
{
	static __thread char *held[6];
	unsigned rng = (unsigned)(uintptr_t)seed;

	for (int i = 0; i < 2000; i++) {
		char **p = &held[rand_r(&rng) % 6];
		free(*p);
		*p = opaque(malloc(MIB + 1 + (size_t)rand_r(&rng) % 1024 * 16 * KIB));
		CHECK(*p != NULL);
		**p = 1;
	}
	for (int i = 0; i < 6; i++)
		free(held[i]);
	return NULL;
}

static void
whales(void)
{
	static struct rlimit much = { 4096 * MIB, 4096 * MIB };
	pthread_t threads[4];
	char *p = opaque(malloc(8 * MIB)), *guard = opaque(malloc(2 * MIB));

	CHECK(p != NULL && guard != NULL);
	memset(p, 1, 8 * MIB);
	CHECK(setrlimit(RLIMIT_AS, &much) == 0);
	for (size_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* Several mappings to the system. */
	madvise(p + 4096 - (uintptr_t)p % 4096, MIB, MADV_HUGEPAGE);
	p = opaque(realloc(p, 64 * MIB));
	CHECK(p != NULL && p[8 * MIB - 1] == 1);
	for (int i = 0; i < 5; i++)
		CHECK(opaque(malloc(16 * MIB)) != NULL);
}

int
main(void)
{
	static const struct child_case cases[] = {
		{ "by libc", by_libc },
		{ "past libc", past_libc },
		{ "whales", whales },
	};
	struct rlimit limit;

	/* From the start: a small map. */
	if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY)
		return SKIP;
	run_in_children("late_limit", cases, sizeof(cases) / sizeof(*cases));
	return 0;
}
