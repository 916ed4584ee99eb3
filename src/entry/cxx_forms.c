/*
 * The operators new and delete that end in a basic form. Where a program replaces the
 * basic forms alone, these must go to its own ([new.delete] of the C++ standard).
 */
#include "entry/cxx.h"

#if STANDARD_NAMES

/* The basic forms as the program has them. */
#define BASIC(result, name, mangled, ...) \
	extern result name(__VA_ARGS__) __asm__(mangled)

BASIC(void *, basic_new, "_Znwm", size_t size);
BASIC(void *, basic_new_aligned, "_ZnwmSt11align_val_t", size_t size, size_t alignment);
BASIC(void, basic_delete, "_ZdlPv", void *p);
BASIC(void, basic_delete_aligned, "_ZdlPvSt11align_val_t", void *p, size_t alignment);

OPERATOR(void *, cxx_new_array, "_Znam", size_t size)
{
	return basic_new(size);
}

OPERATOR(void *, cxx_new_array_aligned, "_ZnamSt11align_val_t", size_t size,
    size_t alignment)
{
	return basic_new_aligned(size, alignment);
}

/* In a static program the C++ library's nothrow forms serve: they can catch. */
#if defined(PIC)

/* What the basic form throws must end here as NULL, and C cannot catch: the C++ library's
 * own function of that name can, around a call of the basic form. */
static NO_INLINE void *nothrow(const char *name, size_t size, void *tag)
{
	void *(*theirs)(size_t, void *) = (void *(*)(size_t, void *))cxx_look_up(name);

	if (theirs)
		return theirs(size, tag);
	return basic_new == cxx_own_new ? NULL : basic_new(size);
}

static NO_INLINE void *nothrow_aligned(const char *name, size_t size, size_t alignment,
    void *tag)
{
	void *(*theirs)(size_t, size_t, void *) =
	    (void *(*)(size_t, size_t, void *))cxx_look_up(name);

	if (theirs)
		return theirs(size, alignment, tag);
	return basic_new_aligned == cxx_own_new_aligned ? NULL :
	    basic_new_aligned(size, alignment);
}

ALWAYS_INLINE void *new_nothrow(const char *name, size_t size, void *tag, const void *caller)
{
	void *p = NULL;

	if (likely(basic_new == cxx_own_new)) {
		p = malloc_cached(size);
		if (unlikely(!p))
			p = allocate(size, 1, false, route_of(caller));
	}
	return likely(p) ? p : nothrow(name, size, tag);
}

ALWAYS_INLINE void *new_aligned_nothrow(const char *name, size_t size, size_t alignment,
    void *tag, const void *caller)
{
	void *p = NULL;

	if (likely(basic_new_aligned == cxx_own_new_aligned))
		p = malloc_aligned_for(size, alignment, caller);
	return likely(p) ? p : nothrow_aligned(name, size, alignment, tag);
}

OPERATOR(void *, cxx_new_nothrow, "_ZnwmRKSt9nothrow_t", size_t size, void *tag)
{
	return new_nothrow("_ZnwmRKSt9nothrow_t", size, tag, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t size, void *tag)
{
	return new_nothrow("_ZnamRKSt9nothrow_t", size, tag, __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t",
    size_t size, size_t alignment, void *tag)
{
	return new_aligned_nothrow("_ZnwmSt11align_val_tRKSt9nothrow_t", size, alignment, tag,
	    __builtin_return_address(0));
}

OPERATOR(void *, cxx_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t",
    size_t size, size_t alignment, void *tag)
{
	return new_aligned_nothrow("_ZnamSt11align_val_tRKSt9nothrow_t", size, alignment, tag,
	    __builtin_return_address(0));
}

#endif

/* What else they are given is in the way of no basic form. */
#define DELETE(name, mangled) \
	OPERATOR(void, name, mangled, void *p) \
	{ \
		basic_delete(p); \
	}
#define DELETE_ALIGNED(name, mangled, ...) \
	OPERATOR(void, name, mangled, __VA_ARGS__) \
	{ \
		basic_delete_aligned(p, alignment); \
	}

DELETE(cxx_delete_array, "_ZdaPv")
DELETE(cxx_delete_nothrow, "_ZdlPvRKSt9nothrow_t")
DELETE(cxx_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
DELETE(cxx_delete_sized, "_ZdlPvm")
DELETE(cxx_delete_array_sized, "_ZdaPvm")
DELETE_ALIGNED(cxx_delete_array_aligned, "_ZdaPvSt11align_val_t", void *p, size_t alignment)
DELETE_ALIGNED(cxx_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", void *p,
    size_t alignment)
DELETE_ALIGNED(cxx_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    void *p, size_t alignment)
DELETE_ALIGNED(cxx_delete_sized_aligned, "_ZdlPvmSt11align_val_t", void *p,
    __attribute__((unused)) size_t size, size_t alignment)
DELETE_ALIGNED(cxx_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", void *p,
    __attribute__((unused)) size_t size, size_t alignment)

#endif
