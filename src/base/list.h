/* Circular doubly linked lists; a head is a link of its own. */
#ifndef HAK_BASE_LIST_H
#define HAK_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))

static inline void list_init(struct link *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct link *head)
{
	return head->next == head;
}

static inline void list_insert(struct link *after, struct link *item)
{
	item->prev = after;
	item->next = after->next;
	after->next->prev = item;
	after->next = item;
}

static inline void list_push(struct link *head, struct link *item)
{
	list_insert(head, item);
}

static inline void list_append(struct link *head, struct link *item)
{
	list_insert(head->prev, item);
}

/* The removed link points to itself: removing it again does nothing. */
static inline void list_remove(struct link *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#endif
