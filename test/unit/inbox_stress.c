/*
 * The inbox under many pushers and takers: every parcel arrives once, whole. What
 * a parcel holds is plain memory, so that under ThreadSanitizer a push without its
 * release or a take without its acquire is reported as a race.
 */
#include <pthread.h>
#include <stdio.h>

#include "arena/inbox.h"

#define PUSHERS 4
#define TAKERS 2
#define PARCELS 20000

static struct inbox inbox;
static struct parcel parcels[PUSHERS][PARCELS];
static AO_t taken, pushed_all;

static void *push(void *arg)
{
	struct parcel *own = arg;

	for (size_t i = 0; i < PARCELS; i++) {
		own[i].count = (uint16_t)(1 + i % PARCEL_OBJECTS);
		own[i].bytes = 1;
		for (size_t k = 0; k < own[i].count; k++)
			own[i].objects[k] = &own[i];
		inbox_push(&inbox, &own[i]);
	}
	counter_add(&pushed_all, 1);
	return NULL;
}

static void *take(void *wrong)
{
	for (;;) {
		bool last = counter_get(&pushed_all) == PUSHERS;
		struct parcel *next, *p = inbox_take(&inbox);

		if (!p && last)
			return wrong;
		for (; p; p = next) {
			next = p->next;
			for (size_t k = 0; k < p->count; k++)
				if (p->objects[k] != p)
					*(int *)wrong = 1;
			/* A parcel that comes again is wrong by now. */
			p->objects[0] = NULL;
			counter_add(&taken, 1);
		}
	}
}

int main(void)
{
	pthread_t pushers[PUSHERS], takers[TAKERS];
	int wrong[TAKERS] = { 0 };

	for (int i = 0; i < TAKERS; i++)
		pthread_create(&takers[i], NULL, take, &wrong[i]);
	for (int i = 0; i < PUSHERS; i++)
		pthread_create(&pushers[i], NULL, push, parcels[i]);
	for (int i = 0; i < PUSHERS; i++)
		pthread_join(pushers[i], NULL);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(takers[i], NULL);
	bool good = counter_get(&taken) == PUSHERS * PARCELS && inbox_is_empty(&inbox) &&
	    counter_get(&inbox.bytes) == 0;
	for (int i = 0; i < TAKERS; i++)
		good &= !wrong[i];
	printf("inbox_stress: %zu of %d parcels: %s\n", counter_get(&taken),
	    PUSHERS * PARCELS, good ? "ok" : "FAILED");
	return good ? 0 : 1;
}
