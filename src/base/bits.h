/* Bits, rounding and branch hints. */
#ifndef HAK_BASE_BITS_H
#define HAK_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* A path that is not the happy one: out of line, out of the hot cache lines. */
#define SLOW_PATH __attribute__((noinline, cold))
/* To begin at a cache line, so that no change elsewhere moves it within one. */
#define HOT_PATH __attribute__((aligned(64)))
/* Slow, but on the way of every miss: out of line, not out of sight. */
#define NO_INLINE __attribute__((noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define KiB ((size_t)1 << 10)
#define MiB ((size_t)1 << 20)
#define GiB ((size_t)1 << 30)

static inline bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

/* The low n bits become the high ones. */
static inline size_t rotate_right(size_t value, unsigned n)
{
	return value >> n | value << (64 - n);
}

/* to: a power of two. Wraps to 0 where the sum does not fit. */
static inline size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* Index of the highest set bit; n must not be 0. */
static inline unsigned lg_floor(size_t n)
{
	/* As xor the compiler knows it for one bsr. */
	return 63u ^ (unsigned)__builtin_clzl(n);
}

static inline unsigned lg_ceil(size_t n)
{
	return n <= 1 ? 0 : lg_floor(n - 1) + 1;
}

/* Are the bits first..last (inclusive) all 1? */
static inline bool bits_all_set(const uint64_t *words, unsigned first,
    unsigned last)
{
	unsigned word = first / 64, end = last / 64;
	uint64_t low = ~(uint64_t)0 << first % 64;
	uint64_t high = ~(uint64_t)0 >> (63 - last % 64);

	if (word == end)
		return (words[word] & low & high) == (low & high);
	if ((words[word] & low) != low)
		return false;
	while (++word < end)
		if (words[word] != ~(uint64_t)0)
			return false;
	return (words[end] & high) == high;
}

#endif
