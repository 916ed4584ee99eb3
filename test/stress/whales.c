/*
 * Blocks of megabytes in any sizes: what the cache has is used whatever its shape, by
 * moving pages, and each block keeps its contents, whatever becomes of the others; also
 * where pages cannot be moved.
 */
#define _GNU_SOURCE
#include "../harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SLOTS 20
#define OPERATIONS 1500
#define STEP 4096u

static unsigned char *slots[SLOTS];
static size_t sizes[SLOTS];
static uint64_t rng = 1;

static size_t
any(size_t below)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(rng >> 33) % below;
}

static void
write_from(int slot, size_t from)
{
	size_t i;

	for (i = from; i < sizes[slot]; i += STEP)
		*(size_t *)(slots[slot] + i) = i * SLOTS + (size_t)slot;
}

static void
check_to(int slot, size_t end)
{
	size_t i;

	for (i = 0; i < end; i += STEP)
		CHECK(*(size_t *)(slots[slot] + i) == i * SLOTS + (size_t)slot);
}

static void
resize(int slot, size_t size)
{
	size_t kept = size < sizes[slot] ? size : sizes[slot];

	slots[slot] = opaque(hak_realloc(slots[slot], size));
	CHECK(slots[slot] != NULL);
	check_to(slot, kept);
	sizes[slot] = size;
	write_from(slot, 0);
}

static void
replace(int slot, size_t size, bool zero)
{
	size_t i;

	check_to(slot, sizes[slot]);
	hak_free(slots[slot]);
	slots[slot] = opaque(zero ? hak_calloc(1, size) : hak_malloc(size));
	CHECK(slots[slot] != NULL);
	for (i = 0; zero && i < size; i += STEP)
		CHECK(*(size_t *)(slots[slot] + i) == 0);
	sizes[slot] = size;
	write_from(slot, 0);
}

static void
churn(int operations)
{
	int i;

	for (i = 0; i < operations; i++) {
		int slot = (int)any(SLOTS);
		size_t size = 2 * MIB + any(10 * MIB / STEP) * STEP;
		if (any(10) == 0)
			resize(slot, size);
		else
			replace(slot, size, any(8) == 0);
	}
}

static void
whatever_its_shape(void)
{
	long long misses;

	churn(OPERATIONS / 2);
	misses = stat_get("whale.misses");
	churn(OPERATIONS / 2);
	misses = stat_get("whale.misses") - misses;
	if (misses >= 0)
		CHECK(misses < OPERATIONS / 2 / 10);
}

/* The system sees several mappings in each block of pages. */
static void
several_mappings(void)
{
	int i;

	churn(100);
	for (i = 0; i < SLOTS; i++) {
		if (!slots[i])
			continue;
		unsigned char *page = slots[i] + MIB - (uintptr_t)slots[i] % STEP;
		CHECK(madvise(page, MIB / 2, MADV_DONTFORK) == 0);
	}
	churn(500);
}

static void
no_mremap(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { 4, code };

	churn(100);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0)
		churn(500);
}

int
main(void)
{
	static const struct child_case cases[] = {
		{ "whatever its shape", whatever_its_shape },
		{ "several mappings", several_mappings },
		{ "no mremap", no_mremap },
	};

	run_in_children("whales", cases, 3);
	return 0;
}
