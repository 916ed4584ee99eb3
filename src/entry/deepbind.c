/*
 * A library loaded with RTLD_DEEPBIND (as php's extensions are) would find libc's malloc
 * and free before ours, and free there what it was given here. So dlopen goes on
 * without that flag.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "entry/entry.h"

#if defined(PIC) && STANDARD_NAMES

static void *(*next)(const char *file, int flags);

__attribute__((constructor)) static void find_next(void)
{
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "dlopen");
}

/* A jump in any build: libc looks at the return address for whose search path (RUNPATH,
 * $ORIGIN) is meant. */
#if defined(__clang__)
#define JUMPS
#define JUMP __attribute__((musttail)) return
#else
#define JUMPS __attribute__((optimize("O2")))
#define JUMP return
#endif
JUMPS HAK_EXPORT void *dlopen(const char *file, int flags)
{
	find_next();
	if (!next)
		return NULL;
	JUMP next(file, flags & ~RTLD_DEEPBIND);
}

#endif
