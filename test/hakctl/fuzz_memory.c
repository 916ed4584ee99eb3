/*
 * A process without a stats segment whose allocator is damaged: words of the structures
 * that its anchor (ctl/anchor.h) leads to become strange ones, it runs hakctl on itself,
 * and mends them again. It allocates nothing meanwhile. To be run on hakmem, with
 * background_thread:false.
 *
 *     fuzz_memory HAKCTL [ROUNDS [SEED]]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "ctl/anchor.h"
#include "fuzz.h"

#define PARTS 40
#define DAMAGES 4

static struct part {
	const char *name;
	char *start;
	size_t size;
} parts[PARTS];
static int part_count;
static struct anchor *anchor;

/* ---- What there is to damage ---- */

static void add(const char *name, const void *start, size_t size)
{
	uintptr_t page = (uintptr_t)start & ~(uintptr_t)4095;

	if (!start || part_count == PARTS)
		return;
	parts[part_count++] = (struct part) { name, (char *)(uintptr_t)start, size };
	/* Some of it is constant. */
	mprotect((void *)page, (uintptr_t)start + size - page, PROT_READ | PROT_WRITE);
}

static struct anchor *find_in(char *start, char *end)
{
	for (; start + sizeof(struct anchor) <= end; start += ANCHOR_ALIGNMENT)
		if (memcmp(start, ANCHOR_MAGIC, sizeof(ANCHOR_MAGIC)) == 0)
			return (struct anchor *)start;
	return NULL;
}

static struct anchor *find_anchor(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	struct anchor *found = NULL;
	char line[512];
	void *start, *end;

	while (maps && !found && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%p-%p rw", &start, &end) == 2 && strstr(line, " rw") &&
		    strstr(line, "/libhakmem"))
			found = find_in(start, end);
	if (maps)
		fclose(maps);
	return found;
}

static void add_all(void)
{
	const struct arena_places *arenas = anchor->arenas;
	const struct tcache_places *tcaches = anchor->tcaches;

	add("anchor", anchor, sizeof(*anchor));
	add("settings", anchor->settings, sizeof(*anchor->settings));
	add("page_map", anchor->page_map, sizeof(*anchor->page_map));
	add("arena places", arenas, sizeof(*arenas));
	add("arenas", arenas->arenas, 8 * sizeof(AO_t));
	add("narenas", arenas->narenas, sizeof(AO_t));
	add("an arena", (void *)arenas->arenas[1], sizeof(struct arena));
	add("tcache places", tcaches, sizeof(*tcaches));
	add("list of tcaches", tcaches->tcaches, sizeof(*tcaches->tcaches));
	for (struct link *l = tcaches->tcaches->next; l != tcaches->tcaches; l = l->next) {
		struct tcache *t = container_of(l, struct tcache, link);
		add("a tcache", t, sizeof(*t));
		add("its links", &t->link, sizeof(t->link));
		add("its parcels", &t->parcels, sizeof(t->parcels));
		if (t->parcels[0])
			add("a parcel", t->parcels[0], sizeof(struct parcel));
	}
	add("page heap places", anchor->page_heap, sizeof(*anchor->page_heap));
	add("whale places", anchor->whales, sizeof(*anchor->whales));
	add("owners of whales", anchor->whales->owners, 4 * sizeof(struct whale_owner));
	add("metadata places", anchor->metadata, sizeof(*anchor->metadata));
	add("page map places", anchor->maps, sizeof(*anchor->maps));
	add("map pages", anchor->maps->resident, sizeof(AO_t));
	add("locks", anchor->locks, MUTEXES * sizeof(struct lock *));
}

/* ---- Damage ---- */

static uint64_t strange(void)
{
	const struct part *p = &parts[random_below((uint64_t)part_count)];
	const uint64_t numbers[] = { 0, 1, 63, 64, 255, 1023, 1024, 0xffff, 0xffffffff,
		INT64_MAX, UINT64_MAX, UINT64_MAX - 7, 4096, (uintptr_t)p->start,
		(uintptr_t)p->start + random_below(p->size), (uintptr_t)anchor };

	return random_below(4) ? numbers[random_below(COUNT(numbers))] : random_next();
}

static bool round_of(uint64_t this_seed)
{
	struct {
		char *at;
		uint64_t was;
	} damaged[DAMAGES];
	const struct part *part = NULL;
	bool good = true;
	int n;

	seed = this_seed;
	n = 1 + (int)random_below(DAMAGES);
	for (int i = 0; i < n; i++) {
		part = &parts[random_below((uint64_t)part_count)];
		uint64_t value = strange();
		damaged[i].at = part->start + random_below(part->size / 4 - 1) * 4;
		memcpy(&damaged[i].was, damaged[i].at, 8);
		memcpy(damaged[i].at, &value, 8);
	}
	for (int i = 0; good && i < 2; i++)
		good = run(looks[random_below(COUNT(looks))]);
	while (n-- > 0)
		memcpy(damaged[n].at, &damaged[n].was, 8);
	if (!good)
		printf("seed %llu: %s\n", (unsigned long long)this_seed, part->name);
	return good;
}

/* A list of caches that leads to itself, each with full parcels. */
static bool endless_list(void)
{
	static struct parcel full = { .arena = 1, .count = PARCEL_OBJECTS };
	struct tcache *t = container_of(anchor->tcaches->tcaches->next, struct tcache, link);
	struct tcache was = *t;

	for (size_t i = 0; i < PARCEL_OBJECTS; i++)
		full.objects[i] = t;
	for (size_t i = 0; i < OPEN_PARCELS; i++)
		t->parcels[i] = &full;
	t->link.next = &t->link;
	bool good = run(looks[0]);
	*t = was;
	return good;
}

/* Leaves a cache, and what was freed across arenas on its way home. */
static void *free_others(void *objects)
{
	void **object = objects;
	char *own[100];

	for (int i = 0; i < 100; i++)
		own[i] = malloc((size_t)i * 50);
	for (int i = 0; i < 1000; i++)
		free(object[i]);
	for (int i = 0; i < 100; i++)
		free(own[i]);
	pause();
	return NULL;
}

int main(int argc, char **argv)
{
	static const char *const look[8] = { "stats", "PID", "--all" };
	static void *objects[1000];
	struct timespec moment = { 0, 100000000 };
	pthread_t thread;

	for (int i = 0; i < 1000; i++)
		objects[i] = malloc((size_t)i % 300);
	pthread_create(&thread, NULL, free_others, objects);
	nanosleep(&moment, NULL);
	free(malloc(5 << 20));
	anchor = find_anchor();
	if (!anchor) {
		fprintf(stderr, "fuzz_memory: does not run on hakmem\n");
		return 2;
	}
	add_all();
	unsetenv("LD_PRELOAD");
	hakctl = argv[1];
	snprintf(own_pid, sizeof(own_pid), "%d", getpid());
	if (argc < 2 || !run(look) || !strstr(printed, "2 threads")) {
		fprintf(stderr, "fuzz_memory: hakctl does not see it:\n%s\n", printed);
		return 1;
	}
	return run_rounds(argc, argv, round_of) || !endless_list();
}
