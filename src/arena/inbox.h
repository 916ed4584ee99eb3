/*
 * An arena's inbox: objects that threads of other arenas freed, in parcels.
 * Anyone pushes a parcel, anyone takes all of them at once; push-one and
 * take-all on a stack have no ABA problem. Nothing is linked through the
 * objects.
 */
#ifndef HAK_ARENA_INBOX_H
#define HAK_ARENA_INBOX_H

#include "base/atomic.h"

/* Half a KiB with its header. */
#define PARCEL_OBJECTS 61u

struct parcel {
	struct parcel *next;
	uint16_t arena; /* id: what the objects were of when they were freed */
	uint16_t count;
	uint32_t bytes;
	size_t generation; /* the arena's when its objects were freed */
	void *objects[PARCEL_OBJECTS];
};

struct inbox {
	AO_t head;    /* struct parcel *: newest first */
	AO_t bytes;   /* about how much lies here */
	AO_t received; /* ever */
};

/* NULL: no memory. */
struct parcel *parcel_new(void);
void parcel_delete(struct parcel *parcel);

/* The parcel is the inbox's afterwards. */
void inbox_push(struct inbox *inbox, struct parcel *parcel);
/* All parcels, linked by next; NULL: none. They are the caller's. */
struct parcel *inbox_take(struct inbox *inbox);

static inline bool inbox_is_empty(const struct inbox *inbox)
{
	return !flag_load(&inbox->head);
}

#endif
