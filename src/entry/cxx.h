/*
 * What cxx.c and cxx_forms.c share: C++'s operators.
 */
#ifndef HAK_ENTRY_CXX_H
#define HAK_ENTRY_CXX_H

#include "entry/entry.h"

#if STANDARD_NAMES

#define OPERATOR(result, name, mangled, ...) \
	HAK_EXPORT HOT_PATH REPLACEABLE result name(__VA_ARGS__) __asm__(mangled); \
	result name(__VA_ARGS__)

/* A function of the program's C++ library; NULL: there is none. */
void *cxx_look_up(const char *name);
/* Our basic forms, whatever the program has under their names. */
void *cxx_own_new(size_t size);
void *cxx_own_new_aligned(size_t size, size_t alignment);

#endif
#endif
