/*
 * json: parse documents into trees, walk them, free them. Values are nodes of
 * their own, strings are copied, arrays and objects grow by realloc; a few
 * documents live on for a while, as in a server.
 *
 * usage: json [rounds]
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

static uint64_t operations;

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
	char word[96];
	size_t n = 1 + next_random(rng) % (next_random(rng) % 8 ? 16 : 90);

	word[0] = '"';
	for (size_t i = 1; i <= n; i++)
		word[i] = (char)('a' + next_random(rng) % 26);
	word[n + 1] = '"';
	word[n + 2] = '\0';
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
	const char *end = strchr(*s + 1, '"');
	size_t n = (size_t)(end - *s - 1);
	char *copy = must(malloc(n + 1));

	memcpy(copy, *s + 1, n);
	copy[n] = '\0';
	*s = end + 1;
	operations++;
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
			v->items = must(realloc(v->items, v->room * sizeof(*v->items)));
			if (v->type == OBJECT)
				v->keys = must(realloc(v->keys, v->room * sizeof(*v->keys)));
			operations += 2;
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
	struct value *v = must(malloc(sizeof(*v)));
	char *end;

	operations++;
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

static uint64_t walk(const struct value *v)
{
	uint64_t sum = v->type;

	if (v->type == NUMBER)
		return sum + (uint64_t)(v->number * 1000);
	if (v->type == STRING)
		return sum + strlen(v->string) * 31 + (unsigned char)v->string[0];
	if (v->type >= ARRAY)
		for (size_t i = 0; i < v->count; i++)
			sum = sum * 7 + walk(v->items[i]) +
			    (v->keys ? (unsigned char)v->keys[i][0] : 0);
	return sum;
}

static void destroy(struct value *v)
{
	if (v->type == STRING)
		free(v->string);
	if (v->type >= ARRAY) {
		for (size_t i = 0; i < v->count; i++) {
			if (v->keys)
				free(v->keys[i]);
			destroy(v->items[i]);
		}
		free(v->keys);
		free(v->items);
	}
	free(v);
	operations++;
}

int main(int argc, char **argv)
{
	struct text documents[DOCUMENTS] = { 0 };
	struct value *live[LIVE] = { NULL };
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 40;
	uint64_t rng = 12345, checksum = 0;

	for (int d = 0; d < DOCUMENTS; d++)
		generate(&documents[d], &rng, TOP);
	double start = seconds();
	for (size_t r = 0; r < rounds * DOCUMENTS; r++) {
		const char *s = documents[r % DOCUMENTS].p;
		size_t slot = next_random(&rng) % LIVE;
		if (live[slot])
			destroy(live[slot]);
		live[slot] = parse(&s);
		if (*s) {
			fprintf(stderr, "json: text left over\n");
			return 1;
		}
		checksum = checksum * 31 + walk(live[slot]);
	}
	for (int i = 0; i < LIVE; i++)
		if (live[i])
			destroy(live[i]);
	report((double)operations, seconds() - start, checksum);
	for (int d = 0; d < DOCUMENTS; d++)
		free(documents[d].p);
	return 0;
}
