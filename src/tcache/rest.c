#include "tcache/rest.h"

#include <string.h>

#include "page/os.h"
#include "tcache/view.h"

static void **head_of(const struct tcache *t, size_t class)
{
	return *(void **const volatile *)&t->heads[class];
}

/* See that the thread comes here on its next free or allocation. */
static void visit(struct tcache *t)
{
	flag_store(&t->is_visited, 1);
	/* As for settings that changed (tcaches_set_layers). */
	AO_store_release(&t->map_limit, 0);
}

RACY_READER bool rest_look(struct rest *rest, struct tcache *t, bool all)
{
	bool left = false;
	unsigned before = rest->count;

	for (size_t c = 1; c < CLASS_WHALE; c++) {
		void **head = head_of(t, c);
		bool rests = all || head == t->rested[c];
		t->rested[c] = head;
		if ((!rests && left) || tcache_count_racy(t, c) == 0)
			continue;
		left = true;
		if (rests)
			rest->stacks[rest->count++] = (struct resting) { t, c, head, NULL };
	}
	/* Once nothing is left it is not looked at any more until its thread says that
	 * something is. */
	if (rest->count == before && (left || flag_load(&t->is_visited)))
		return left;
	visit(t);
	return true;
}

/* Step 2; false: the stack is in use. */
static bool cut(struct resting *r)
{
	struct tcache *t = r->cache;
	struct cache_bin *b = &t->bins[r->class];

	/* Pairs with the release in tcache_leave: the stack is as that left it. */
	if (AO_load_acquire(&t->is_entered) || !b->slots || head_of(t, r->class) != r->head)
		return false;
	size_t n = (size_t)(rest_end(b) - r->head);
	if (n == 0 || n > b->capacity)
		return false;
	r->top = pointer_load_acquire((AO_t *)r->head);
	return r->top && AO_compare_and_swap((AO_t *)r->head, (AO_t)r->top, 0);
}

static void put_back(struct resting *r)
{
	AO_compare_and_swap((AO_t *)r->head, 0, (AO_t)r->top);
}

/* Its objects are ours. */
static void return_objects(struct resting *r)
{
	struct tcache *t = r->cache;
	struct cache_bin *b = &t->bins[r->class];
	unsigned n = (unsigned)(rest_end(b) - r->head);

	b->cut = (uint16_t)(r->head - b->slots);
	counter_add_owned(&b->moved, n);
	t->ask_background |= bin_return(&t->arena->bins[r->class], &r->top, 1);
	if (n > 1)
		bin_return(&t->arena->bins[r->class], r->head + 1, n - 1);
}

/* Keep those for which is_good; else they are put back. */
static void keep(struct rest *rest, bool (*is_good)(struct resting *))
{
	unsigned kept = 0;

	for (unsigned i = 0; i < rest->count; i++)
		if (is_good(&rest->stacks[i]))
			rest->stacks[kept++] = rest->stacks[i];
		else if (rest->stacks[i].top)
			put_back(&rest->stacks[i]);
	rest->count = kept;
}

static bool head_stayed(struct resting *r)
{
	return head_of(r->cache, r->class) == r->head;
}

static bool top_stayed(struct resting *r)
{
	return !pointer_load_acquire((AO_t *)r->head);
}

static bool never(struct resting *r)
{
	(void)r;
	return false;
}

void rest_take(struct rest *rest)
{
	if (rest->count == 0 || !os_fence_threads())
		return;
	keep(rest, cut);
	/* A fence that fails proves nothing: all is put back, which needs none. */
	keep(rest, os_fence_threads() ? head_stayed : never);
	keep(rest, rest->count && os_fence_threads() ? top_stayed : never);
	for (unsigned i = 0; i < rest->count; i++)
		return_objects(&rest->stacks[i]);
}

void rest_mend(struct tcache *t)
{
	lock_acquire(&tcaches_lock);
	flag_store(&t->is_visited, 0);
	for (size_t c = 1; c < CLASS_WHALE; c++) {
		struct cache_bin *b = &t->bins[c];
		if (!b->cut)
			continue;
		size_t n = (size_t)(rest_end(b) - t->heads[c]);
		void **head = &b->slots[b->capacity + 1] - n;
		memmove(head, t->heads[c], n * sizeof(*head));
		t->heads[c] = head;
		b->cut = 0;
	}
	lock_release(&tcaches_lock);
	t->ask_background = true;
}
