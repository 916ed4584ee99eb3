/*
 * A process that limits its own address space (RLIMIT_AS) would find most of a small
 * limit used up by the page map: it shrinks then, so that threads, libraries and files
 * find room too. Whoever sets a limit past these functions has it shrink when malloc
 * finds no memory.
 */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "entry/entry.h"
#include "page/page_map.h"

#if defined(PIC) && STANDARD_NAMES

_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one form for both");

HAK_EXPORT int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit,
    struct rlimit *old)
{
	int result = (int)syscall(SYS_prlimit64, pid, resource, limit, old);

	if (result == 0 && limit && resource == RLIMIT_AS)
		page_map_shrink();
	return result;
}

HAK_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return prlimit(0, resource, limit, NULL);
}

HAK_EXPORT int prlimit64(pid_t pid, __rlimit_resource_t resource,
    const struct rlimit64 *limit, struct rlimit64 *old) __attribute__((ALIAS_OF(prlimit)));
HAK_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
    __attribute__((ALIAS_OF(setrlimit)));

#endif
