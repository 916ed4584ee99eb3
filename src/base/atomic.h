/*
 * Atomics, named by intent, over libatomic_ops.
 *
 * counter_*  statistics: no order, may be read while they change
 * flag_*     a word that only hints; no other data hangs on it
 * pointer_*  publication: store_release pairs with load_acquire
 */
#ifndef HAK_BASE_ATOMIC_H
#define HAK_BASE_ATOMIC_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AO_REQUIRE_CAS
#include <atomic_ops.h>

_Static_assert(sizeof(AO_t) == sizeof(size_t), "an AO_t holds a size");
_Static_assert(sizeof(AO_t) == sizeof(void *), "an AO_t holds a pointer");

static inline size_t counter_add(AO_t *counter, size_t n)
{
	return AO_fetch_and_add(counter, n) + n;
}

static inline size_t counter_sub(AO_t *counter, size_t n)
{
	return AO_fetch_and_add(counter, (AO_t)0 - n) - n;
}

static inline size_t counter_get(const AO_t *counter)
{
	return AO_load((const volatile AO_t *)counter);
}

/* For a counter with one writer (its lock's holder, its thread): a plain
 * load and store that a reader elsewhere may see at any moment. */
static inline void counter_add_owned(AO_t *counter, size_t n)
{
	AO_store(counter, AO_load(counter) + n);
}

/* The same where each instruction counts: one memory operand on x86-64. A word
 * store cannot tear; the race is declared to ThreadSanitizer alone. */
#if defined(__SANITIZE_THREAD__)
#define HAK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAK_TSAN 1
#endif
#endif
#if defined(HAK_TSAN)
#define word_read(word) AO_load((const volatile AO_t *)(word))
#define counter_bump(counter) counter_add_owned((counter), 1)
#define pointer_advance(pointer, n) \
	AO_store((volatile AO_t *)(pointer), \
	    AO_load((volatile AO_t *)(pointer)) + (AO_t)((n) * (ptrdiff_t)sizeof(void *)))
#elif defined(__x86_64__)
/* The compiler would keep the sum in a register and need an instruction more. */
#define counter_bump(counter) \
	__asm__("incq %0" : "+m"(*(counter)) : : "cc")
#define pointer_advance(pointer, n) \
	__asm__("addq %1, %0" : "+m"(*(pointer)) \
	    : "i"((n) * (ptrdiff_t)sizeof(void *)) : "cc", "memory")
/* No instruction: the compiler would compute index's address apart for its two uses, and
 * move result to rax at the end, where it can be from the start. */
#define keep_apart(index, result) __asm__("" : "+r"(index) : "a"(result))
/* The first half of that. */
#define keep_two_uses(index) __asm__("" : "+r"(index))
#else
#define counter_bump(counter) ((void)++*(counter))
#define pointer_advance(pointer, n) \
	(AO_compiler_barrier(), (void)(*(pointer) += (n)))
#endif
#ifndef word_read
#define word_read(word) (*(word))
#endif
#ifndef keep_apart
#define keep_apart(index, result) ((void)0)
#define keep_two_uses(index) ((void)0)
#endif

/* *pointer++, done before any access that follows; and pointer_advance is done after any
 * that comes before: for who fences this thread from outside. */
static inline __attribute__((always_inline)) void **pointer_step(void ***pointer)
{
	void **was;

#if defined(__x86_64__) && !defined(HAK_TSAN)
	__asm__("movq %1, %0\n\taddq $8, %1" : "=&r"(was), "+m"(*pointer) : : "cc", "memory");
#else
	was = *pointer;
	pointer_advance(pointer, 1);
	AO_compiler_barrier();
#endif
	return was;
}

static inline size_t flag_load(const AO_t *flag)
{
	return AO_load((const volatile AO_t *)flag);
}

static inline void flag_store(AO_t *flag, size_t value)
{
	AO_store(flag, value);
}

static inline void *pointer_load_acquire(AO_t *pointer)
{
	return (void *)AO_load_acquire(pointer);
}

static inline void pointer_store_release(AO_t *pointer, const void *value)
{
	AO_store_release(pointer, (AO_t)value);
}

static inline bool pointer_cas_release(AO_t *pointer, const void *old,
    const void *value)
{
	return AO_compare_and_swap_release(pointer, (AO_t)old, (AO_t)value);
}

static inline bool pointer_cas_acquire(AO_t *pointer, const void *old,
    const void *value)
{
	return AO_compare_and_swap_acquire(pointer, (AO_t)old, (AO_t)value);
}

#endif
