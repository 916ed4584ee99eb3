/*
 * C++17's two basic operators new, by their mangled names (Itanium C++ ABI), in C so that
 * nothing of a C++ library is linked. What a failed new must call is looked up in the
 * program's C++ library when it happens. malloc.c has the basic forms of delete,
 * cxx_forms.c the others of both.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "base/log.h"
#include "entry/cxx.h"

#if STANDARD_NAMES

typedef void (*handler)(void);

/* In the static library this object is linked by programs of C++ alone, and brings what
 * it needs; libtool compiles with PIC what goes into the shared one. */
#if defined(PIC)
#define IF_THERE __attribute__((weak))
#else
#define IF_THERE
#endif
/* std::get_new_handler(), std::__throw_bad_alloc(); NULL: no such library. */
extern handler get_new_handler(void) __asm__("_ZSt15get_new_handlerv") IF_THERE;
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") IF_THERE;

#if defined(PIC)
/* The library may have come later, by dlopen of a plug-in. */
void *cxx_look_up(const char *name)
{
	void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);

	return library ? dlsym(library, name) : NULL;
}
#else
void *cxx_look_up(const char *name)
{
	(void)name;
	return NULL;
}
#endif

static handler current_handler(void)
{
	handler (*get)(void) = get_new_handler;

	if (!get)
		get = (handler (*)(void))cxx_look_up("_ZSt15get_new_handlerv");
	return get ? get() : NULL;
}

static void throw(void)
{
	handler throw_it = throw_bad_alloc;

	if (!throw_it)
		throw_it = (handler)cxx_look_up("_ZSt17__throw_bad_allocv");
	if (throw_it)
		throw_it();
	log_fatal("operator new: out of memory");
}

/* As the standard has it: try, call the handler, try again; without a handler
 * throw. A handler may throw as well, through this frame (-fexceptions). */
static NO_INLINE void *new_slow(size_t size, size_t alignment, const void *caller)
{
	for (;;) {
		void *p = allocate(size, alignment, false, route_of(caller));
		if (p)
			return p;
		handler h = current_handler();
		if (!h)
			throw();
		else
			h();
	}
}

OPERATOR(void *, cxx_new, "_Znwm", size_t size)
{
	void *p = malloc_cached(size);

	return likely(p) ? p : new_slow(size, 1, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_aligned, "_ZnwmSt11align_val_t", size_t size, size_t alignment)
{
	void *p = malloc_cached_aligned(size, alignment);

	return likely(p) ? p : new_slow(size, alignment, __builtin_return_address(0));
}

extern void *cxx_own_new(size_t) __attribute__((visibility("hidden"), alias("_Znwm")));
extern void *cxx_own_new_aligned(size_t, size_t)
    __attribute__((visibility("hidden"), alias("_ZnwmSt11align_val_t")));

#endif
