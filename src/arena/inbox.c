#include "arena/inbox.h"

#include "page/metadata.h"

struct parcel *parcel_new(void)
{
	return metadata_alloc(sizeof(struct parcel));
}

void parcel_delete(struct parcel *parcel)
{
	metadata_free(parcel, sizeof(*parcel));
}

void inbox_push(struct inbox *inbox, struct parcel *parcel)
{
	void *head;

	counter_add(&inbox->bytes, parcel->bytes);
	counter_add(&inbox->received, parcel->count);
	do {
		head = (void *)flag_load(&inbox->head);
		parcel->next = head;
		/* Pairs with the acquire in inbox_take: whoever takes the parcel
		 * sees what is in it, and what its objects' last users wrote. */
	} while (!pointer_cas_release(&inbox->head, head, parcel));
}

struct parcel *inbox_take(struct inbox *inbox)
{
	void *head;

	do {
		head = (void *)flag_load(&inbox->head);
		if (!head)
			return NULL;
		/* Pairs with the release of each push: the later ones extend its
		 * release sequence. */
	} while (!pointer_cas_acquire(&inbox->head, head, NULL));
	size_t bytes = 0;
	for (struct parcel *p = head; p; p = p->next)
		bytes += p->bytes;
	counter_sub(&inbox->bytes, bytes);
	return head;
}
