/*
 * mir: a compiler's middle end. Functions of blocks of instructions with operand
 * arrays and use lists; passes replace and fold some; each function is freed
 * node by node in bulk when it is done, a symbol table lives to the end.
 *
 * usage: mir [functions]
 */
#include "bench.h"

struct instruction;

struct use {
	struct instruction *user;
	struct use *next;
};

struct instruction {
	struct instruction *next;
	struct instruction **operands;
	struct use *uses;
	uint64_t value;
	uint16_t opcode, noperands;
	char *name;
};

struct block {
	struct block *next;
	struct instruction *first, **last;
	uint64_t *live; /* a bit set */
};

struct symbol {
	struct symbol *next;
	uint64_t hash;
	char name[];
};

#define BUCKETS 4096
#define WINDOW 64

static struct symbol *symbols[BUCKETS];
static uint64_t operations, rng = 12345;

static void *make(size_t size)
{
	operations++;
	return must(malloc(size));
}

static void drop(void *p)
{
	operations++;
	free(p);
}

static void intern(const char *name)
{
	uint64_t hash = 14695981039346656037u;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	struct symbol **s = &symbols[hash % BUCKETS];
	for (; *s; s = &(*s)->next)
		if ((*s)->hash == hash && strcmp((*s)->name, name) == 0)
			return;
	*s = make(sizeof(**s) + strlen(name) + 1);
	(*s)->next = NULL;
	(*s)->hash = hash;
	strcpy((*s)->name, name);
}

static void add_use(struct instruction *of, struct instruction *user)
{
	struct use *u = make(sizeof(*u));

	u->user = user;
	u->next = of->uses;
	of->uses = u;
}

static struct instruction *build(struct instruction **window, size_t known)
{
	struct instruction *i = make(sizeof(*i));
	char name[40];

	*i = (struct instruction) { .opcode = next_random(&rng) % 40 };
	i->noperands = (uint16_t)(known ? next_random(&rng) % (i->opcode == 7 ? 12 : 4) : 0);
	i->operands = i->noperands ? make(i->noperands * sizeof(*i->operands)) : NULL;
	i->value = i->opcode;
	for (int k = 0; k < i->noperands; k++) {
		struct instruction *of = window[next_random(&rng) %
		    (known < WINDOW ? known : WINDOW)];
		i->operands[k] = of;
		i->value = i->value * 33 + of->value;
		add_use(of, i);
	}
	if (next_random(&rng) % 8 == 0) {
		int n = snprintf(name, sizeof(name), "v%u.%s",
		    (unsigned)(next_random(&rng) % 5000),
		    i->opcode & 1 ? "address.of.field" : "t");
		i->name = make((size_t)n + 1);
		memcpy(i->name, name, (size_t)n + 1);
		intern(name);
	}
	return i;
}

/* Give some instructions new, longer operand arrays. */
static void pass(struct block *first)
{
	for (struct block *b = first; b; b = b->next)
		for (struct instruction *i = b->first; i; i = i->next) {
			if (!i->noperands || next_random(&rng) % 4)
				continue;
			size_t n = i->noperands + 1u;
			operations++;
			i->operands = must(realloc(i->operands, n * sizeof(*i->operands)));
			i->operands[n - 1] = i->operands[0];
			add_use(i->operands[0], i);
			i->noperands = (uint16_t)n;
			i->value ^= i->operands[0]->value << 1;
		}
}

static uint64_t finish(struct block *b)
{
	uint64_t sum = 0;
	struct block *next_block;

	for (; b; b = next_block) {
		struct instruction *next;
		next_block = b->next;
		for (struct instruction *i = b->first; i; i = next) {
			struct use *next_use;
			next = i->next;
			sum = sum * 3 + i->value;
			for (struct use *u = i->uses; u; u = next_use) {
				next_use = u->next;
				sum++;
				drop(u);
			}
			drop(i->operands);
			drop(i->name);
			drop(i);
		}
		drop(b->live);
		drop(b);
	}
	return sum;
}

static uint64_t compile(void)
{
	struct block *first = NULL, **last = &first;
	struct instruction *window[WINDOW];
	size_t known = 0, blocks = 4 + next_random(&rng) % 120;

	for (size_t n = 0; n < blocks; n++) {
		struct block *b = make(sizeof(*b));
		size_t instructions = 2 + next_random(&rng) % 40;
		*b = (struct block) { .last = &b->first };
		for (size_t k = 0; k < instructions; k++) {
			struct instruction *i = build(window, known);
			window[known++ % WINDOW] = i;
			*b->last = i;
			b->last = &i->next;
		}
		size_t words = known / 64 + 1;
		b->live = make(words * sizeof(*b->live));
		memset(b->live, (int)n, words * sizeof(*b->live));
		*last = b;
		last = &b->next;
	}
	for (int p = 0; p < 3; p++)
		pass(first);
	return finish(first);
}

int main(int argc, char **argv)
{
	size_t functions = argc > 1 ? strtoul(argv[1], NULL, 0) : 2500;
	uint64_t checksum = 0;
	double start = seconds();

	for (size_t f = 0; f < functions; f++)
		checksum = checksum * 31 + compile();
	for (size_t s = 0; s < BUCKETS; s++)
		for (struct symbol *p = symbols[s], *next; p; p = next) {
			next = p->next;
			checksum += p->hash;
			drop(p);
		}
	report((double)operations, seconds() - start, checksum);
	return 0;
}
