/*
 * grow: vectors that double, strings that grow a few bytes at a time, arrays from
 * calloc, aligned blocks. Each thread has many of them at once and goes on with a
 * random one, so that what grows has neighbours. All contents are checked: what
 * realloc kept, that calloc's is zero, alignment.
 *
 * usage: grow [-t threads] [-n thousand steps] [-s seed]
 *             [-o all|vectors|strings|calloc|aligned] [-c held by a thread]
 */
#include "bench.h"

enum kind { ALL, VECTOR, STRING, ZEROED, ALIGNED };

struct slot {
	void *p;
	size_t length, target, alignment;
	enum kind kind;
};

static size_t only = ALL, held = 512;

/* Sizes of 16 to 4 Ki, one in 32 up to 256 Ki. */
static size_t draw_size(uint64_t *rng)
{
	size_t n = log_between(rng, 16, 4096);

	return next_random(rng) % 32 ? n : n * 64;
}

static void begin(struct slot *s, uint64_t *rng)
{
	*s = (struct slot) { .kind = (enum kind)only, .target = draw_size(rng) };
	if (only == ALL)
		s->kind = (enum kind)between(rng, VECTOR, ALIGNED);
	switch (s->kind) {
	case ALL: break;
	case VECTOR: s->p = make(8 * sizeof(uint64_t)); break;
	case STRING: s->target %= 4096; s->p = make(1); break;
	case ZEROED:
		s->p = make_zeroed(s->target, 4);
		for (size_t i = 0; i < s->target; i++)
			check_that(((const uint32_t *)s->p)[i] == 0, "not zero at", i * 4);
		memset(s->p, 0xff, s->target * 4);
		break;
	case ALIGNED:
		s->alignment = (size_t)16 << next_random(rng) % 9;
		/* C11 wants a multiple. */
		s->target = (s->target + s->alignment - 1) & -s->alignment;
		s->p = make_aligned(s->alignment, s->target);
		check_that((uintptr_t)s->p % s->alignment == 0, "not aligned to", s->alignment);
		memset(s->p, (int)s->alignment >> 4, s->target);
		break;
	}
}

static uint64_t end(struct slot *s)
{
	uint64_t sum = s->length + s->target;
	const unsigned char *bytes = s->p;

	switch (s->kind) {
	case ALL: break;
	case VECTOR:
		for (size_t i = 0; i < s->length; i++)
			check_that(((uint64_t *)s->p)[i] == i * s->target,
			    "a vector changed at", i);
		break;
	case STRING:
		for (size_t i = 0; i < s->length; i++)
			check_that(bytes[i] == (unsigned char)(i + s->target),
			    "a string changed at", i);
		break;
	case ZEROED:
		check_that(bytes[0] == 0xff && bytes[s->target * 4 - 1] == 0xff,
		    "an array changed", s->target);
		break;
	case ALIGNED:
		check_that(bytes[0] == (unsigned char)(s->alignment >> 4) &&
		    bytes[s->target - 1] == bytes[0], "an aligned block changed", s->target);
		break;
	}
	drop(s->p);
	return sum;
}

/* One growth, or the end and another beginning. */
static uint64_t step(struct slot *s, uint64_t *rng)
{
	if (s->kind == VECTOR && s->length < s->target) {
		size_t from = s->length, to = from ? from * 2 : 8;
		if (from)
			s->p = grow(s->p, to * sizeof(uint64_t));
		for (size_t i = from; i < to; i++)
			((uint64_t *)s->p)[i] = i * s->target;
		s->length = to;
		/* To what it needs: some programs do. */
		if (to >= s->target && s->target % 2) {
			s->length = s->target;
			s->p = grow(s->p, s->length * sizeof(uint64_t));
		}
		return 0;
	}
	if (s->kind == STRING && s->length < s->target) {
		size_t to = s->length + 1 + next_random(rng) % 40;
		s->p = grow(s->p, to + 1);
		for (size_t i = s->length; i < to; i++)
			((unsigned char *)s->p)[i] = (unsigned char)(i + s->target);
		s->length = to;
		return 0;
	}
	uint64_t sum = end(s);
	begin(s, rng);
	return sum;
}

static uint64_t work(struct share *share)
{
	struct slot *slots = own_pages(held * sizeof(*slots));
	uint64_t sum = 0;

	for (size_t i = 0; i < held; i++)
		begin(&slots[i], &share->rng);
	for (size_t n = share->work * 1000; n > 0; n--)
		sum = sum * 31 + step(&slots[next_random(&share->rng) % held], &share->rng);
	for (size_t i = 0; i < held; i++)
		sum = sum * 31 + end(&slots[i]);
	return sum;
}

int main(int argc, char **argv)
{
	const struct setting settings[] = {
		WORD_SETTING('o', "all|vectors|strings|calloc|aligned", &only),
		NUMBER_SETTING('c', "held by a thread", &held, 1, 1 << 24),
		LAST_SETTING,
	};
	struct options options = parse_settings(argc, argv, 8000, settings);

	run_shares(&options, work);
	return 0;
}
