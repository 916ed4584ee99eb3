#include "config.h"

#include "entry/check.h"

#include <string.h>

#include "base/options.h"

#define JUNK_ALLOCATED 0xa5
#define JUNK_FREED 0x5a

#if defined(HAVE_VALGRIND_MEMCHECK_H)
#include <valgrind/memcheck.h>

/* Only memcheck answers this request, not callgrind and the like. */
static bool under_memcheck(void)
{
	static char probe;

	return VALGRIND_MAKE_MEM_DEFINED(&probe, 1) != 0;
}

static void tell_allocated(void *p, size_t size, bool is_zero)
{
	VALGRIND_MALLOCLIKE_BLOCK(p, size, 0, is_zero);
}

static void tell_freed(void *p)
{
	VALGRIND_FREELIKE_BLOCK(p, 0);
}
#else
static bool under_memcheck(void)
{
	return false;
}

static void tell_allocated(void *p, size_t size, bool is_zero)
{
	(void)p, (void)size, (void)is_zero;
}

static void tell_freed(void *p)
{
	(void)p;
}
#endif

static bool memcheck;

bool check_is_wanted(void)
{
	memcheck = under_memcheck();
	return memcheck || options.zero || options.junk;
}

void check_allocated(void *p, size_t usable, bool is_zero)
{
	if (memcheck)
		tell_allocated(p, usable, is_zero);
	if (options.zero && !is_zero)
		memset(p, 0, usable);
	else if (options.junk & JUNK_ALLOC && !is_zero)
		memset(p, JUNK_ALLOCATED, usable);
}

void check_freed(void *p, size_t usable)
{
	if (options.junk & JUNK_FREE)
		memset(p, JUNK_FREED, usable);
	if (memcheck)
		tell_freed(p);
}
