/*
 * vm: a bytecode machine. Calls push frames, strings are concatenated and
 * counted by reference, tables and buffers grow, closures capture values; what a
 * program leaves behind is freed when its last reference goes. Operands are drawn
 * while it runs, lest a program settle into a short cycle.
 *
 * usage: vm [-t threads] [-n thousand instructions] [-s seed]
 */
#include "bench.h"

enum kind { STRING, BUFFER, CLOSURE, TABLE };

struct object {
	unsigned references;
	enum kind kind;
	size_t length, room;
	union {
		char text[1];             /* STRING: inline */
		char *bytes;              /* BUFFER */
		struct object **slots;    /* CLOSURE, TABLE */
	};
};

struct frame {
	struct frame *caller;
	size_t returns_at, nlocals;
	struct object *locals[];
};

enum operation { CALL, RETURN, LITERAL, CONCAT, APPEND, CAPTURE, STORE, MOVE, OPERATIONS };

#define PROGRAM 4096
#define GLOBALS 16384
#define DEPTH 200

static unsigned char program[PROGRAM];
static _Thread_local uint64_t checksum;

static struct object *new_object(enum kind kind, size_t text)
{
	struct object *o = make(text > sizeof(char *) ?
	    offsetof(struct object, text) + text : sizeof(struct object));

	*o = (struct object) { .references = 1, .kind = kind };
	return o;
}

static struct object *hold(struct object *o)
{
	if (o)
		o->references++;
	return o;
}

static void let_go(struct object *o)
{
	if (!o || --o->references)
		return;
	checksum = checksum * 31 + o->length + o->kind;
	/* The ends of the contents, so that a library that spoils them differs. */
	if (o->kind <= BUFFER && o->length) {
		const char *text = o->kind == STRING ? o->text : o->bytes;
		checksum += (unsigned char)text[0] * 7u +
		    (unsigned char)text[o->length - 1];
	}
	if (o->kind == BUFFER)
		drop(o->bytes);
	if (o->kind >= CLOSURE) {
		for (size_t i = 0; i < o->length; i++)
			let_go(o->slots[i]);
		drop(o->slots);
	}
	drop(o);
}

static void set(struct object **slot, struct object *o)
{
	struct object *old = *slot;

	*slot = o;
	let_go(old);
}

static struct frame *call(struct frame *caller, size_t returns_at, uint64_t n)
{
	size_t nlocals = 4 + n % 13;
	struct frame *f = make_zeroed(1, sizeof(*f) + nlocals * sizeof(f->locals[0]));

	f->caller = caller;
	f->returns_at = returns_at;
	f->nlocals = nlocals;
	return f;
}

static struct frame *leave(struct frame *f)
{
	struct frame *caller = f->caller;

	for (size_t i = 0; i < f->nlocals; i++)
		let_go(f->locals[i]);
	drop(f);
	return caller;
}

static struct object *literal(uint64_t n)
{
	size_t length = 1 + n % (n % 16 ? 40 : 400);
	struct object *o = new_object(STRING, length);

	memset(o->text, (int)('a' + n % 26), length);
	o->length = length;
	return o;
}

static struct object *concat(const struct object *a, const struct object *b)
{
	size_t la = a && a->kind == STRING ? a->length : 0;
	size_t lb = b && b->kind == STRING ? b->length : 0;
	struct object *o;

	if (la + lb > 6000)
		lb = 0, la %= 50;
	o = new_object(STRING, la + lb + 1);
	if (la)
		memcpy(o->text, a->text, la);
	if (lb)
		memcpy(o->text + la, b->text, lb);
	o->length = la + lb;
	return o;
}

static struct object *append(struct object *o, const struct object *text)
{
	if (!o || o->kind != BUFFER || o->references > 1 || o->length > 200000)
		o = new_object(BUFFER, 0);
	else
		hold(o);
	size_t n = text && text->kind == STRING ? text->length : 8;
	if (n == 0)
		return o;
	if (o->length + n > o->room) {
		o->room = (o->length + n) * 3 / 2;
		o->bytes = grow(o->bytes, o->room);
	}
	if (text && text->kind == STRING)
		memcpy(o->bytes + o->length, text->text, n);
	else
		memset(o->bytes + o->length, 1, n);
	o->length += n;
	return o;
}

static struct object *capture(const struct frame *f, uint64_t n)
{
	struct object *o = new_object(n & 1 ? CLOSURE : TABLE, 0);
	size_t want = n & 1 ? 1 + n % 4 : 4 + n % 60;

	o->slots = make_zeroed(want, sizeof(*o->slots));
	for (size_t i = 0; i < want; i++) {
		struct object *l = f->locals[(n + i) % f->nlocals];
		/* Of plain values only, so that nothing refers to itself. */
		o->slots[i] = l && l->kind <= BUFFER ? hold(l) : NULL;
	}
	o->length = o->room = want;
	return o;
}

/* Call a closure: what it captured becomes locals, after the argument. */
static void unpack(struct frame *f, const struct object *closure)
{
	for (size_t i = 0; i < closure->length && i + 1 < f->nlocals; i++)
		f->locals[i + 1] = hold(closure->slots[i]);
}

static uint64_t interpret(struct share *share)
{
	struct object **globals = make_zeroed(GLOBALS, sizeof(*globals));
	struct frame *f = call(NULL, 0, 20);
	size_t at = 0, depth = 1;

	checksum = 0;
	for (size_t i = 0; i < share->work * 1000; i++) {
		uint64_t n = next_random(&share->rng);
		struct object **a = &f->locals[n % f->nlocals];
		struct object *b = f->locals[(n >> 8) % f->nlocals];
		switch (program[at++ % PROGRAM]) {
		case CALL:
			if (depth == DEPTH)
				break;
			f = call(f, at, n >> 16);
			f->locals[0] = hold(b);
			if (b && b->kind == CLOSURE)
				unpack(f, b);
			depth++;
			at = (n >> 20) % PROGRAM;
			break;
		case RETURN:
			if (depth == 1)
				break;
			at = f->returns_at;
			f = leave(f);
			depth--;
			break;
		case LITERAL: set(a, literal(n >> 16)); break;
		case CONCAT: set(a, concat(*a, b)); break;
		case APPEND: set(a, append(*a, b)); break;
		case CAPTURE: set(a, capture(f, n >> 16)); break;
		case STORE: set(&globals[(n >> 16) % GLOBALS], hold(b)); break;
		case MOVE: set(a, hold(globals[(n >> 16) % GLOBALS])); break;
		}
	}
	while (f)
		f = leave(f);
	for (size_t i = 0; i < GLOBALS; i++)
		let_go(globals[i]);
	drop(globals);
	return checksum;
}

int main(int argc, char **argv)
{
	static const unsigned char mix[] = { CALL, RETURN, RETURN, CALL, LITERAL,
	    LITERAL, LITERAL, CONCAT, CONCAT, CONCAT, APPEND, CAPTURE, STORE, STORE,
	    MOVE, MOVE };
	struct options options = parse_options(argc, argv, 30000);
	uint64_t rng = seeded(options.seed, 0);

	for (size_t i = 0; i < PROGRAM; i++)
		program[i] = mix[next_random(&rng) % sizeof(mix)];
	run_shares(&options, interpret);
	return 0;
}
