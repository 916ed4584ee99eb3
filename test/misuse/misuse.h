/*
 * What the misuse programs share. Each prints the pointer that it is about to
 * misuse (and, for one inside an object, the object's start and usable size),
 * so that run.sh can compare the whole message. Without an abort it returns 0.
 */
#ifndef TEST_MISUSE_H
#define TEST_MISUSE_H

#define _GNU_SOURCE
#include <hakmem/hakmem.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Hide from the compiler that a pointer is stale. */
static inline void *
opaque(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static inline void *
allocate(size_t size)
{
	void *p = hak_malloc(size);

	if (p == NULL) {
		perror("malloc");
		exit(2);
	}
	memset(p, 0x5a, size);
	return opaque(p);
}

static inline void *
misused(void *p)
{
	static const struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	printf("0x%lx\n", (unsigned long)(uintptr_t)p);
	fflush(stdout);
	return opaque(p);
}

static inline void *
misused_inside(void *base, size_t offset)
{
	void *p = (char *)base + offset;

	printf("0x%lx %zu ", (unsigned long)(uintptr_t)base,
	    hak_malloc_usable_size(base));
	return misused(p);
}

/* Push what the caches hold back to where each object came from: that is
 * where a double free is found at the latest. */
static inline void
flush_caches(void)
{
	hak_malloc_trim(0);
}

static inline void
in_another_thread(void *(*function)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, arg) != 0 ||
	    pthread_join(thread, NULL) != 0)
		exit(2);
}

#endif
