/*
 * Out of memory: NULL and ENOMEM, and the process goes on. Also sizes which no
 * object can have, and normal work in 1,000,000 KiB of address space.
 *
 * usage: oom [limited]	without argument: both cases, as processes
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HOLD 300000
#define ROOM (256 * MIB)

static void *held[HOLD];

static size_t
address_space(void)
{
	return (size_t)proc_kib("/proc/self/status", "VmSize:") * KIB;
}

static void
limit(size_t bytes)
{
	struct rlimit rlimit;

	CHECK(getrlimit(RLIMIT_AS, &rlimit) == 0);
	rlimit.rlim_cur = bytes;
	CHECK(setrlimit(RLIMIT_AS, &rlimit) == 0);
}

/* Allocate until there is no more; returns how many. */
static int
exhaust(size_t size)
{
	int n;

	for (n = 0; n < HOLD; n++) {
		errno = 0;
		held[n] = opaque(hak_malloc(size));
		if (held[n] == NULL)
			break;
		memset(held[n], n & 0xff, size < 64 ? size : 64);
	}
	CHECK(n < HOLD);
	CHECK(errno == ENOMEM);
	return n;
}

static void
release(int n, size_t size)
{
	while (n-- > 0) {
		CHECK(size == 0 ||
		    ((unsigned char *)held[n])[size < 64 ? size - 1 : 63] ==
		    (n & 0xff));
		hak_free(held[n]);
	}
}

static void
all_calls_fail(void *live)
{
	static const size_t big[] = {
		(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096,
		SIZE_MAX - 15, SIZE_MAX, SIZE_MAX / 2 - 100, (size_t)1 << 47
	};
	size_t i, n;
	void *p;

#define FAILS(call)                                                            \
	do {                                                                   \
		errno = 0;                                                     \
		CHECK(opaque(call) == NULL);                                   \
		CHECK(errno == ENOMEM);                                        \
	} while (0)
	for (i = 0; i < sizeof(big) / sizeof(*big); i++) {
		n = opaque_size(big[i]);
		FAILS(hak_malloc(n));
		FAILS(hak_calloc(1, n));
		FAILS(hak_calloc(n, 1));
		FAILS(hak_realloc(NULL, n));
		FAILS(hak_realloc(live, n));
		FAILS(hak_reallocarray(live, n, 1));
		FAILS(hak_aligned_alloc(4096, n));
		FAILS(hak_memalign(64, n));
		FAILS(hak_valloc(n));
		FAILS(hak_pvalloc(n));
		FAILS(hak_mallocx(n, 0));
		FAILS(hak_mallocx(n, HAK_ALIGN(1 << 20) | HAK_ZERO));
		FAILS(hak_rallocx(live, n, 0));
		p = live;
		errno = 7;
		CHECK(hak_posix_memalign(&p, 64, n) == ENOMEM);
		CHECK(p == live && errno == 7);
	}
	/* The count overflows, to something small. */
	FAILS(hak_calloc(opaque_size(SIZE_MAX / 2 + 1), 2));
	FAILS(hak_calloc(opaque_size((size_t)1 << 32), (size_t)1 << 32));
	FAILS(hak_reallocarray(live, opaque_size(SIZE_MAX / 16 + 2), 16));
#undef FAILS
}

static int
exhausted(void)
{
	static const size_t sizes[] = { 5 * MIB, MIB, 100000, 20000, 4000 };
	unsigned char *live = opaque(hak_malloc(1000));
	size_t i, bytes, most = 0;
	int n, again;
	void *p;

	CHECK(live != NULL);
	memset(live, 0x77, 1000);
	all_calls_fail(live);
	limit(address_space() + ROOM);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		n = exhaust(sizes[i]);
		bytes = (size_t)n * hak_malloc_usable_size(held[0]);
		printf("oom: %d objects of %zu bytes: %zu KiB\n", n, sizes[i],
		    bytes / KIB);
		/* What one size gave back another gets, but for metadata. */
		CHECK(bytes > ROOM / 4 * 3);
		CHECK(bytes > most / 100 * 93);
		if (most < bytes)
			most = bytes;
		all_calls_fail(live);
		errno = 0;
		CHECK(opaque(hak_realloc(live, ROOM)) == NULL);
		CHECK(errno == ENOMEM);
		CHECK(live[0] == 0x77 && live[999] == 0x77);
		release(n, sizes[i]);
		if (sizes[i] > MIB) {
			p = opaque(hak_malloc(ROOM / 4));
			CHECK(p != NULL);
			hak_free(p);
		}
		again = exhaust(sizes[i]);
		CHECK(again >= n - n / 8);
		release(again, sizes[i]);
	}
	CHECK(live[0] == 0x77 && live[999] == 0x77);
	hak_free(live);
	puts("oom: exhausted: ok");
	return 0;
}

static void *
normal_work(void *arg)
{
	enum { LIVE = 300 };
	uint64_t rng = (uintptr_t)arg;
	unsigned char *p[LIVE] = { NULL };
	int i, n;

	for (n = 0; n < 30000; n++) {
		size_t size = rng_below(&rng, 40) == 0 ?
		    1 + rng_below(&rng, 400000) : 1 + rng_below(&rng, 5000);

		i = (int)rng_below(&rng, LIVE);
		if (p[i] != NULL)
			CHECK(p[i][0] == (unsigned char)i);
		hak_free(p[i]);
		p[i] = opaque(hak_malloc(size));
		CHECK(p[i] != NULL);
		memset(p[i], i, size);
	}
	for (i = 0; i < LIVE; i++)
		hak_free(p[i]);
	return NULL;
}

/* In a process that had this limit from its start. */
static int
limited(void)
{
	pthread_t thread[4];
	size_t t;
	void *p;

	for (t = 0; t < 4; t++)
		CHECK(pthread_create(&thread[t], NULL, normal_work,
		    (void *)(t + 1)) == 0);
	for (t = 0; t < 4; t++)
		pthread_join(thread[t], NULL);
	/* The greater part of it can be had in one piece. */
	p = opaque(hak_malloc(500 * MIB));
	CHECK(p != NULL);
	memset(p, 1, 100 * MIB);
	hak_free(p);
	errno = 0;
	CHECK(opaque(hak_malloc(1100 * MIB)) == NULL && errno == ENOMEM);
	normal_work((void *)9);
	puts("oom: limited: ok");
	return 0;
}

static int
start(char *self, const char *name, size_t bytes)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		if (bytes != 0)
			limit(bytes);
		execl("/proc/self/exe", self, name, (char *)NULL);
		_exit(2);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

int
main(int argc, char **argv)
{
	alarm(200);
	if (HAVE_SANITIZER) {
		puts("skip: oom: a sanitizer needs the address space itself");
		return SKIP;
	}
	if (argc > 1)
		return strcmp(argv[1], "limited") == 0 ? limited() : exhausted();
	if (start(argv[0], "exhausted", 0) != 0 ||
	    start(argv[0], "limited", (size_t)1000000 * KIB) != 0)
		return 1;
	puts("oom: ok");
	return 0;
}
