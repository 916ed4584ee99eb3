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

struct call {
	const struct ctl_place *place;
	enum action action;
	union value *value;
	struct arena *arena; /* of arena.<i>; NULL: all of them */
};

typedef int handler(struct call *c);

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
static int word(AO_t *setting, struct call *c)
{
	if (c->action == READ)
		c->value->number = flag_load(setting);
	else
		flag_store(setting, c->value->number);
	return 0;
}

static int milliseconds(AO_t *setting, struct call *c)
{
	int64_t ms = (int64_t)c->value->number;

	/* A day: times are kept in 32 bits of milliseconds. */
	if (c->action == WRITE && (ms < -1 || ms > 86400000))
		return EINVAL;
	int error = word(setting, c);
	/* Where there is no thread, too, a shorter time is in effect at once. */
	if (c->action == WRITE && !error)
		background_pass(false);
	background_ask();
	return error;
}

static int ctl_epoch(struct call *c)
{
	const struct snapshot *s = control_snapshot(c->action == WRITE);

	if (!s)
		return EAGAIN;
	if (c->action == READ)
		c->value->number = s->epoch;
	lock_release(&control_lock);
	return 0;
}

static int ctl_background_thread(struct call *c)
{
	int error = word(&settings.background_thread, c);
	background_ask();
	return error;
}

static int ctl_max_background_threads(struct call *c)
{
	if (c->action == WRITE)
		return c->value->number == 1 ? 0 : EINVAL;
	c->value->number = 1;
	return 0;
}

/* Does an index stand for all arenas? arenas.narenas does, too: programs that were
 * written for jemalloc 4 (redis) count on it. */
static bool is_all(size_t i)
{
	return i == CTL_ARENAS_ALL || i == arenas_max();
}

/* 0 and the arena of arena.<i>, made if need be, or NULL for all of them; ENOENT. */
static int arena_at(size_t i, struct arena **arena)
{
	*arena = NULL;
	if (is_all(i))
		return 0;
	if (i >= arenas_max() || !arena_exists((unsigned)i + 1))
		return ENOENT;
	*arena = arena_ensure((unsigned)i + 1);
	return *arena ? 0 : EAGAIN;
}

/* The calling thread. */

static int ctl_thread_arena(struct call *c)
{
	struct tcache *t = tcache_get();

	if (!t)
		return EAGAIN;
	if (c->action == READ) {
		c->value->number = t->arena->id - 1;
		return 0;
	}
	if (c->value->number >= arenas_max())
		return EFAULT;
	struct arena *arena;
	int error = arena_at(c->value->number, &arena);
	if (error)
		return error == ENOENT ? EFAULT : error;
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

static int ctl_thread_allocated(struct call *c)
{
	return bytes(c->action, &c->value->number, BYTES(allocated));
}

static int ctl_thread_deallocated(struct call *c)
{
	return bytes(c->action, &c->value->number, BYTES(freed));
}

static int ctl_thread_allocatedp(struct call *c)
{
	uint64_t unused;
	int error = bytes(c->action, &unused, BYTES(allocated));

	if (!error)
		c->value->pointer = &tcache_self->bytes.allocated;
	return error;
}

static int ctl_thread_deallocatedp(struct call *c)
{
	uint64_t unused;
	int error = bytes(c->action, &unused, BYTES(freed));

	if (!error)
		c->value->pointer = &tcache_self->bytes.freed;
	return error;
}

static int ctl_thread_peak_read(struct call *c)
{
	return bytes(c->action, &c->value->number, BYTES(peak));
}

static int ctl_thread_peak_reset(struct call *c)
{
	uint64_t unused;
	int error = bytes(c->action, &unused, BYTES(peak));

	if (error)
		return error;
	struct thread_bytes *b = &tcache_self->bytes;
	b->peak_base = b->allocated - b->freed;
	b->peak = 0;
	return 0;
}

static int ctl_thread_idle(struct call *c)
{
	(void)c;
	tcache_flush_own();
	return 0;
}

static int ctl_thread_tcache_flush(struct call *c)
{
	return ctl_thread_idle(c);
}

static int ctl_thread_name(struct call *c)
{
	static __thread char name[16];

	if (c->action == WRITE)
		return pthread_setname_np(pthread_self(), c->value->string) ? EINVAL : 0;
	c->value->string = name;
	return pthread_getname_np(pthread_self(), name, sizeof(name));
}

static int ctl_thread_tcache_enabled(struct call *c)
{
	struct tcache *t = tcache_get();

	if (!t)
		return EAGAIN;
	if (c->action == READ)
		c->value->number = !t->is_off;
	else
		tcache_enable(t, c->value->number);
	return 0;
}

static int ctl_thread_tcache_max(struct call *c)
{
	struct tcache *t = tcache_get();

	if (!t)
		return EAGAIN;
	if (c->action == READ)
		c->value->number = t->class_max ? size_class_size(t->class_max) : 0;
	else
		tcache_set_max(t, c->value->number);
	return 0;
}

static int ctl_tcache_create(struct call *c)
{
	c->value->number = explicit_create();
	return c->value->number == EXPLICIT_MAX ? EAGAIN : 0;
}

static int ctl_tcache_flush(struct call *c)
{
	struct tcache *t = explicit_get((unsigned)c->value->number);

	if (!t)
		return EFAULT;
	struct tcache *own = tcache_get();
	tcache_flush(t);
	/* No more of an arena that was named with it: that may be reset now. */
	if (own)
		tcache_bind(t, own->arena);
	return 0;
}

static int ctl_tcache_destroy(struct call *c)
{
	return explicit_destroy((unsigned)c->value->number) ? 0 : EFAULT;
}

/* The layers. */

static const size_t compiled_in = (size_t)HAK_TLS_TINY << LAYER_TINY |
    (size_t)HAK_TLS_L2 << LAYER_L2 | (size_t)HAK_TLS_L25 << LAYER_L25 |
    (size_t)1 << LAYER_WHALE;

static int layers(size_t which, struct call *c)
{
	bool on = c->value->number;

	if (c->action == READ) {
		c->value->number = (flag_load(&settings.layers) & which) != 0;
		return 0;
	}
	if (on && !(compiled_in & which))
		return ENOTSUP;
	tcaches_set_layers(which, on ? which & compiled_in : 0);
	return 0;
}

static int ctl_tls_enabled(struct call *c)
{
	return layers((size_t)1 << LAYER_TINY | (size_t)1 << LAYER_L2 |
	    (size_t)1 << LAYER_L25, c);
}

static int ctl_tls_tiny_enabled(struct call *c)
{
	return layers((size_t)1 << LAYER_TINY, c);
}

static int ctl_tls_l2_enabled(struct call *c)
{
	return layers((size_t)1 << LAYER_L2, c);
}

static int ctl_tls_l25_enabled(struct call *c)
{
	return layers((size_t)1 << LAYER_L25, c);
}

static int ctl_whale_enabled(struct call *c)
{
	int error = layers((size_t)1 << LAYER_WHALE, c);

	if (c->action == WRITE && !c->value->number)
		whale_purge(true);
	return error;
}

static int ctl_whale_max_bytes(struct call *c)
{
	int error = word(&settings.whale_max_bytes, c);
	if (c->action == WRITE)
		whale_purge(false);
	return error;
}

/* Arenas. */

/* The one that looks itself, since it must not make an arena. */
static int ctl_arena_initialized(struct call *c)
{
	size_t i = c->place->index[0];

	if (!is_all(i) && i > arenas_max())
		return ENOENT;
	struct arena *arena = arena_get((unsigned)i + 1);
	c->value->number = is_all(i) || (arena && arena_exists(arena->id));
	return 0;
}

static int ctl_arena_decay(struct call *c)
{
	if (!c->arena) {
		background_pass(false);
	} else {
		arena_purge(c->arena, os_now_ms(), false);
		page_heap_purge(false);
	}
	return 0;
}

static int ctl_arena_purge(struct call *c)
{
	if (!c->arena) {
		control_purge_all();
	} else {
		arena_purge(c->arena, os_now_ms(), true);
		page_heap_purge(true);
	}
	return 0;
}

/* A thread's cache would give out what is freed. */
static bool may_end(const struct arena *arena)
{
	return arena && arena->is_created && !counter_get(&arena->threads);
}

static int ctl_arena_reset(struct call *c)
{
	if (!may_end(c->arena))
		return EFAULT;
	arena_reset(c->arena);
	return 0;
}

static int ctl_arena_destroy(struct call *c)
{
	/* A site may be asked for again at any time. */
	if (!may_end(c->arena) || c->arena->is_site)
		return EFAULT;
	arena_destroy(c->arena);
	return 0;
}

static int ctl_arena_dss(struct call *c)
{
	if (c->action == WRITE)
		return strcmp(c->value->string, "disabled") == 0 ? 0 : EINVAL;
	c->value->string = "disabled";
	return 0;
}

static int ctl_arena_dirty_decay_ms(struct call *c)
{
	struct arena *arena = c->arena;

	if (!arena || (c->action == READ &&
	    flag_load(&arena->dirty_decay_ms) == ARENA_INHERITS))
		return milliseconds(&settings.dirty_decay_ms, c);
	return milliseconds(&arena->dirty_decay_ms, c);
}

static int ctl_arena_muzzy_decay_ms(struct call *c)
{
	return milliseconds(&settings.muzzy_decay_ms, c);
}

static int ctl_arena_name(struct call *c)
{
	static __thread char name[ARENA_NAME];

	if (!c->arena)
		return ENOENT;
	if (c->action == READ) {
		arena_get_name(c->arena, name);
		c->value->string = name;
		return 0;
	}
	if (strnlen(c->value->string, ARENA_NAME) == ARENA_NAME)
		return EINVAL;
	arena_set_name(c->arena, c->value->string);
	return 0;
}

static int ctl_arena_retain_grow_limit(struct call *c)
{
	if (c->action == WRITE)
		return ENOTSUP;
	c->value->number = 64 * MiB;
	return 0;
}

static int ctl_arena_extent_hooks(struct call *c)
{
	if (c->action == WRITE)
		return c->value->pointer ? ENOTSUP : 0;
	c->value->pointer = NULL;
	return 0;
}

static int ctl_arena_soft_bytes(struct call *c)
{
	if (!c->arena)
		return ENOENT;
	int error = word(&c->arena->soft_bytes, c);
	background_ask();
	return error;
}

static int ctl_arenas_narenas(struct call *c)
{
	c->value->number = arenas_max();
	return 0;
}

static int ctl_arenas_dirty_decay_ms(struct call *c)
{
	return milliseconds(&settings.dirty_decay_ms, c);
}

static int ctl_arenas_muzzy_decay_ms(struct call *c)
{
	return milliseconds(&settings.muzzy_decay_ms, c);
}

static int ctl_arenas_tcache_max(struct call *c)
{
	c->value->number = options.tcache_max < L25_MAX ? options.tcache_max : L25_MAX;
	return 0;
}

static int ctl_arenas_create(struct call *c)
{
	/* Hooks, of which only none are known. */
	if (c->action == WRITE)
		return c->value->pointer ? ENOTSUP : 0;
	struct arena *arena = arena_create(NULL);
	if (!arena)
		return EAGAIN;
	c->value->number = arena->id - 1;
	return 0;
}

static int ctl_arenas_lookup(struct call *c)
{
	static __thread unsigned found;

	if (c->action == READ) {
		c->value->number = found;
		return 0;
	}
	unsigned entry = page_map_get(c->value->pointer);
	if (entry >> LG_CLASSES == 0)
		return EINVAL;
	found = (entry >> LG_CLASSES) - 1;
	return 0;
}

static int ctl_stats_mutexes_reset(struct call *c)
{
	(void)c;
	for (int i = 0; i < MUTEXES; i++)
		lock_reset_counters(collect_locks[i]);
	for (unsigned id = 1; id <= arenas_max(); id++)
		for (size_t k = 1; arena_get(id) && k < CLASS_WHALE; k++)
			lock_reset_counters(&arena_get(id)->bins[k].lock);
	return 0;
}

/* Limits, pressure, sites. */

static int ctl_limit_soft_bytes(struct call *c)
{
	int error = word(&settings.soft_bytes, c);
	background_ask();
	return error;
}

static int ctl_limit_callback(struct call *c)
{
	if (c->action == READ) {
		c->value->pointer = (void *)flag_load(&control_limit_callback);
	} else {
		background_show();
		flag_store(&control_limit_callback, (AO_t)c->value->pointer);
	}
	return 0;
}

static int ctl_pressure_enabled(struct call *c)
{
	return word(&settings.pressure, c);
}

static int ctl_pressure_threshold(struct call *c)
{
	if (c->action == WRITE && c->value->number > 10000)
		return EINVAL;
	return word(&settings.pressure_threshold, c);
}

static int ctl_site_add(struct call *c)
{
	return site_add(c->value->string);
}

static int ctl_site_remove(struct call *c)
{
	return site_remove(c->value->string);
}

static int ctl_site_count(struct call *c)
{
	c->value->number = site_count();
	return 0;
}

static int ctl_site_rule(struct call *c)
{
	static __thread char text[SITE_RULE_TEXT];
	struct arena *arena;

	c->value->string = text;
	return site_rule((unsigned)c->place->index[0], text, &arena) ? 0 : ENOENT;
}

static int ctl_site_arena(struct call *c)
{
	char text[SITE_RULE_TEXT];
	struct arena *arena;

	if (!site_rule((unsigned)c->place->index[0], text, &arena))
		return ENOENT;
	c->value->number = arena->id - 1;
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
		break;
	}
	struct call c = { place, action, value, NULL };
	bool is_arena = strncmp(ctl_rows[place->row].name, "arena.<i>", 9) == 0;
	int error = is_arena && place->row != CTL_ROW_arena_initialized ?
	    arena_at(place->index[0], &c.arena) : 0;
	return error ? error : handlers[place->row](&c);
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
	/* Of what? */
	if (!writes && (row->access == CTL_W || (reads && place->row == CTL_ROW_arenas_lookup)))
		return EINVAL;
	/* A read of the wrong size fails: what it would fail after must not be. */
	if (reads && (writes || reading_makes(place->row)) &&
	    *old_length != type_size((enum ctl_type)row->type))
		return EINVAL;
	/* Who made it must learn what. */
	if (!reads && !writes && reading_makes(place->row))
		return EINVAL;
	if (writes && writes_first(place->row))
		error = write_value(place, new);
	if (!error && reads)
		error = read_value(place, old, old_length);
	else if (!error && !writes && row->access & CTL_R)
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
	if (!(row->access & CTL_R) || is_of_thread(place.row) || reading_makes(place.row))
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

static bool parse(const struct ctl_row *row, const char *text, union value *value)
{
	enum ctl_type type = (enum ctl_type)row->type;
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
	size_t length = strlen(text);
	unsigned shift = row->unit == CTL_UNIT_BYTES ? ctl_cut_unit(text, &length) : 0;
	errno = 0;
	value->number = is_negative ? (uint64_t)strtoll(text, &end, 10) :
	    strtoull(text, &end, ctl_number_base(text));
	if (errno != 0 || end != text + length || (shift && value->number > UINT64_MAX >> shift))
		return false;
	value->number <<= shift;
	return (type != CTL_UNSIGNED || value->number <= UINT32_MAX) &&
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
	bool good = parse(row, text, &value);
	errno = saved;
	return good ? handle(&place, WRITE, &value) : EINVAL;
}
