/*
 * C++17's replaceable operators new and delete, by their mangled names (Itanium
 * C++ ABI), in C so that nothing of a C++ library is linked. What a failed new
 * must call is looked up in the program's C++ library when it happens.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "base/log.h"
#include "entry/entry.h"

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
static void *look_up(const char *name)
{
	void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);

	return library ? dlsym(library, name) : NULL;
}
#else
static void *look_up(const char *name)
{
	(void)name;
	return NULL;
}
#endif

static handler current_handler(void)
{
	handler (*get)(void) = get_new_handler;

	if (!get)
		get = (handler (*)(void))look_up("_ZSt15get_new_handlerv");
	return get ? get() : NULL;
}

static void throw(void)
{
	handler throw_it = throw_bad_alloc;

	if (!throw_it)
		throw_it = (handler)look_up("_ZSt17__throw_bad_allocv");
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

/* A handler that throws must end here as NULL, and C cannot catch: the C++
 * library's own function of that name can, around a call of ours. */
static NO_INLINE void *nothrow_slow(const char *name, size_t size, void *tag)
{
	void *(*theirs)(size_t, void *) =
	    (void *(*)(size_t, void *))look_up(name);

	return theirs ? theirs(size, tag) : NULL;
}

static NO_INLINE void *nothrow_aligned_slow(const char *name, size_t size,
    size_t alignment, void *tag)
{
	void *(*theirs)(size_t, size_t, void *) =
	    (void *(*)(size_t, size_t, void *))look_up(name);

	return theirs ? theirs(size, alignment, tag) : NULL;
}

#define OPERATOR(result, name, mangled, ...) \
	HAK_EXPORT HOT_PATH result name(__VA_ARGS__) __asm__(mangled); \
	result name(__VA_ARGS__)

OPERATOR(void *, cxx_new, "_Znwm", size_t size)
{
	void *p = malloc_cached(size);

	return likely(p) ? p : new_slow(size, 1, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_array, "_Znam", size_t size)
{
	void *p = malloc_cached(size);

	return likely(p) ? p : new_slow(size, 1, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_nothrow, "_ZnwmRKSt9nothrow_t", size_t size, void *tag)
{
	void *p = malloc_cached(size);

	if (unlikely(!p))
		p = allocate(size, 1, false, ROUTE_OF_CALLER);
	return likely(p) ? p : nothrow_slow("_ZnwmRKSt9nothrow_t", size, tag);
}

OPERATOR(void *, cxx_new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t size, void *tag)
{
	void *p = malloc_cached(size);

	if (unlikely(!p))
		p = allocate(size, 1, false, ROUTE_OF_CALLER);
	return likely(p) ? p : nothrow_slow("_ZnamRKSt9nothrow_t", size, tag);
}

OPERATOR(void *, cxx_new_aligned, "_ZnwmSt11align_val_t", size_t size, size_t alignment)
{
	void *p = allocate_aligned(size, alignment, __builtin_return_address(0));

	return likely(p) ? p : new_slow(size, alignment, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_array_aligned, "_ZnamSt11align_val_t", size_t size,
    size_t alignment)
{
	void *p = allocate_aligned(size, alignment, __builtin_return_address(0));

	return likely(p) ? p : new_slow(size, alignment, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t",
    size_t size, size_t alignment, void *tag)
{
	void *p = allocate_aligned(size, alignment, __builtin_return_address(0));

	return likely(p) ? p : nothrow_aligned_slow(
	    "_ZnwmSt11align_val_tRKSt9nothrow_t", size, alignment, tag);
}

OPERATOR(void *, cxx_new_array_aligned_nothrow,
    "_ZnamSt11align_val_tRKSt9nothrow_t", size_t size, size_t alignment, void *tag)
{
	void *p = allocate_aligned(size, alignment, __builtin_return_address(0));

	return likely(p) ? p : nothrow_aligned_slow(
	    "_ZnamSt11align_val_tRKSt9nothrow_t", size, alignment, tag);
}

#endif
