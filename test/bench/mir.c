/*
 * mir: a compiler's middle end. Functions of blocks of instructions with operand
 * arrays and use lists; passes number the values in a hash table, lengthen
 * operand arrays and remove what is not used; the functions of a module are
 * built, go through the passes and are freed node by node, a symbol table lives
 * to the end.
 *
 * usage: mir [-t threads] [-n functions] [-s seed]
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
	size_t words;
};

struct symbol {
	struct symbol *next;
	uint64_t hash;
	char name[];
};

#define BUCKETS 4096
#define WINDOW 64
/* Functions of a module. */
#define MODULE 16

/* A hash table of pointers, open addressing. */
struct values {
	struct instruction **slots;
	size_t count, room;
};

/* Each thread compiles a file of its own. */
static _Thread_local struct symbol *symbols[BUCKETS];
static _Thread_local uint64_t rng;

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

static void remove_use(struct instruction *of, const struct instruction *user)
{
	struct use **u = &of->uses, *found;

	while ((*u)->user != user)
		u = &(*u)->next;
	found = *u;
	*u = found->next;
	drop(found);
}

static void drop_instruction(struct instruction *i)
{
	drop(i->operands);
	drop(i->name);
	drop(i);
}

static struct instruction **slot(const struct values *v, uint64_t value)
{
	size_t at = (value * 0x9e3779b97f4a7c15u >> 20) & (v->room - 1);

	while (v->slots[at] && v->slots[at]->value != value)
		at = (at + 1) & (v->room - 1);
	return &v->slots[at];
}

static void make_room(struct values *v)
{
	struct values old = *v;

	v->room = v->room ? v->room * 2 : 16;
	v->slots = make_zeroed(v->room, sizeof(*v->slots));
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i])
			*slot(v, old.slots[i]->value) = old.slots[i];
	drop(old.slots);
}

/* How many distinct values a function computes. */
static size_t number_values(const struct block *b)
{
	struct values v = { 0 };

	for (; b; b = b->next)
		for (struct instruction *i = b->first; i; i = i->next) {
			if (v.count * 4 >= v.room * 3)
				make_room(&v);
			struct instruction **found = slot(&v, i->value);
			v.count += !*found;
			*found = i;
		}
	drop(v.slots);
	return v.count;
}

/* Remove instructions that nothing uses; odd ones have effects. */
static size_t remove_dead(struct block *first)
{
	size_t removed = 0;

	for (struct block *b = first; b; b = b->next)
		for (struct instruction **link = &b->first, *i; (i = *link);) {
			if (i->uses || i->opcode % 2) {
				link = &i->next;
				continue;
			}
			*link = i->next;
			for (int k = 0; k < i->noperands; k++)
				remove_use(i->operands[k], i);
			drop_instruction(i);
			removed++;
		}
	return removed;
}

/* Give some instructions longer operand arrays. */
static void lengthen(struct block *first)
{
	for (struct block *b = first; b; b = b->next)
		for (struct instruction *i = b->first; i; i = i->next) {
			if (!i->noperands || next_random(&rng) % 4)
				continue;
			size_t n = i->noperands + 1u;
			i->operands = grow(i->operands, n * sizeof(*i->operands));
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
			sum = sum * 3 + i->value + (i->name ? (unsigned char)i->name[1] : 0);
			for (struct use *u = i->uses; u; u = next_use) {
				next_use = u->next;
				sum++;
				drop(u);
			}
			drop_instruction(i);
		}
		sum += b->live[0] + b->live[b->words - 1];
		drop(b->live);
		drop(b);
	}
	return sum;
}

static struct block *build_function(void)
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
		b->words = known / 64 + 1;
		b->live = make(b->words * sizeof(*b->live));
		memset(b->live, (int)n, b->words * sizeof(*b->live));
		*last = b;
		last = &b->next;
	}
	return first;
}

static uint64_t compile(size_t functions)
{
	struct block *module[MODULE];
	uint64_t sum = 0;

	for (size_t f = 0; f < functions; f++)
		module[f] = build_function();
	for (int p = 0; p < 3; p++)
		for (size_t f = 0; f < functions; f++) {
			lengthen(module[f]);
			sum = sum * 31 + number_values(module[f]);
			sum = sum * 31 + remove_dead(module[f]);
		}
	for (size_t f = 0; f < functions; f++)
		sum = sum * 31 + finish(module[f]);
	return sum;
}

static uint64_t compile_all(struct share *share)
{
	uint64_t checksum = 0;

	rng = share->rng;
	for (size_t left = share->work, n; left > 0; left -= n) {
		n = left < MODULE ? left : MODULE;
		checksum = checksum * 31 + compile(n);
	}
	for (size_t s = 0; s < BUCKETS; s++)
		for (struct symbol *p = symbols[s], *next; p; p = next) {
			next = p->next;
			checksum += p->hash ^ (unsigned char)p->name[0];
			drop(p);
		}
	return checksum;
}

int main(int argc, char **argv)
{
	struct options options = parse_options(argc, argv, 3000);

	run_shares(&options, compile_all);
	return 0;
}
