#define _GNU_SOURCE
#include "page/os.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/options.h"
#include "base/size_class.h"

static void *map(void *hint, size_t size, int protection)
{
	int saved = errno;
	/* Accounted for: who asks for more than there is gets NULL, and may go on. */
	void *p = mmap(hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	errno = saved;
	return p == MAP_FAILED ? NULL : p;
}

bool os_map_at(void *place, size_t size)
{
	int saved = errno;
	void *p = mmap(place, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	errno = saved;
	/* An old kernel takes the place for a hint. */
	if (p != MAP_FAILED && p != place)
		os_unmap(p, size);
	return p == place;
}

void *os_map(void *hint, size_t size)
{
	return map(hint, size, PROT_READ | PROT_WRITE);
}

void *os_map_aligned(void *hint, size_t size, size_t alignment)
{
	char *p = os_map(hint, size);

	if (!p || !((uintptr_t)p & (alignment - 1)))
		return p;
	os_unmap(p, size);
	p = os_map(NULL, size + alignment - PAGE);
	if (!p)
		return NULL;
	char *aligned = (char *)round_up((uintptr_t)p, alignment);
	size_t head = (size_t)(aligned - p), tail = alignment - PAGE - head;
	/* What cannot be cut off stays as unused address space. */
	if (head)
		os_unmap(p, head);
	if (tail)
		os_unmap(aligned + size, tail);
	return aligned;
}

void *os_reserve_readable(size_t size)
{
	int saved = errno;
	/* Private and not writable: not charged in any overcommit mode. */
	void *p = map(NULL, size, PROT_READ);

	if (p)
		madvise(p, size, MADV_DONTDUMP);
	errno = saved;
	return p;
}

bool os_make_writable(void *base, size_t size)
{
	int saved = errno;
	bool done = mprotect(base, size, PROT_READ | PROT_WRITE) == 0;

	errno = saved;
	return done;
}

bool os_unmap(void *base, size_t size)
{
	int saved = errno;
	bool done = munmap(base, size) == 0;

	errno = saved;
	return done;
}

/* The system works in its own pages, which may be larger than PAGE; it rounds a
 * length up, so what it is told must end where its pages do. */
static size_t inner_pages(char *base, size_t size, char **first)
{
	size_t page = getauxval(AT_PAGESZ);
	uintptr_t start = round_up((uintptr_t)base, page);
	uintptr_t end = ((uintptr_t)base + size) & ~(page - 1);

	*first = (char *)start;
	return end > start ? end - start : 0;
}

void os_purge(void *base, size_t size)
{
	int saved = errno;
	char *start = base, *inner;
	size_t length = inner_pages(base, size, &inner);

	/* Locked pages stay (EINVAL), and must read zero all the same. */
	if (length == 0 || madvise(inner, length, MADV_DONTNEED) != 0) {
		memset(start, 0, size);
	} else if (length != size) {
		memset(start, 0, (size_t)(inner - start));
		memset(inner + length, 0, (size_t)(start + size - (inner + length)));
	}
	errno = saved;
}

void os_purge_lazily(void *base, size_t size)
{
	int saved = errno;

	char *inner;
	size_t length = inner_pages(base, size, &inner);

	if (length != 0 && madvise(inner, length, MADV_FREE) != 0)
		madvise(inner, length, MADV_DONTNEED);
	errno = saved;
}

static bool remap(void *base, size_t old_size, size_t new_size, int flags,
    void *place)
{
	int saved = errno;
	void *p = mremap(base, old_size, new_size, flags, place);

	errno = saved;
	return p != MAP_FAILED;
}

int os_grow(void *base, size_t old_size, size_t new_size)
{
	int saved = errno;
	int error = mremap(base, old_size, new_size, 0) == MAP_FAILED ? errno : 0;

	errno = saved;
	return error;
}

bool os_remap_onto(void *base, size_t old_size, size_t new_size, void *place)
{
	return remap(base, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
}

void os_advise_huge(void *base, size_t size)
{
	int saved = errno;

	if (options.thp != THP_DEFAULT)
		madvise(base, size, options.thp == THP_ALWAYS ?
		    MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	errno = saved;
}

bool os_fence_threads(void)
{
#if HAK_TSAN
	/* It knows nothing of such fences. */
	return false;
#endif
	int saved = errno;
	bool done = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;

	/* It has to be registered for, by each process. */
	if (!done && errno == EPERM)
		done = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
		    0, 0) == 0 &&
		    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
	errno = saved;
	return done;
}

uint64_t os_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

unsigned os_processors(void)
{
	int saved = errno;
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	errno = saved;
	return (unsigned)n;
}

static int has_name(struct dl_phdr_info *info, size_t size, void *part)
{
	(void)size;
	return strstr(info->dlpi_name, part) != NULL;
}

bool os_has_library(const char *part)
{
	return dl_iterate_phdr(has_name, (void *)(uintptr_t)part) != 0;
}

bool os_is_address_space_limited(size_t *most)
{
	int saved = errno;
	struct rlimit limit;
	bool limited = getrlimit(RLIMIT_AS, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY;

	if (limited)
		*most = limit.rlim_max < SIZE_MAX ? limit.rlim_max : SIZE_MAX;
	errno = saved;
	return limited;
}
