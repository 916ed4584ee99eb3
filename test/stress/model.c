/*
 * Model test: random calls of the whole API against a shadow of every live
 * object. Checked after each call: that the object overlaps no other live one,
 * its alignment, that its usable size covers what was asked for, zeroed memory
 * where it was promised, and, when it is freed or resized, that its content is
 * what was written last.
 *
 * usage: model [-t threads] [-n ops] [-s seed] [-f percent] [-z] [-u]
 *              [--break=overlap|dirty|align|short|content]
 *   -n  calls of each thread
 *   -f  share of the frees which another thread does
 *   -z  malloc'ed memory must be zero, too (HAKMEM_CONF=zero:true)
 *   -u  use what was asked for only, not the whole usable size
 *   --break  damages what the allocator returned, now and then, to show that
 *       the test notices: it must fail then.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <getopt.h>
#include <pthread.h>
#include <sys/mman.h>

#define MAX_THREADS 64
#define MAX_LIVE 1500
#define MAX_LIVE_BYTES (48 * MIB)
#define MAILBOX 256

enum origin { FROM_MALLOC, FROM_ALIGNED, FROM_X };
enum damage { NONE, OVERLAP, DIRTY, ALIGN, SHORT, CONTENT };

struct object {
	unsigned char *p;
	size_t asked;		/* what the allocator was asked for */
	size_t told;		/* for sdallocx: from there to sallocx */
	size_t used;		/* bytes filled: asked, or the usable size */
	size_t shadowed;	/* bytes marked in the shadow */
	size_t alignment;
	uint64_t tag;		/* seeds the content */
	enum origin origin;
};

/* Objects that another thread shall free; lock guards the rest. */
struct mailbox {
	pthread_mutex_t lock;
	int n;
	struct object slot[MAILBOX];
};

struct worker {
	pthread_t thread;
	int id;
	uint64_t rng;
	uint64_t op;
	uint64_t tag;
	int live;
	size_t live_bytes;
	struct object object[MAX_LIVE];
	struct mailbox mailbox;
};

static struct worker *worker;
static int threads = 1;
static uint64_t ops = 100000;
static uint64_t seed;
static unsigned remote_percent = 20;
static bool malloc_zeroes;
static bool use_usable = true;
static enum damage damage;
static _Thread_local struct worker *me;

static void __attribute__((noreturn, format(printf, 1, 2)))
bad(const char *format, ...)
{
	char what[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	fail("model: FAILED: %s (seed %llu, thread %d, op %llu)", what,
	    (unsigned long long)seed, me == NULL ? -1 : me->id,
	    me == NULL ? 0 : (unsigned long long)me->op);
}

/*
 * The shadow: a bit for each 8 bytes of the address space, in pieces of 4 MiB
 * of it; the pieces are made on first use and never go.
 */
#define PIECE_SHIFT 22
#define PIECE_WORDS (((size_t)1 << PIECE_SHIFT) / 8 / 64)
#define PIECES ((size_t)1 << (47 - PIECE_SHIFT))

static uint64_t **shadow;

static void *
map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		bad("no memory for the shadow");
	return p;
}

static uint64_t *
shadow_piece(uintptr_t addr)
{
	uint64_t **at = &shadow[addr >> PIECE_SHIFT];
	uint64_t *piece, *none = NULL;

	if (addr >> 47 != 0)
		bad("%p is no user address", (void *)addr);
	piece = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	if (piece != NULL)
		return piece;
	piece = map(PIECE_WORDS * sizeof(*piece));
	if (__atomic_compare_exchange_n(at, &none, piece, false,
	    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return piece;
	munmap(piece, PIECE_WORDS * sizeof(*piece));
	return none;
}

/* Mark (or unmark) a range; each bit must have been clear (or set). */
static void
shadow_set(const struct object *o, bool live)
{
	uintptr_t unit = (uintptr_t)o->p / 8;
	uintptr_t end = ((uintptr_t)o->p + o->shadowed + 7) / 8;

	while (unit < end) {
		uint64_t *word = shadow_piece(unit * 8) +
		    unit / 64 % PIECE_WORDS;
		unsigned first = unit % 64;
		unsigned n = end - unit < 64 - first ?
		    (unsigned)(end - unit) : 64 - first;
		uint64_t mask = (n == 64 ? ~(uint64_t)0 :
		    ((uint64_t)1 << n) - 1) << first;
		uint64_t old;

		if (live)
			old = __atomic_fetch_or(word, mask, __ATOMIC_ACQ_REL);
		else
			old = ~__atomic_fetch_and(word, ~mask,
			    __ATOMIC_ACQ_REL);
		if ((old & mask) != 0)
			bad(live ? "%p, %zu bytes: overlaps a live object" :
			    "%p, %zu bytes: not marked live", (void *)o->p,
			    o->shadowed);
		unit += n;
	}
}

/*
 * Content: all bytes of small objects; of larger ones both ends and a word in
 * each 1,024 bytes, so that each page has one.
 */
#define WHOLE 4096
#define EDGE 256

static uint64_t
content_word(const struct object *o, size_t offset)
{
	return o->tag + offset * 0x9e3779b97f4a7c15u;
}

static size_t
content_next(size_t size, size_t offset)
{
	if (size > WHOLE && offset >= EDGE && offset < size / 8 * 8 - EDGE) {
		offset += 1024;
		if (offset > size / 8 * 8 - EDGE)
			offset = size / 8 * 8 - EDGE;
		return offset;
	}
	return offset + 8;
}

static void
content_write(struct object *o)
{
	size_t at;

	o->tag = rng_next(&me->rng) | 1;
	for (at = 0; at < o->used; at = content_next(o->used, at)) {
		uint64_t word = content_word(o, at);

		memcpy(o->p + at, &word,
		    o->used - at < 8 ? o->used - at : 8);
	}
}

/* Of an object of o->used bytes, the first size must be as written. */
static void
content_check(const struct object *o, size_t size, const char *when)
{
	size_t at;

	for (at = 0; at < size; at = content_next(o->used, at)) {
		uint64_t word = content_word(o, at);

		if (memcmp(o->p + at, &word,
		    size - at < 8 ? size - at : 8) != 0)
			bad("%p, %zu bytes: content changed at offset %zu (%s)",
			    (void *)o->p, o->asked, at, when);
	}
}

static void
zero_check(const unsigned char *p, size_t from, size_t to, const char *what)
{
	static const unsigned char zero[4096];
	size_t n;

	for (; from < to; from += n) {
		n = to - from < sizeof(zero) ? to - from : sizeof(zero);
		if (memcmp(p + from, zero, n) != 0) {
			while (p[from] == 0)
				from++;
			bad("%p: %s is not zero at offset %zu", (const void *)p,
			    what, from);
		}
	}
}

static size_t
random_size(void)
{
	size_t kind = rng_below(&me->rng, 1000);
	size_t low, high;

	if (kind < 60) {
		/* Around a power of two. */
		size_t size = (size_t)1 << rng_below(&me->rng, 22);

		return size - 1 + rng_below(&me->rng, 3);
	}
	if (kind < 600) {
		low = 0;
		high = kind < 300 ? 128 : KIB;
	} else if (kind < 880) {
		low = KIB + 1;
		high = 32 * KIB;
	} else if (kind < 992) {
		low = 32 * KIB + 1;
		high = kind < 960 ? 256 * KIB : MIB;
	} else {
		low = MIB + 1;
		high = kind < 998 ? 3 * MIB : 8 * MIB;
	}
	return low + rng_below(&me->rng, high - low + 1);
}

static size_t
random_alignment(void)
{
	size_t kind = rng_below(&me->rng, 100);

	if (kind < 70)
		return (size_t)8 << rng_below(&me->rng, 7);
	if (kind < 95)
		return (size_t)1024 << rng_below(&me->rng, 7);
	return (size_t)MIB << rng_below(&me->rng, 3);
}

/* malloc's promise: enough for any type which fits. */
static size_t
natural_alignment(size_t size)
{
	return size >= 16 ? 16 : size >= 8 ? 8 : 1;
}

static bool
damage_now(void)
{
	return me->op > 1000 && rng_below(&me->rng, 50) == 0;
}

/* Take a fresh (or resized) object into the shadow. */
static void
object_check_in(struct object *o)
{
	size_t usable;

	if (o->p == NULL)
		bad("no memory for %zu bytes", o->asked);
	if (damage == ALIGN && o->alignment > 1 && damage_now())
		o->p += o->alignment / 2 + 1;
	if (damage == OVERLAP && me->live > 0 && damage_now()) {
		struct object *other =
		    &me->object[rng_below(&me->rng, (size_t)me->live)];

		o->p = other->p + other->shadowed / 32 * 16;
		o->alignment = 1;
		o->shadowed = o->asked > 0 ? o->asked : 1;
		shadow_set(o, true);
		bad("--break=overlap went unnoticed");
	}
	if ((uintptr_t)o->p % o->alignment != 0)
		bad("%p, %zu bytes: not aligned to %zu", (void *)o->p,
		    o->asked, o->alignment);
	if (o->told == 0)
		o->told = o->asked > 0 ? o->asked : 1;
	usable = hak_malloc_usable_size(o->p);
	if (damage == SHORT && o->asked > 0 && damage_now())
		usable = o->asked - 1;
	if (usable < o->asked)
		bad("%p: usable size %zu, asked for %zu", (void *)o->p,
		    usable, o->asked);
	if (hak_sallocx(o->p, 0) < o->asked)
		bad("%p: sallocx is under %zu", (void *)o->p, o->asked);
	o->used = o->asked;
	if (use_usable && rng_below(&me->rng, 4) == 0)
		o->used = usable;
	/* Not the usable size where the test keeps off it: there a checker
	 * may report any other use. */
	o->shadowed = usable > 0 ? usable : 1;
	shadow_set(o, true);
}

static void
object_check_out(struct object *o)
{
	if (damage == CONTENT && o->used > 0 && damage_now())
		o->p[o->used - 1] ^= 1;
	content_check(o, o->used, "free");
	shadow_set(o, false);
}

static void
object_new(struct object *o)
{
	size_t size = random_size();
	size_t kind = rng_below(&me->rng, 100);
	size_t expect = 0;
	bool zero = false;
	void *p = NULL;
	int flags = 0;

	memset(o, 0, sizeof(*o));
	o->asked = size;
	o->alignment = natural_alignment(size);
	if (kind < 40) {
		p = hak_malloc(size);
		zero = malloc_zeroes;
	} else if (kind < 60) {
		size_t count = 1 + rng_below(&me->rng, 8);

		o->asked = size = size / count * count;
		o->alignment = natural_alignment(size);
		p = hak_calloc(count, size / count);
		zero = true;
	} else if (kind < 64) {
		p = hak_realloc(NULL, size);
		zero = malloc_zeroes;
	} else if (kind < 66) {
		p = hak_reallocarray(NULL, size, 1);
		zero = malloc_zeroes;
	} else if (kind < 72) {
		o->alignment = random_alignment();
		if (hak_posix_memalign(&p, o->alignment, size) != 0)
			p = NULL;
		zero = malloc_zeroes;
	} else if (kind < 78) {
		o->alignment = random_alignment();
		o->origin = FROM_ALIGNED;
		p = hak_aligned_alloc(o->alignment, size);
		zero = malloc_zeroes;
	} else if (kind < 80) {
		o->alignment = random_alignment();
		o->origin = FROM_ALIGNED;
		p = hak_memalign(o->alignment, size);
		zero = malloc_zeroes;
	} else if (kind < 81) {
		o->alignment = 4096;
		o->origin = FROM_ALIGNED;
		p = hak_valloc(size);
		zero = malloc_zeroes;
	} else {
		o->origin = FROM_X;
		if (size == 0)
			o->asked = size = 1;
		if (rng_below(&me->rng, 3) == 0) {
			o->alignment = random_alignment();
			flags |= HAK_ALIGN(o->alignment);
		}
		if (rng_below(&me->rng, 3) == 0) {
			flags |= HAK_ZERO;
			zero = true;
		}
		if (rng_below(&me->rng, 4) == 0)
			flags |= HAK_TCACHE_NONE;
		if (rng_below(&me->rng, 8) == 0)
			flags |= HAK_ARENA(0);
		expect = hak_nallocx(size, flags);
		p = hak_mallocx(size, flags);
		zero = zero || malloc_zeroes;
	}
	o->p = opaque(p);
	object_check_in(o);
	if (expect != 0 && hak_sallocx(o->p, flags) != expect)
		bad("%p, %zu bytes, flags %#x: nallocx said %zu, sallocx %zu",
		    (void *)o->p, o->asked, (unsigned)flags, expect,
		    hak_sallocx(o->p, flags));
	if (zero) {
		if (damage == DIRTY && o->asked > 0 && damage_now())
			o->p[rng_below(&me->rng, o->asked)] = 1;
		zero_check(o->p, 0, o->asked, "zeroed memory");
	}
	content_write(o);
}

static void
object_free(struct object *o)
{
	size_t kind = rng_below(&me->rng, 4);

	object_check_out(o);
	if (o->origin == FROM_MALLOC && kind == 0)
		hak_free_sized(o->p, o->asked);
	else if (o->origin == FROM_ALIGNED && kind == 0)
		hak_free_aligned_sized(o->p, o->alignment, o->asked);
	else if (kind == 1)
		hak_sdallocx(o->p, o->told,
		    o->alignment > natural_alignment(o->told) ?
		    HAK_ALIGN(o->alignment) : 0);
	else if (kind == 2)
		hak_dallocx(o->p, rng_below(&me->rng, 2) == 0 ? 0 :
		    HAK_TCACHE_NONE);
	else
		hak_free(o->p);
}

/* Sizes near the old one, too: they may stay in place. */
static size_t
random_resize(const struct object *o)
{
	switch (rng_below(&me->rng, 4)) {
	case 0:
		return random_size();
	case 1:
		return o->asked / 2 + 1;
	case 2:
		return o->asked < 4 * MIB ? o->asked * 2 + 1 : o->asked / 4;
	default:
		return o->asked + 1 + rng_below(&me->rng, 64);
	}
}

static void
object_realloc(struct object *o)
{
	struct object new = *o;
	size_t size = random_resize(o);
	size_t old_usable = hak_malloc_usable_size(o->p);
	size_t keep = o->used < o->asked ? o->used : o->asked;
	size_t kind = rng_below(&me->rng, 6);
	size_t end;
	bool zero = false;

	if (size == 0)
		size = 1;
	content_check(o, o->used, "before realloc");
	/* Unmark first: another thread may get the old place at once. */
	shadow_set(o, false);
	new.asked = size;
	new.told = 0;
	new.alignment = natural_alignment(size);
	new.origin = FROM_MALLOC;
	if (kind == 0) {
		size_t extra = rng_below(&me->rng, 2 * size);

		/* In place or not at all. */
		new.alignment = o->alignment;
		end = hak_xallocx(o->p, size, extra, 0);
		if (end != hak_sallocx(o->p, 0))
			bad("%p: xallocx %zu, sallocx %zu", (void *)o->p, end,
			    hak_sallocx(o->p, 0));
		if (end < size) {
			/* Too far: it is what it was. */
			if (end < old_usable)
				bad("%p: xallocx failed and shrank",
				    (void *)o->p);
			new.asked = o->asked;
		}
		new.told = end;
		new.origin = FROM_X;
	} else if (kind <= 2) {
		int flags = 0;

		if (rng_below(&me->rng, 3) == 0) {
			new.alignment = random_alignment();
			flags |= HAK_ALIGN(new.alignment);
		}
		if (rng_below(&me->rng, 2) == 0) {
			flags |= HAK_ZERO;
			zero = true;
		}
		if (rng_below(&me->rng, 4) == 0)
			flags |= HAK_TCACHE_NONE;
		new.p = opaque(hak_rallocx(o->p, size, flags));
		new.origin = FROM_X;
	} else if (kind == 3) {
		new.p = opaque(hak_reallocarray(o->p, 1, size));
	} else {
		new.p = opaque(hak_realloc(o->p, size));
	}
	/* The content is still that of the old size. */
	object_check_in(&new);
	end = new.used;
	new.used = o->used;
	content_check(&new, keep < new.asked ? keep : new.asked,
	    "after realloc");
	if (zero && new.asked > old_usable)
		zero_check(new.p, old_usable, new.asked,
		    "memory grown with HAK_ZERO");
	new.used = end;
	content_write(&new);
	*o = new;
}

static void
take_out(int i, struct object *o)
{
	*o = me->object[i];
	me->object[i] = me->object[--me->live];
	me->live_bytes -= o->asked;
}

/* Another thread shall free it; false where its mailbox is full. */
static bool
hand_over(const struct object *o)
{
	struct worker *to = &worker[rng_below(&me->rng, (size_t)threads)];
	struct mailbox *box = &to->mailbox;
	bool done = false;

	pthread_mutex_lock(&box->lock);
	if (box->n < MAILBOX) {
		box->slot[box->n++] = *o;
		done = true;
	}
	pthread_mutex_unlock(&box->lock);
	return done;
}

static void
open_mailbox(void)
{
	struct mailbox *box = &me->mailbox;
	struct object o;

	for (;;) {
		pthread_mutex_lock(&box->lock);
		if (box->n == 0) {
			pthread_mutex_unlock(&box->lock);
			return;
		}
		o = box->slot[--box->n];
		pthread_mutex_unlock(&box->lock);
		object_free(&o);
	}
}

static void
free_one(void)
{
	struct object o;

	take_out((int)rng_below(&me->rng, (size_t)me->live), &o);
	if (threads > 1 && rng_below(&me->rng, 100) < remote_percent &&
	    hand_over(&o))
		return;
	object_free(&o);
}

static void *
work(void *arg)
{
	bool growing = true;

	me = arg;
	for (me->op = 0; me->op < ops; me->op++) {
		size_t kind = rng_below(&me->rng, 1000);

		/* Waves, so that caches and slabs both fill and empty. */
		if (me->live == MAX_LIVE || me->live_bytes > MAX_LIVE_BYTES)
			growing = false;
		else if (me->live < MAX_LIVE / 16)
			growing = true;
		if (kind < 150 && me->live > 0) {
			struct object *o = &me->object[
			    rng_below(&me->rng, (size_t)me->live)];

			me->live_bytes -= o->asked;
			object_realloc(o);
			me->live_bytes += o->asked;
		} else if (kind < 200 && me->live > 0) {
			struct object *o = &me->object[
			    rng_below(&me->rng, (size_t)me->live)];

			content_check(o, o->used, "look");
		} else if (kind < 230) {
			open_mailbox();
		} else if (kind == 230 && rng_below(&me->rng, 20) == 0) {
			hak_malloc_trim(0);
		} else if (kind == 231) {
			hak_free(NULL);
		} else if (me->live < MAX_LIVE && me->live_bytes <= MAX_LIVE_BYTES &&
		    kind % 100 < (growing ? 70 : 30)) {
			object_new(&me->object[me->live]);
			me->live_bytes += me->object[me->live].asked;
			me->live++;
		} else if (me->live > 0) {
			free_one();
		}
	}
	while (me->live > 0)
		free_one();
	open_mailbox();
	return NULL;
}

static const struct option long_options[] = {
	{ "break", required_argument, NULL, 'b' },
	{ NULL, 0, NULL, 0 }
};

static void __attribute__((noreturn))
usage(void)
{
	fputs("usage: model [-t threads] [-n ops] [-s seed] [-f percent] [-z] "
	    "[-u]\n             [--break=overlap|dirty|align|short|content]\n",
	    stderr);
	exit(2);
}

static void
options(int argc, char **argv)
{
	static const char *const name[] = {
		"none", "overlap", "dirty", "align", "short", "content"
	};
	int c;
	size_t i;

	seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	while ((c = getopt_long(argc, argv, "t:n:s:f:zu", long_options,
	    NULL)) != -1) {
		switch (c) {
		case 't':
			threads = atoi(optarg);
			break;
		case 'n':
			ops = strtoull(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			remote_percent = (unsigned)atoi(optarg);
			break;
		case 'z':
			malloc_zeroes = true;
			break;
		case 'u':
			use_usable = false;
			break;
		case 'b':
			for (i = 0; i < sizeof(name) / sizeof(*name); i++)
				if (strcmp(optarg, name[i]) == 0)
					break;
			if (i == sizeof(name) / sizeof(*name))
				usage();
			damage = (enum damage)i;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || threads < 1 || threads > MAX_THREADS)
		usage();
}

int
main(int argc, char **argv)
{
	int i;

	options(argc, argv);
	printf("model: seed %llu, %d threads, %llu ops each, %u %% freed "
	    "by others\n", (unsigned long long)seed, threads,
	    (unsigned long long)ops, remote_percent);
	fflush(stdout);
	shadow = map(PIECES * sizeof(*shadow));
	worker = map((size_t)threads * sizeof(*worker));
	for (i = 0; i < threads; i++) {
		uint64_t mix = seed + (uint64_t)i * 0x632be59bd9b4e019u;

		worker[i].id = i;
		worker[i].rng = rng_next(&mix);
		pthread_mutex_init(&worker[i].mailbox.lock, NULL);
	}
	if (threads == 1) {
		work(&worker[0]);
	} else {
		for (i = 0; i < threads; i++)
			if (pthread_create(&worker[i].thread, NULL, work,
			    &worker[i]) != 0)
				bad("no thread");
		for (i = 0; i < threads; i++)
			pthread_join(worker[i].thread, NULL);
	}
	/* What came after its reader had left. */
	for (i = 0; i < threads; i++) {
		me = &worker[i];
		open_mailbox();
	}
	if (damage != NONE)
		bad("--break went unnoticed");
	puts("model: ok");
	return 0;
}
