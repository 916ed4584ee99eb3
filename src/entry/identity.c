/*
 * A process that changes its identity must take all of its threads along, and the
 * background thread is one that libc may not know of (page/thread.h): it ends before
 * the change, and a later slow path starts it anew.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <grp.h>
#include <unistd.h>

#include "arena/background.h"
#include "hakmem/hakmem.h"
#include "page/thread.h"

#if THREAD_FOLLOWS_IDENTITY

#define FOLLOW(name, parameters, arguments) \
	HAK_EXPORT int name parameters \
	{ \
		int (*next) parameters; \
		*(void **)&next = dlsym(RTLD_NEXT, #name); \
		bool held = background_hold(); \
		int result = next arguments; \
		if (held) \
			background_release(); \
		return result; \
	}

FOLLOW(setuid, (uid_t id), (id))
FOLLOW(setgid, (gid_t id), (id))
FOLLOW(seteuid, (uid_t id), (id))
FOLLOW(setegid, (gid_t id), (id))
FOLLOW(setreuid, (uid_t real, uid_t effective), (real, effective))
FOLLOW(setregid, (gid_t real, gid_t effective), (real, effective))
FOLLOW(setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
FOLLOW(setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
FOLLOW(setgroups, (size_t n, const gid_t *groups), (n, groups))

#endif
