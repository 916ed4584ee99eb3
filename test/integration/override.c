/*
 * The standard names, in a program that is just linked with -lhakmem: that
 * they are hakmem's, also inside libc, and behave as glibc's.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

/* C23, not in this glibc's headers; hakmem has them. */
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));

static bool
same_library(const char *name)
{
	Dl_info hak, std;
	void *symbol = dlsym(RTLD_DEFAULT, name);

	if (symbol == NULL)
		fail("override: no %s", name);
	CHECK(dladdr((void *)(uintptr_t)&hak_malloc_trim, &hak) != 0);
	CHECK(dladdr(symbol, &std) != 0);
	return hak.dli_fbase == std.dli_fbase;
}

static void
names(void)
{
	static const char *const all[] = {
		"malloc", "calloc", "realloc", "reallocarray", "free",
		"posix_memalign", "aligned_alloc", "memalign", "valloc",
		"pvalloc", "malloc_usable_size", "free_sized",
		"free_aligned_sized", "malloc_trim", "mallinfo2", "mallinfo",
		"malloc_stats", "malloc_info", "mallopt",
		/* operator new, new[], delete, delete[] and their like */
		"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t",
		"_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t",
		"_ZnamSt11align_val_tRKSt9nothrow_t", "_ZdlPv", "_ZdaPv",
		"_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t", "_ZdlPvm",
		"_ZdaPvm", "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t",
		"_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
		"_ZdlPvSt11align_val_tRKSt9nothrow_t",
		"_ZdaPvSt11align_val_tRKSt9nothrow_t"
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!same_library(all[i]))
			fail("override: %s is not hakmem's", all[i]);
}

static void
basics(void)
{
	size_t i, size;
	void *p, *q;
	char *s;

	p = opaque(malloc(opaque_size(0)));
	q = opaque(malloc(opaque_size(0)));
	CHECK(p != NULL && q != NULL && p != q);
	errno = 99;
	free(p);
	free(q);
	free(NULL);
	CHECK(errno == 99);
	for (size = 1; size < 20 * MIB; size = size * 5 / 3 + 1) {
		p = opaque(malloc(size));
		CHECK(p != NULL && malloc_usable_size(p) >= size);
		CHECK(malloc_usable_size(p) == hak_malloc_usable_size(p));
		memset(p, 0xcc, size);
		p = opaque(realloc(p, size * 2));
		CHECK(p != NULL && ((unsigned char *)p)[size - 1] == 0xcc);
		/* One heap under both sets of names. */
		hak_free(p);
		p = opaque(calloc(2, size));
		CHECK(p != NULL);
		for (i = 0; i < 2 * size; i += 1 + size / 64)
			CHECK(((unsigned char *)p)[i] == 0);
		free(p);
		p = opaque(reallocarray(NULL, size, 3));
		CHECK(p != NULL && malloc_usable_size(p) >= 3 * size);
		CHECK(realloc(p, opaque_size(0)) == NULL);
		if (free_sized != NULL) {
			free_sized(opaque(malloc(size)), size);
			free_aligned_sized(opaque(aligned_alloc(128, size)),
			    128, size);
		}
	}
	/* libc allocates from it, too. */
	s = opaque(strdup("an object that libc made"));
	CHECK(s != NULL && hak_malloc_usable_size(s) >= strlen(s) + 1);
	hak_free(s);
	CHECK(asprintf(&s, "%d %s", 12, "more") > 0);
	hak_free(s);
}

static void
aligned(void)
{
	size_t alignment;
	void *p;

	for (alignment = 8; alignment <= MIB; alignment *= 2) {
		CHECK(posix_memalign(&p, alignment, 1000) == 0);
		CHECK((uintptr_t)p % alignment == 0);
		free(p);
		p = opaque(aligned_alloc(alignment, 3 * alignment));
		CHECK(p != NULL && (uintptr_t)p % alignment == 0);
		free(p);
		p = opaque(memalign(alignment, 77));
		CHECK(p != NULL && (uintptr_t)p % alignment == 0);
		free(p);
	}
	p = &p;
	CHECK(posix_memalign(&p, opaque_size(24), 10) == EINVAL && p == &p);
	CHECK(posix_memalign(&p, opaque_size(4), 10) == EINVAL);
	CHECK(posix_memalign(&p, 64, opaque_size(SIZE_MAX)) == ENOMEM);
	errno = 0;
	CHECK(opaque(aligned_alloc(opaque_size(48), 96)) == NULL && errno == EINVAL);
	p = opaque(valloc(10));
	CHECK(p != NULL && (uintptr_t)p % 4096 == 0);
	free(p);
	p = opaque(pvalloc(10));
	CHECK(p != NULL && (uintptr_t)p % 4096 == 0 &&
	    malloc_usable_size(p) >= 4096);
	free(p);
	errno = 0;
	CHECK(opaque(malloc(opaque_size((size_t)PTRDIFF_MAX + 1))) == NULL);
	CHECK(errno == ENOMEM);
	errno = 0;
	CHECK(opaque(calloc(opaque_size(SIZE_MAX / 2), 4)) == NULL &&
	    errno == ENOMEM);
	errno = 0;
	CHECK(opaque(reallocarray(NULL, opaque_size(SIZE_MAX / 2), 4)) == NULL &&
	    errno == ENOMEM);
}

static void
information(void)
{
	struct mallinfo2 info, info2;
	struct mallinfo old;
	char text[65536];
	void *p;
	FILE *f;
	int fd;

	info = mallinfo2();
	p = opaque(malloc(30 * MIB));
	memset(p, 1, 30 * MIB);
	info2 = mallinfo2();
	old = mallinfo();
	/* Large blocks may be counted as mapped ones. */
	CHECK(info2.uordblks + info2.hblkhd - info.uordblks - info.hblkhd >=
	    30 * MIB);
	CHECK(old.uordblks + old.hblkhd >= (int)(30 * MIB));
	free(p);

	CHECK(mallopt(M_MMAP_THRESHOLD, 100000) == 0 ||
	    mallopt(M_MMAP_THRESHOLD, 100000) == 1);
	mallopt(M_TRIM_THRESHOLD, 100000);
	mallopt(M_ARENA_MAX, 1);
	mallopt(12345, 1);

	f = tmpfile();
	CHECK(f != NULL);
	errno = 0;
	CHECK(malloc_info(0, f) == 0);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	CHECK(strncmp(text, "<malloc version=", 16) == 0);
	CHECK(strstr(text, "</malloc>") != NULL);
	CHECK(malloc_info(1, f) == EINVAL);
	fclose(f);

	/* malloc_stats writes to stderr. */
	f = tmpfile();
	CHECK(f != NULL);
	fd = dup(STDERR_FILENO);
	fflush(stderr);
	dup2(fileno(f), STDERR_FILENO);
	malloc_stats();
	fflush(stderr);
	dup2(fd, STDERR_FILENO);
	close(fd);
	CHECK(lseek(fileno(f), 0, SEEK_END) > 0);
	fclose(f);

	p = opaque(malloc(500000));
	memset(p, 1, 500000);
	free(p);
	CHECK(malloc_trim(0) == 1);
}

static void *
in_thread(void *arg)
{
	(void)arg;
	basics();
	return NULL;
}

int
main(void)
{
	pthread_t thread;

	alarm(100);
	if (dlsym(RTLD_DEFAULT, "hak_malloc") == NULL ||
	    dlsym(RTLD_DEFAULT, "malloc") == NULL)
		fail("override: symbols are missing");
	if (HAVE_SANITIZER || !same_library("malloc")) {
		puts("skip: override: this build does not override malloc");
		return SKIP;
	}
	names();
	basics();
	aligned();
	information();
	CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
	pthread_join(thread, NULL);
	puts("override: ok");
	return 0;
}
