/*
 * A process that changes its identity must take all of its threads along, and the
 * background thread is one that libc may not know of (page/thread.h): it ends before
 * the change, and a later slow path starts it anew. So it does before a change of
 * namespaces, some of which the kernel allows to processes of one thread alone, and
 * around _Fork, whose child must not find a lock that it held. (fork's handlers end it
 * themselves where it is the only other thread, and else take the locks.)
 *
 * A process that filters its system calls (seccomp) loses it for good: a filter knows of
 * what the program calls, and may end the process for the rest. Those that go past
 * prctl to seccomp(2) call it by number (by_number.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "arena/background.h"
#include "entry/entry.h"
#include "page/thread.h"

#if THREAD_FOLLOWS_IDENTITY

/* libc's own. Looked up before there is anything that holds the dynamic linker's lock: a
 * child of fork may call these, and may call nothing that locks. */
static void *lookup(void **next, const char *name)
{
	if (!*next)
		*next = dlsym(RTLD_NEXT, name);
	return *next;
}

static int not_there(void)
{
	errno = ENOSYS;
	return -1;
}

#define EACH(X) \
	X(setuid, (uid_t id), (id)) \
	X(setgid, (gid_t id), (id)) \
	X(seteuid, (uid_t id), (id)) \
	X(setegid, (gid_t id), (id)) \
	X(setreuid, (uid_t real, uid_t effective), (real, effective)) \
	X(setregid, (gid_t real, gid_t effective), (real, effective)) \
	X(setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved)) \
	X(setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved)) \
	X(setgroups, (size_t n, const gid_t *groups), (n, groups)) \
	X(initgroups, (const char *user, gid_t group), (user, group)) \
	X(capset, (void *header, const void *data), (header, data)) \
	X(unshare, (int what), (what)) \
	X(setns, (int file, int type), (file, type))

/* libc has it, and no header of its own for it. */
int capset(void *header, const void *data);

#define FOLLOW(name, parameters, arguments) \
	static void *next_##name; \
	HAK_EXPORT int name parameters \
	{ \
		int (*next) parameters; \
		*(void **)&next = lookup(&next_##name, #name); \
		if (!next) \
			return not_there(); \
		bool held = background_hold(); \
		int result = next arguments; \
		if (held) \
			background_release(); \
		return result; \
	}
EACH(FOLLOW)

static void *next__Fork;
HAK_EXPORT pid_t _Fork(void)
{
	pid_t (*next)(void);

	*(void **)&next = lookup(&next__Fork, "_Fork");
	if (!next)
		return not_there();
	bool held = background_hold();
	pid_t pid = next();
	/* What fork's handlers would do. */
	if (pid == 0)
		background_after_fork_in_child();
	else if (held)
		background_release();
	return pid;
}

static void *next_prctl;
HAK_EXPORT int prctl(int option, ...)
{
	int (*next)(int, unsigned long, unsigned long, unsigned long, unsigned long);
	unsigned long argument[4];
	va_list arguments;

	va_start(arguments, option);
	for (int i = 0; i < 4; i++)
		argument[i] = va_arg(arguments, unsigned long);
	va_end(arguments);
	*(void **)&next = lookup(&next_prctl, "prctl");
	if (!next)
		return not_there();
	if (option == PR_SET_SECCOMP || option == PR_SET_NO_NEW_PRIVS)
		background_stop();
	return next(option, argument[0], argument[1], argument[2], argument[3]);
}

extern __typeof__(setuid) own_setuid __attribute__((ALIAS_OF(setuid), visibility("hidden")));

#define LOOKUP(name, parameters, arguments) lookup(&next_##name, #name);
__attribute__((constructor)) static void lookup_all(void)
{
	EACH(LOOKUP)
	lookup(&next__Fork, "_Fork");
	lookup(&next_prctl, "prctl");
	thread_identity_is_followed = dlsym(RTLD_DEFAULT, "setuid") == (void *)(uintptr_t)&own_setuid;
}

#endif
