// A program that replaces the basic operators new and delete alone, as the standard allows:
// all other forms must come to its own, with what those gave.
#include <cstdio>
#include <cstdlib>
#include <new>

static int live, news;
static const std::size_t header = 32;

void *operator new(std::size_t size)
{
	char *p = static_cast<char *>(std::malloc(size + header));
	if (!p)
		throw std::bad_alloc();
	live++;
	news++;
	return p + header;
}

void operator delete(void *p) noexcept
{
	if (!p)
		return;
	live--;
	std::free(static_cast<char *>(p) - header);
}

void *operator new(std::size_t size, std::align_val_t alignment)
{
	std::size_t n = static_cast<std::size_t>(alignment);
	char *p = static_cast<char *>(std::aligned_alloc(n, (size + 2 * n - 1) / n * n + n));
	live++;
	news++;
	return p + n;
}

void operator delete(void *p, std::align_val_t alignment) noexcept
{
	if (!p)
		return;
	live--;
	std::free(static_cast<char *>(p) - static_cast<std::size_t>(alignment));
}

int main()
{
	const std::align_val_t at = std::align_val_t(128);
	const std::nothrow_t &no = std::nothrow;

	operator delete(operator new(10), 10);
	operator delete(operator new(10, no), no);
	operator delete[](operator new[](10));
	operator delete[](operator new[](10), 10);
	operator delete[](operator new[](10, no), no);
	operator delete(operator new(10, at), 10, at);
	operator delete(operator new(10, at, no), at, no);
	operator delete[](operator new[](10, at), at);
	operator delete[](operator new[](10, at), 10, at);
	operator delete[](operator new[](10, at, no), at, no);
	if (live != 0 || news != 10) {
		std::printf("cxx_replaced: %d live of %d\n", live, news);
		return 1;
	}
	// One that throws is caught on the way.
	return operator new(static_cast<std::size_t>(1) << 62, no) != nullptr;
}
