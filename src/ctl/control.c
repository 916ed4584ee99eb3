#define _GNU_SOURCE
#include "ctl/control.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/background.h"
#include "ctl/collect.h"
#include "ctl/site.h"
#include "hakmem/hakmem.h"
#include "page/metadata.h"
#include "page/os.h"
#include "page/page_heap.h"
#include "page/whale.h"
#include "tcache/explicit.h"

struct lock control_lock = LOCK_INITIALIZER;
AO_t control_limit_callback;

/* What stats.* read from; guarded by control_lock, as is the room in it. */
static struct snapshot *view;
static unsigned view_rows;

enum action { READ, WRITE, ACT };

union value {
	uint64_t number;
	const char *string;
	void *pointer;
};

typedef int handler(const struct ctl_place *place, enum action action,
    union value *value);

const struct snapshot *control_snapshot(bool fresh)
{
	unsigned rows = collect_rows();

	lock_acquire(&control_lock);
	if (view && view_rows < rows) {
		metadata_free(view, snapshot_size(view_rows));
		view = NULL;
	}
	if (!view) {
		view = metadata_alloc(snapshot_size(rows));
		view_rows = rows;
		fresh = true;
	}
	if (!view) {
		lock_release(&control_lock);
		return NULL;
	}
	if (fresh)
		collect(view, view_rows);
	return view;
}

void control_purge_all(void)
{
	tcache_flush_own();
	background_pass(true);
}

/* A handler of a word that anybody may change. */
static int word(AO_t *setting, enum action action, union value *value)
{
	if (action == READ)
		value->number = flag_load(setting);
	else
		flag_store(setting, value->number);
	return 0;
}

static int milliseconds(AO_t *setting, enum action action, union value *value)
{
	/* A day: times are kept in 32 bits of milliseconds. */
	if (action == WRITE && ((int64_t)value->number < -1 ||
	    (int64_t)value->number > 86400000))
		return EINVAL;
	int error = word(setting, action, value);
	background_ask();
	return error;
}

static int read_only(enum action action)
{
	return action == READ ? 0 : EPERM;
}

static int ctl_epoch(const struct ctl_place *place, enum action action,
    union value *value)
{
	const struct snapshot *s = control_snapshot(action == WRITE);

	(void)place;
	if (!s)
		return EAGAIN;
	if (action == READ)
		value->number = s->epoch;
	lock_release(&control_lock);
	return 0;
}

static int ctl_background_thread(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	int error = word(&settings.background_thread, action, value);
	background_ask();
	return error;
}

static int ctl_max_background_threads(const struct ctl_place *place,
    enum action action, union value *value)
{
	(void)place;
	if (action == WRITE)
		return value->number == 1 ? 0 : EINVAL;
	value->number = 1;
	return 0;
}

/* The calling thread. */

static int ctl_thread_arena(const struct ctl_place *place, enum action action,
    union value *value)
{
	struct tcache *t = tcache_get();

	(void)place;
	if (!t)
		return EAGAIN;
	if (action == READ) {
		value->number = t->arena->id - 1;
		return 0;
	}
	if (value->number >= arenas_max())
		return EFAULT;
	unsigned id = (unsigned)value->number + 1;
	struct arena *arena = arena_get(id);
	if (!arena)
		arena = arena_ensure(id);
	if (!arena)
		return EAGAIN;
	if (arena->is_destroyed)
		return EFAULT;
	tcache_bind(t, arena);
	return 0;
}

static int bytes(enum action action, uint64_t *number, size_t field)
{
	struct tcache *t = tcache_get();

	if (!t)
		return EAGAIN;
	tcache_count(t);
	if (action == READ)
		*number = *(uint64_t *)((char *)&t->bytes + field);
	return 0;
}

#define BYTES(field) offsetof(struct thread_bytes, field)

static int ctl_thread_allocated(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return bytes(action, &value->number, BYTES(allocated));
}

static int ctl_thread_deallocated(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return bytes(action, &value->number, BYTES(freed));
}

static int ctl_thread_allocatedp(const struct ctl_place *place, enum action action,
    union value *value)
{
	uint64_t unused;
	int error = bytes(action, &unused, BYTES(allocated));

	(void)place;
	if (!error)
		value->pointer = &tcache_self->bytes.allocated;
	return error;
}

static int ctl_thread_deallocatedp(const struct ctl_place *place,
    enum action action, union value *value)
{
	uint64_t unused;
	int error = bytes(action, &unused, BYTES(freed));

	(void)place;
	if (!error)
		value->pointer = &tcache_self->bytes.freed;
	return error;
}

static int ctl_thread_peak_read(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return bytes(action, &value->number, BYTES(peak));
}

static int ctl_thread_peak_reset(const struct ctl_place *place, enum action action,
    union value *value)
{
	uint64_t unused;
	int error = bytes(action, &unused, BYTES(peak));

	(void)place, (void)value;
	if (error)
		return error;
	struct thread_bytes *b = &tcache_self->bytes;
	b->peak_base = b->allocated - b->freed;
	b->peak = 0;
	return 0;
}

static int ctl_thread_idle(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action, (void)value;
	tcache_flush_own();
	return 0;
}

static int ctl_thread_tcache_flush(const struct ctl_place *place,
    enum action action, union value *value)
{
	return ctl_thread_idle(place, action, value);
}

static int ctl_thread_name(const struct ctl_place *place, enum action action,
    union value *value)
{
	static __thread char name[16];

	(void)place;
	if (action == WRITE)
		return pthread_setname_np(pthread_self(), value->string) ? EINVAL : 0;
	value->string = name;
	return pthread_getname_np(pthread_self(), name, sizeof(name));
}

static int ctl_thread_tcache_enabled(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct tcache *t = tcache_get();

	(void)place;
	if (!t)
		return EAGAIN;
	if (action == READ)
		value->number = !t->is_off;
	else
		tcache_enable(t, value->number);
	return 0;
}

static int ctl_thread_tcache_max(const struct ctl_place *place, enum action action,
    union value *value)
{
	struct tcache *t = tcache_get();

	(void)place;
	if (!t)
		return EAGAIN;
	if (action == READ)
		value->number = t->class_max ? size_class_size(t->class_max) : 0;
	else
		tcache_set_max(t, value->number);
	return 0;
}

static int ctl_tcache_create(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	value->number = explicit_create();
	return value->number == EXPLICIT_MAX ? EAGAIN : 0;
}

static int ctl_tcache_flush(const struct ctl_place *place, enum action action,
    union value *value)
{
	struct tcache *t = explicit_get((unsigned)value->number);

	(void)place, (void)action;
	if (!t)
		return EFAULT;
	tcache_flush(t);
	return 0;
}

static int ctl_tcache_destroy(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	return explicit_destroy((unsigned)value->number) ? 0 : EFAULT;
}

/* The layers. */

static const size_t compiled_in = (size_t)HAK_TLS_TINY << LAYER_TINY |
    (size_t)HAK_TLS_L2 << LAYER_L2 | (size_t)HAK_TLS_L25 << LAYER_L25 |
    (size_t)1 << LAYER_WHALE;

static int layers(size_t which, enum action action, union value *value)
{
	size_t old;

	if (action == READ) {
		value->number = (flag_load(&settings.layers) & which) != 0;
		return 0;
	}
	if (value->number && !(compiled_in & which))
		return ENOTSUP;
	do
		old = flag_load(&settings.layers);
	while (!AO_compare_and_swap(&settings.layers, old,
	    value->number ? old | (which & compiled_in) : old & ~which));
	return 0;
}

static int ctl_tls_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return layers((size_t)1 << LAYER_TINY | (size_t)1 << LAYER_L2 |
	    (size_t)1 << LAYER_L25, action, value);
}

static int ctl_tls_tiny_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return layers((size_t)1 << LAYER_TINY, action, value);
}

static int ctl_tls_l2_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return layers((size_t)1 << LAYER_L2, action, value);
}

static int ctl_tls_l25_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return layers((size_t)1 << LAYER_L25, action, value);
}

static int ctl_whale_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	int error = layers((size_t)1 << LAYER_WHALE, action, value);

	(void)place;
	if (action == WRITE && !value->number)
		whale_purge(true);
	return error;
}

static int ctl_whale_max_bytes(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	int error = word(&settings.whale_max_bytes, action, value);
	if (action == WRITE)
		whale_purge(false);
	return error;
}

/* Arenas. */

/* Does an index stand for all arenas? arenas.narenas does, too: programs that were
 * written for jemalloc 4 (redis) count on it. */
static bool is_all(size_t i)
{
	return i == CTL_ARENAS_ALL || i == arenas_max();
}

/* 0 and the arena, or NULL for all of them; ENOENT. */
static int arena_at(const struct ctl_place *place, struct arena **arena)
{
	size_t i = place->index[0];

	*arena = NULL;
	if (is_all(i))
		return 0;
	if (i >= arenas_max())
		return ENOENT;
	*arena = arena_get((unsigned)i + 1);
	if (!*arena)
		*arena = arena_ensure((unsigned)i + 1);
	return !*arena ? EAGAIN : (*arena)->is_destroyed ? ENOENT : 0;
}

static int ctl_arena_initialized(const struct ctl_place *place, enum action action,
    union value *value)
{
	size_t i = place->index[0];

	(void)action;
	if (!is_all(i) && i > arenas_max())
		return ENOENT;
	struct arena *arena = arena_get((unsigned)i + 1);
	value->number = is_all(i) || (arena && !arena->is_destroyed);
	return 0;
}

static int purge(const struct ctl_place *place, bool all)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	if (!arena && all) {
		control_purge_all();
	} else if (!arena) {
		background_pass(false);
	} else {
		arena_purge(arena, os_now_ms(), all);
		page_heap_purge(all);
	}
	return 0;
}

static int ctl_arena_decay(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)action, (void)value;
	return purge(place, false);
}

static int ctl_arena_purge(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)action, (void)value;
	return purge(place, true);
}

/* What reset and destroy have in common. */
static int end_arena(const struct ctl_place *place, void (*end)(struct arena *))
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	/* A thread's cache would give out what is freed here. */
	if (!arena || !arena->is_created || counter_get(&arena->threads) ||
	    (arena->is_site && end == arena_destroy))
		return EFAULT;
	end(arena);
	return 0;
}

static int ctl_arena_reset(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)action, (void)value;
	return end_arena(place, arena_reset);
}

static int ctl_arena_destroy(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)action, (void)value;
	return end_arena(place, arena_destroy);
}

static int ctl_arena_dss(const struct ctl_place *place, enum action action,
    union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	if (action == WRITE)
		return strcmp(value->string, "disabled") == 0 ? 0 : EINVAL;
	value->string = "disabled";
	return 0;
}

static int ctl_arena_dirty_decay_ms(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	if (!arena || (action == READ &&
	    flag_load(&arena->dirty_decay_ms) == ARENA_INHERITS))
		return milliseconds(&settings.dirty_decay_ms, action, value);
	return milliseconds(&arena->dirty_decay_ms, action, value);
}

static int ctl_arena_muzzy_decay_ms(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	return error ? error : milliseconds(&settings.muzzy_decay_ms, action, value);
}

static int ctl_arena_name(const struct ctl_place *place, enum action action,
    union value *value)
{
	static __thread char name[ARENA_NAME];
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error || !arena)
		return error ? error : ENOENT;
	if (action == READ) {
		arena_get_name(arena, name);
		value->string = name;
		return 0;
	}
	if (strnlen(value->string, ARENA_NAME) == ARENA_NAME)
		return EINVAL;
	arena_set_name(arena, value->string);
	return 0;
}

static int ctl_arena_retain_grow_limit(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	if (action == WRITE)
		return ENOTSUP;
	value->number = 64 * MiB;
	return 0;
}

static int ctl_arena_extent_hooks(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error)
		return error;
	if (action == WRITE)
		return value->pointer ? ENOTSUP : 0;
	value->pointer = NULL;
	return 0;
}

static int ctl_arena_soft_bytes(const struct ctl_place *place, enum action action,
    union value *value)
{
	struct arena *arena;
	int error = arena_at(place, &arena);

	if (error || !arena)
		return error ? error : ENOENT;
	error = word(&arena->soft_bytes, action, value);
	background_ask();
	return error;
}

static int ctl_arenas_narenas(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	value->number = arenas_max();
	return 0;
}

static int ctl_arenas_dirty_decay_ms(const struct ctl_place *place,
    enum action action, union value *value)
{
	(void)place;
	return milliseconds(&settings.dirty_decay_ms, action, value);
}

static int ctl_arenas_muzzy_decay_ms(const struct ctl_place *place,
    enum action action, union value *value)
{
	(void)place;
	return milliseconds(&settings.muzzy_decay_ms, action, value);
}

static int ctl_arenas_tcache_max(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	value->number = options.tcache_max < L25_MAX ? options.tcache_max : L25_MAX;
	return 0;
}

static int ctl_arenas_create(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	/* Hooks, of which only none are known. */
	if (action == WRITE)
		return value->pointer ? ENOTSUP : 0;
	struct arena *arena = arena_create(NULL);
	if (!arena)
		return EAGAIN;
	value->number = arena->id - 1;
	return 0;
}

static int ctl_arenas_lookup(const struct ctl_place *place, enum action action,
    union value *value)
{
	static __thread unsigned found;

	(void)place;
	if (action == READ) {
		value->number = found;
		return 0;
	}
	unsigned entry = page_map_get(value->pointer);
	if (entry >> LG_CLASSES == 0)
		return EINVAL;
	found = (entry >> LG_CLASSES) - 1;
	return 0;
}

static int ctl_stats_mutexes_reset(const struct ctl_place *place,
    enum action action, union value *value)
{
	struct lock *const locks[] = { &arenas_lock, &tcaches_lock, &page_heap_lock,
		&whale_lock, &page_map_lock, &metadata_lock };

	(void)place, (void)action, (void)value;
	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		lock_reset_counters(locks[i]);
	for (unsigned id = 1; id <= arenas_max(); id++)
		for (size_t c = 1; arena_get(id) && c < CLASS_WHALE; c++)
			lock_reset_counters(&arena_get(id)->bins[c].lock);
	return 0;
}

/* Limits, pressure, sites. */

static int ctl_limit_soft_bytes(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	int error = word(&settings.soft_bytes, action, value);
	background_ask();
	return error;
}

static int ctl_limit_callback(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	if (action == READ)
		value->pointer = (void *)flag_load(&control_limit_callback);
	else
		flag_store(&control_limit_callback, (AO_t)value->pointer);
	return 0;
}

static int ctl_pressure_enabled(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	return word(&settings.pressure, action, value);
}

static int ctl_pressure_threshold(const struct ctl_place *place,
    enum action action, union value *value)
{
	(void)place;
	if (action == WRITE && value->number > 10000)
		return EINVAL;
	return word(&settings.pressure_threshold, action, value);
}

static int ctl_site_add(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	return site_add(value->string);
}

static int ctl_site_remove(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place, (void)action;
	return site_remove(value->string);
}

static int ctl_site_count(const struct ctl_place *place, enum action action,
    union value *value)
{
	(void)place;
	value->number = site_count();
	return read_only(action);
}

static int ctl_site_rule(const struct ctl_place *place, enum action action,
    union value *value)
{
	static __thread char text[SITE_RULE_TEXT];
	struct arena *arena;

	(void)action;
	value->string = text;
	return site_rule((unsigned)place->index[0], text, &arena) ? 0 : ENOENT;
}

static int ctl_site_arena(const struct ctl_place *place, enum action action,
    union value *value)
{
	char text[SITE_RULE_TEXT];
	struct arena *arena;

	(void)action;
	if (!site_rule((unsigned)place->index[0], text, &arena))
		return ENOENT;
	value->number = arena->id - 1;
	return 0;
}

/* Options and constants. */

static const char *const thp_names[] = { "default", "always", "never" };
static const char *const junk_names[] = { "false", "alloc", "free", "true" };

/* How an option of that field is kept. */
#define OPTION_NUMBER(field) value->number = (uint64_t)(field); break
static int read_option(enum ctl_id row, union value *value)
{
	switch ((int)row) {
	case CTL_ROW_opt_junk:
		value->string = junk_names[options.junk];
		break;
	case CTL_ROW_opt_thp:
		value->string = thp_names[options.thp];
		break;
	case CTL_ROW_opt_stats_print_opts:
		value->string = options.stats_print_opts;
		break;
	case CTL_ROW_opt_zero_realloc:
		value->string = "free";
		break;
	case CTL_ROW_opt_narenas:
		OPTION_NUMBER(arenas_automatic());
#define NUMBER_OPTION(name) case CTL_ROW_opt_##name: OPTION_NUMBER(options.name)
	NUMBER_OPTION(abort_conf);
	NUMBER_OPTION(background_thread);
	NUMBER_OPTION(confirm_conf);
	NUMBER_OPTION(dirty_decay_ms);
	NUMBER_OPTION(limit_soft_bytes);
	NUMBER_OPTION(max_background_threads);
	NUMBER_OPTION(muzzy_decay_ms);
	NUMBER_OPTION(pressure);
	NUMBER_OPTION(stats_print);
	NUMBER_OPTION(tcache);
	NUMBER_OPTION(tcache_max);
	NUMBER_OPTION(tls_l2);
	NUMBER_OPTION(tls_l25);
	NUMBER_OPTION(tls_tiny);
	NUMBER_OPTION(whale);
	NUMBER_OPTION(whale_max_bytes);
	NUMBER_OPTION(xmalloc);
	NUMBER_OPTION(zero);
#undef NUMBER_OPTION
	default:
		return ENOENT;
	}
	return 0;
}

#define CONSTANT_BOOL(v) value->number = (uint64_t)(v)
#define CONSTANT_UNSIGNED(v) value->number = (uint64_t)(v)
#define CONSTANT_SIZE(v) value->number = (uint64_t)(v)
#define CONSTANT_STRING(v) value->string = (v)
static int read_constant(enum ctl_id row, union value *value)
{
	switch (row) {
#define STAT(...)
#define CTL(...)
#define OPTION(...)
#define CONSTANT(id, name, type, unit, expression, help) \
	case CTL_ROW_##id: CONSTANT_##type(expression); return 0;
#include "ctl/ctl.def"
#undef STAT
#undef CTL
#undef OPTION
#undef CONSTANT
	default:
		return ENOENT;
	}
}

static int read_stat(const struct ctl_place *place, union value *value)
{
	const struct snapshot *s = control_snapshot(false);

	if (!s)
		return EAGAIN;
	bool found = ctl_stat(s, place, &value->number);
	lock_release(&control_lock);
	return found ? 0 : ENOENT;
}

static handler *const handlers[CTL_ROWS] = {
#define STAT(...)
#define OPTION(...)
#define CONSTANT(...)
#define CTL(id, name, type, access, unit, help) [CTL_ROW_##id] = ctl_##id,
#include "ctl/ctl.def"
#undef STAT
#undef OPTION
#undef CONSTANT
#undef CTL
};

static int handle(const struct ctl_place *place, enum action action,
    union value *value)
{
	switch ((enum ctl_kind)ctl_rows[place->row].kind) {
	case CTL_KIND_STAT:
		return read_stat(place, value);
	case CTL_KIND_OPTION:
		return read_option(place->row, value);
	case CTL_KIND_CONSTANT:
		return read_constant(place->row, value);
	case CTL_KIND_CTL:
		return handlers[place->row](place, action, value);
	}
	return ENOENT;
}

static size_t type_size(enum ctl_type type)
{
	return type == CTL_BOOL ? sizeof(bool) : type == CTL_UNSIGNED ?
	    sizeof(unsigned) : type == CTL_VOID ? 0 : sizeof(uint64_t);
}

static void store(enum ctl_type type, const union value *value, void *out)
{
	bool flag = value->number != 0;
	unsigned number = (unsigned)value->number;

	if (type == CTL_BOOL)
		memcpy(out, &flag, sizeof(flag));
	else if (type == CTL_UNSIGNED)
		memcpy(out, &number, sizeof(number));
	else
		memcpy(out, value, sizeof(uint64_t));
}

static void load(enum ctl_type type, const void *in, union value *value)
{
	unsigned number;

	*value = (union value) { .number = 0 };
	if (type == CTL_BOOL) {
		value->number = *(const unsigned char *)in != 0;
	} else if (type == CTL_UNSIGNED) {
		memcpy(&number, in, sizeof(number));
		value->number = number;
	} else {
		memcpy(value, in, sizeof(uint64_t));
	}
}

/* Where what is written decides what is read, writing comes first. */
static bool writes_first(enum ctl_id row)
{
	return row == CTL_ROW_epoch || row == CTL_ROW_arenas_lookup ||
	    row == CTL_ROW_arenas_create;
}

/* Reading makes something: not for a caller who then cannot learn what. */
static bool reading_makes(enum ctl_id row)
{
	return row == CTL_ROW_arenas_create || row == CTL_ROW_tcache_create;
}

static int write_value(const struct ctl_place *place, const void *new)
{
	union value value;
	enum ctl_type type = (enum ctl_type)ctl_rows[place->row].type;

	/* What is looked up is an address, not a number. */
	load(place->row == CTL_ROW_arenas_create || place->row == CTL_ROW_arenas_lookup ?
	    CTL_POINTER : type, new, &value);
	if (type == CTL_STRING && !value.string)
		return EINVAL;
	return handle(place, WRITE, &value);
}

static int read_value(const struct ctl_place *place, void *old, size_t *old_length)
{
	enum ctl_type type = (enum ctl_type)ctl_rows[place->row].type;
	size_t size = type_size(type), given = *old_length;
	union value value = { .number = 0 };
	char bytes_of[sizeof(uint64_t)];

	if (given != size && reading_makes(place->row))
		return EINVAL;
	int error = handle(place, READ, &value);
	if (error)
		return error;
	store(type, &value, bytes_of);
	*old_length = given < size ? given : size;
	memcpy(old, bytes_of, *old_length);
	return given == size ? 0 : EINVAL;
}

int control(const struct ctl_place *place, void *old, size_t *old_length,
    const void *new, size_t new_length)
{
	const struct ctl_row *row = &ctl_rows[place->row];
	bool reads = old && old_length, writes = new != NULL || new_length != 0;
	size_t size = row->kind == CTL_KIND_CTL && (place->row == CTL_ROW_arenas_create ||
	    place->row == CTL_ROW_arenas_lookup) ? sizeof(void *) :
	    type_size((enum ctl_type)row->type);
	int error = 0;

	if ((row->access == CTL_X && (old || old_length || writes)) ||
	    (writes && !(row->access & CTL_W)) ||
	    ((old || old_length) && !(row->access & CTL_R)))
		return EPERM;
	if (writes && (!new || new_length != size))
		return EINVAL;
	if (row->access == CTL_X)
		return handle(place, ACT, &(union value) { .number = 0 });
	/* A read of the wrong size fails: what it would fail after must not be. */
	if (reads && writes && *old_length != type_size((enum ctl_type)row->type))
		return EINVAL;
	if (writes && writes_first(place->row))
		error = write_value(place, new);
	if (!error && reads)
		error = read_value(place, old, old_length);
	else if (!error && !writes && row->access & CTL_R && !reading_makes(place->row))
		/* Nothing to be done, but is there such a thing? */
		error = handle(place, READ, &(union value) { .number = 0 });
	if (!error && writes && !writes_first(place->row))
		error = write_value(place, new);
	return error;
}

/* As text. */

static bool is_of_thread(enum ctl_id row)
{
	const char *name = ctl_rows[row].name;

	return strncmp(name, "thread.", 7) == 0 || strncmp(name, "tcache.", 7) == 0 ||
	    row == CTL_ROW_limit_callback || row == CTL_ROW_arenas_lookup;
}

int control_get_text(const char *name, char *text, size_t size)
{
	union value value = { .number = 0 };
	struct ctl_place place;

	if (!ctl_find(name, &place))
		return ENOENT;
	const struct ctl_row *row = &ctl_rows[place.row];
	if (!(row->access & CTL_R) || is_of_thread(place.row))
		return EPERM;
	int error = handle(&place, READ, &value);
	if (error)
		return error;
	if (row->type == CTL_STRING)
		snprintf(text, size, "%s", value.string);
	else if (row->type == CTL_POINTER)
		snprintf(text, size, "%p", value.pointer);
	else
		ctl_format((enum ctl_type)row->type, value.number, text, size);
	return 0;
}

static bool parse(enum ctl_type type, const char *text, union value *value)
{
	char *end;

	if (type == CTL_STRING) {
		value->string = text;
		return true;
	}
	if (type == CTL_BOOL) {
		value->number = strcmp(text, "true") == 0;
		return value->number || strcmp(text, "false") == 0;
	}
	bool is_negative = *text == '-';
	if (type == CTL_POINTER || (is_negative && type != CTL_SSIZE) ||
	    !strchr("-0123456789", *text) || !*text)
		return false;
	errno = 0;
	value->number = is_negative ? (uint64_t)strtoll(text, &end, 0) :
	    strtoull(text, &end, 0);
	return errno == 0 && *end == '\0' &&
	    (type != CTL_UNSIGNED || value->number <= UINT32_MAX) &&
	    (type != CTL_SSIZE || is_negative || value->number <= INT64_MAX);
}

int control_set_text(const char *name, const char *text)
{
	union value value = { .number = 0 };
	struct ctl_place place;
	int saved = errno;

	if (!ctl_find(name, &place))
		return ENOENT;
	const struct ctl_row *row = &ctl_rows[place.row];
	if (!(row->access & (CTL_W | CTL_X)) || is_of_thread(place.row))
		return EPERM;
	if (row->access == CTL_X)
		return *text ? EINVAL : handle(&place, ACT, &value);
	bool good = parse((enum ctl_type)row->type, text, &value);
	errno = saved;
	return good ? handle(&place, WRITE, &value) : EINVAL;
}
