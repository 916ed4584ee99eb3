/*
 * json: parse documents into trees, walk them, free them. Values are nodes of
 * their own; strings, arrays and objects grow by realloc while they are read;
 * a few documents live on for a while, as in a server.
 *
 * usage: json [-t threads] [-n documents] [-s seed]
 */
#include "bench.h"

#define DOCUMENTS 64
#define LIVE 24
/* Levels of a document. */
#define TOP 5

enum type { NIL, TRUE, FALSE, NUMBER, STRING, ARRAY, OBJECT };

struct value {
	enum type type;
	union {
		double number;
		char *string;
		struct {
			struct value **items;
			char **keys;
			size_t count, room;
		};
	};
};

struct text {
	char *p;
	size_t length, room;
};

static struct text documents[DOCUMENTS];

static void put(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (t->length + n + 1 > t->room) {
		t->room = (t->length + n + 1) * 2;
		t->p = must(realloc(t->p, t->room));
	}
	memcpy(t->p + t->length, s, n + 1);
	t->length += n;
}

static void put_string(struct text *t, uint64_t *rng)
{
	char word[200];
	size_t n = 1 + next_random(rng) % (next_random(rng) % 8 ? 16 : 90);

	char *w = word;

	*w++ = '"';
	for (size_t i = 0; i < n; i++) {
		char c = (char)('a' + next_random(rng) % 27);
		/* The letter after z: what has to be escaped. */
		if (c > 'z') {
			*w++ = '\\';
			c = '"';
		}
		*w++ = c;
	}
	*w++ = '"';
	*w = '\0';
	put(t, word);
}

static void generate(struct text *t, uint64_t *rng, int depth)
{
	char number[32];
	size_t n, kind = next_random(rng) % 10;

	if (depth == 0 || (kind < 7 && depth < TOP)) {
		switch (next_random(rng) % 5) {
		case 0: put(t, "true"); return;
		case 1: put(t, "null"); return;
		case 2: case 3: put_string(t, rng); return;
		default:
			snprintf(number, sizeof(number), "%u.%u",
			    (unsigned)(next_random(rng) % 100000),
			    (unsigned)(next_random(rng) % 1000));
			put(t, number);
			return;
		}
	}
	n = next_random(rng) % 16 + (depth == TOP ? 40 : 0);
	put(t, kind % 2 ? "[" : "{");
	for (size_t i = 0; i < n; i++) {
		if (i)
			put(t, ",");
		if (kind % 2 == 0) {
			put_string(t, rng);
			put(t, ":");
		}
		generate(t, rng, depth - 1);
	}
	put(t, kind % 2 ? "]" : "}");
}

static struct value *parse(const char **s);

static char *parse_string(const char **s)
{
	size_t n = 0, room = 16;
	char *copy = make(room);
	const char *c = *s + 1;

	for (; *c != '"'; c++) {
		c += *c == '\\';
		copy[n++] = *c;
		if (n == room)
			copy = grow(copy, room *= 2);
	}
	copy[n] = '\0';
	*s = c + 1;
	return copy;
}

static void parse_items(const char **s, struct value *v)
{
	char close = v->type == ARRAY ? ']' : '}';

	v->items = NULL;
	v->keys = NULL;
	v->count = v->room = 0;
	for (++*s; **s != close; *s += **s == ',') {
		if (v->count == v->room) {
			v->room = v->room ? v->room * 2 : 4;
			v->items = grow(v->items, v->room * sizeof(*v->items));
			if (v->type == OBJECT)
				v->keys = grow(v->keys, v->room * sizeof(*v->keys));
		}
		if (v->type == OBJECT) {
			v->keys[v->count] = parse_string(s);
			++*s;
		}
		v->items[v->count++] = parse(s);
	}
	++*s;
}

static struct value *parse(const char **s)
{
	struct value *v = make(sizeof(*v));
	char *end;

	switch (**s) {
	case 't': v->type = TRUE; *s += 4; break;
	case 'f': v->type = FALSE; *s += 5; break;
	case 'n': v->type = NIL; *s += 4; break;
	case '"': v->type = STRING; v->string = parse_string(s); break;
	case '[': v->type = ARRAY; parse_items(s, v); break;
	case '{': v->type = OBJECT; parse_items(s, v); break;
	default:
		v->type = NUMBER;
		v->number = strtod(*s, &end);
		*s = end;
	}
	return v;
}

static uint64_t ends(const char *s)
{
	size_t n = strlen(s);

	return n * 31 + (unsigned char)s[0] + 7u * (unsigned char)s[n - 1];
}

static uint64_t walk(const struct value *v)
{
	uint64_t sum = v->type;

	if (v->type == NUMBER)
		return sum + (uint64_t)(v->number * 1000);
	if (v->type == STRING)
		return sum + ends(v->string);
	if (v->type >= ARRAY)
		for (size_t i = 0; i < v->count; i++)
			sum = sum * 7 + walk(v->items[i]) +
			    (v->keys ? ends(v->keys[i]) : 0);
	return sum;
}

static void destroy(struct value *v)
{
	if (v->type == STRING)
		drop(v->string);
	if (v->type >= ARRAY) {
		for (size_t i = 0; i < v->count; i++) {
			if (v->keys)
				drop(v->keys[i]);
			destroy(v->items[i]);
		}
		drop(v->keys);
		drop(v->items);
	}
	drop(v);
}

static uint64_t serve(struct share *share)
{
	struct value *live[LIVE] = { NULL };
	uint64_t checksum = 0;

	for (size_t r = 0; r < share->work; r++) {
		const char *s = documents[r % DOCUMENTS].p;
		size_t slot = next_random(&share->rng) % LIVE;
		if (live[slot])
			destroy(live[slot]);
		live[slot] = parse(&s);
		if (*s) {
			fprintf(stderr, "json: text left over\n");
			exit(1);
		}
		checksum = checksum * 31 + walk(live[slot]);
	}
	for (int i = 0; i < LIVE; i++)
		if (live[i])
			destroy(live[i]);
	return checksum;
}

int main(int argc, char **argv)
{
	struct options options = parse_options(argc, argv, 5000);
	uint64_t rng = seeded(options.seed, 0);

	for (int d = 0; d < DOCUMENTS; d++)
		generate(&documents[d], &rng, TOP);
	run_shares(&options, serve);
	for (int d = 0; d < DOCUMENTS; d++)
		free(documents[d].p);
	return 0;
}
