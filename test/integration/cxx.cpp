/*
 * All forms of C++17's operator new and delete: memory is hakmem's and aligned,
 * the new handler is called, bad_alloc is thrown, nothrow gives a null pointer.
 */
#include <hakmem/hakmem.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>

/* Some compilers leave the sized forms undeclared. */
void operator delete(void *, std::size_t) noexcept;
void operator delete[](void *, std::size_t) noexcept;
void operator delete(void *, std::size_t, std::align_val_t) noexcept;
void operator delete[](void *, std::size_t, std::align_val_t) noexcept;

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			std::fprintf(stderr, "%s:%d: %s: failed\n", __FILE__,  \
			    __LINE__, #cond);                                  \
			std::exit(1);                                          \
		}                                                              \
	} while (0)

static void *
opaque(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* An object of hakmem's, with room and at this alignment. */
static void
used(void *p, std::size_t size, std::size_t alignment = 8)
{
	CHECK(opaque(p) != nullptr);
	CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
	CHECK(hak_malloc_usable_size(p) >= size);
	std::memset(p, 0x5a, size);
}

static void
plain(std::size_t size)
{
	void *p;

	used(p = ::operator new(size), size);
	::operator delete(p);
	used(p = ::operator new(size), size);
	::operator delete(p, size);
	used(p = ::operator new[](size), size);
	::operator delete[](p);
	used(p = ::operator new[](size), size);
	::operator delete[](p, size);
	used(p = ::operator new(size, std::nothrow), size);
	::operator delete(p, std::nothrow);
	used(p = ::operator new[](size, std::nothrow), size);
	::operator delete[](p, std::nothrow);
}

static void
with_alignment(std::size_t size, std::size_t alignment)
{
	std::align_val_t al{ alignment };
	void *p;

	used(p = ::operator new(size, al), size, alignment);
	::operator delete(p, al);
	used(p = ::operator new(size, al), size, alignment);
	::operator delete(p, size, al);
	used(p = ::operator new[](size, al), size, alignment);
	::operator delete[](p, al);
	used(p = ::operator new[](size, al), size, alignment);
	::operator delete[](p, size, al);
	used(p = ::operator new(size, al, std::nothrow), size, alignment);
	::operator delete(p, al, std::nothrow);
	used(p = ::operator new[](size, al, std::nothrow), size, alignment);
	::operator delete[](p, al, std::nothrow);
}

/* No alignment at all: undefined, but there must be as much room as was asked for. */
static void
with_no_power_of_two()
{
	volatile std::size_t size = 1047537, alignment = 16383;
	std::align_val_t al{ alignment };
	void *p;

	used(p = ::operator new(size, al), size);
	::operator delete(p, al);
	used(p = ::operator new(size, al, std::nothrow), size);
	::operator delete(p, al, std::nothrow);
}

static int handler_calls;

static void
give_up_at_third()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

static void
handler_throws()
{
	handler_calls++;
	throw std::bad_alloc();
}

template <typename Function>
static bool
throws(Function function)
{
	try {
		opaque(function());
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

static void
out_of_memory()
{
	volatile std::size_t huge = static_cast<std::size_t>(PTRDIFF_MAX) - 100;
	std::align_val_t al{ 4096 };

	CHECK(throws([&] { return ::operator new(huge); }));
	CHECK(throws([&] { return ::operator new[](huge); }));
	CHECK(throws([&] { return ::operator new(huge, al); }));
	CHECK(throws([&] { return ::operator new[](huge, al); }));
	CHECK(opaque(::operator new(huge, std::nothrow)) == nullptr);
	CHECK(opaque(::operator new[](huge, std::nothrow)) == nullptr);
	CHECK(opaque(::operator new(huge, al, std::nothrow)) == nullptr);
	CHECK(opaque(::operator new[](huge, al, std::nothrow)) == nullptr);

	/* As long as there is a handler it is called, and it is tried again. */
	std::set_new_handler(give_up_at_third);
	CHECK(throws([&] { return ::operator new(huge); }));
	CHECK(handler_calls == 3);
	handler_calls = 0;
	std::set_new_handler(give_up_at_third);
	CHECK(opaque(::operator new(huge, std::nothrow)) == nullptr);
	CHECK(handler_calls == 3);
	handler_calls = 0;
	std::set_new_handler(give_up_at_third);
	CHECK(throws([&] { return ::operator new(huge, al); }));
	CHECK(handler_calls == 3);

	/* What a handler throws comes through; not where nothrow was asked. */
	handler_calls = 0;
	std::set_new_handler(handler_throws);
	CHECK(throws([&] { return ::operator new[](huge); }));
	CHECK(opaque(::operator new(huge, std::nothrow)) == nullptr);
	CHECK(opaque(::operator new[](huge, al, std::nothrow)) == nullptr);
	CHECK(handler_calls == 3);
	std::set_new_handler(nullptr);
}

struct alignas(256) wide {
	char c[300];
};

struct counted {
	static int live;
	std::string s;
	counted() : s(50, 'x') { live++; }
	~counted() { live--; }
};
int counted::live;

static void
library()
{
	std::map<int, std::string> map;
	std::vector<std::unique_ptr<counted>> objects;
	auto wides = std::make_unique<wide[]>(5);
	auto *array = new counted[100];

	CHECK(reinterpret_cast<std::uintptr_t>(wides.get()) % 256 == 0);
	for (int i = 0; i < 20000; i++) {
		map[i * 7919 % 20011] = std::to_string(i) + std::string(
		    static_cast<std::size_t>(i % 90), 'y');
		objects.push_back(std::make_unique<counted>());
	}
	CHECK(map.size() == 20000 && counted::live == 20100);
	objects.clear();
	delete[] array;
	CHECK(counted::live == 0);
	std::thread other([&map] { map.clear(); });
	other.join();
	CHECK(map.empty());
}

int
main()
{
	Dl_info hak, cxx;
	void *symbol = dlsym(RTLD_DEFAULT, "_Znwm");

	CHECK(symbol != nullptr);
	CHECK(dladdr(reinterpret_cast<void *>(&hak_malloc_trim), &hak) != 0);
	CHECK(dladdr(symbol, &cxx) != 0);
	if (hak.dli_fbase != cxx.dli_fbase) {
		std::puts("skip: cxx: this build does not override new");
		return 77;
	}
	for (std::size_t size :
	    { 0, 1, 8, 16, 100, 1024, 1025, 5000, 40000, 300000, 2000000 }) {
		plain(size);
		for (std::size_t al = 8; al <= 65536; al *= 2)
			with_alignment(size, al);
	}
	with_no_power_of_two();
	out_of_memory();
	library();
	std::puts("cxx: ok");
	return 0;
}
