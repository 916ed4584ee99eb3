/*
 * jemalloc 5's public names, of libhakmem-jemalloc.so alone: a program that is
 * linked to libjemalloc.so.2 runs on hakmem by preloading it, its own use of
 * mallctl and the rest included. malloc_conf is read where hak_malloc_conf is
 * (ctl/conf.c).
 */
#include "base/log.h"
#include "entry/entry.h"

#define EXPORT HAK_EXPORT

EXPORT void *mallocx(size_t size, int flags);
EXPORT void *rallocx(void *ptr, size_t size, int flags);
EXPORT size_t xallocx(void *ptr, size_t size, size_t extra, int flags);
EXPORT size_t sallocx(const void *ptr, int flags);
EXPORT void dallocx(void *ptr, int flags);
EXPORT void sdallocx(void *ptr, size_t size, int flags);
EXPORT size_t nallocx(size_t size, int flags);
EXPORT int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp,
    size_t newlen);
EXPORT int mallctlnametomib(const char *name, size_t *mibp, size_t *miblenp);
EXPORT int mallctlbymib(const size_t *mib, size_t miblen, void *oldp,
    size_t *oldlenp, void *newp, size_t newlen);
EXPORT void malloc_stats_print(void (*write_cb)(void *, const char *), void *opaque,
    const char *opts);

void *mallocx(size_t size, int flags)
{
	return hak_mallocx(size, flags);
}

void *rallocx(void *ptr, size_t size, int flags)
{
	return hak_rallocx(ptr, size, flags);
}

size_t xallocx(void *ptr, size_t size, size_t extra, int flags)
{
	return hak_xallocx(ptr, size, extra, flags);
}

size_t sallocx(const void *ptr, int flags)
{
	return hak_sallocx(ptr, flags);
}

void dallocx(void *ptr, int flags)
{
	hak_dallocx(ptr, flags);
}

void sdallocx(void *ptr, size_t size, int flags)
{
	hak_sdallocx(ptr, size, flags);
}

size_t nallocx(size_t size, int flags)
{
	return hak_nallocx(size, flags);
}

int mallctl(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)
{
	return hak_mallctl(name, oldp, oldlenp, newp, newlen);
}

int mallctlnametomib(const char *name, size_t *mibp, size_t *miblenp)
{
	return hak_mallctlnametomib(name, mibp, miblenp);
}

int mallctlbymib(const size_t *mib, size_t miblen, void *oldp, size_t *oldlenp,
    void *newp, size_t newlen)
{
	return hak_mallctlbymib(mib, miblen, oldp, oldlenp, newp, newlen);
}

void malloc_stats_print(void (*write_cb)(void *, const char *), void *opaque,
    const char *opts)
{
	hak_malloc_stats_print(write_cb, opaque, opts);
}

/* A program may define or set either; base/log.c and ctl/conf.c look at them. */
__attribute__((weak)) HAK_EXPORT const char *malloc_conf;
__attribute__((weak)) HAK_EXPORT void (*malloc_message)(void *, const char *);

const struct jemalloc_names jemalloc_names = { &malloc_conf, &malloc_message };
