#include "hakctl/format.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const byte_units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB",
	"EiB" };
static const char *const count_units[] = { "", "k", "M", "G", "T", "P", "E" };
#define UNITS (sizeof(byte_units) / sizeof(byte_units[0]))

/* value of the unit that leaves it below base once it is rounded. */
static unsigned scale(double *value, double base)
{
	unsigned unit = 0;

	while (*value >= base - 0.5 && unit + 1 < UNITS) {
		*value /= base;
		unit++;
	}
	return unit;
}

/* Three digits that count, but no point after the third. */
static int decimals(double value)
{
	return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

static char *scaled(char *text, size_t size, double value, double base,
    const char *const *units, const char *suffix)
{
	/* Rates are quotients, and of numbers that nobody vouches for. */
	if (!(value >= 0))
		value = 0;
	if (value > (double)INT64_MAX * 2)
		value = (double)INT64_MAX * 2;
	bool is_fraction = value < 1e9 && value != (double)(int64_t)value;
	unsigned unit = scale(&value, base);

	snprintf(text, size, "%.*f%s%s%s", unit || is_fraction ? decimals(value) : 0,
	    value, *units[unit] ? " " : "", units[unit], suffix);
	return text;
}

char *format_bytes(char *text, size_t size, uint64_t bytes)
{
	return scaled(text, size, (double)bytes, 1024, byte_units, "");
}

static uint64_t magnitude(int64_t n)
{
	return n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
}

static char *with_sign(char *text, size_t size, int64_t n,
    char *(*format)(char *, size_t, uint64_t))
{
	if (n == 0 || size < 2)
		return format(text, size, 0);
	text[0] = n < 0 ? '-' : '+';
	format(text + 1, size - 1, magnitude(n));
	return text;
}

char *format_bytes_signed(char *text, size_t size, int64_t bytes)
{
	return with_sign(text, size, bytes, format_bytes);
}

char *format_count(char *text, size_t size, uint64_t count)
{
	if (count >= 10000)
		return scaled(text, size, (double)count, 1000, count_units, "");
	if (count >= 1000)
		snprintf(text, size, "%" PRIu64 ",%03" PRIu64, count / 1000, count % 1000);
	else
		snprintf(text, size, "%" PRIu64, count);
	return text;
}

char *format_count_signed(char *text, size_t size, int64_t count)
{
	return with_sign(text, size, count, format_count);
}

char *format_rate(char *text, size_t size, double per_second)
{
	return scaled(text, size, per_second, 1000, count_units, "/s");
}

char *format_byte_rate(char *text, size_t size, double per_second)
{
	return scaled(text, size, per_second, 1024, byte_units, "/s");
}

char *format_percent(char *text, size_t size, uint64_t part, uint64_t whole)
{
	double percent = whole ? 100.0 * (double)part / (double)whole : 0;

	if (!whole)
		snprintf(text, size, "-");
	else if (part != whole && percent > 99.9 && percent < 100)
		/* Not all is not 100 %. */
		snprintf(text, size, "%.2f %%", percent > 99.99 ? 99.99 : percent);
	else if (percent >= 1000000)
		snprintf(text, size, "> 1000000 %%");
	else
		snprintf(text, size, "%.1f %%", percent);
	return text;
}

static char *two_units(char *text, size_t size, uint64_t seconds, uint64_t large,
    const char *large_name, uint64_t small, const char *small_name)
{
	snprintf(text, size, "%" PRIu64 " %s %" PRIu64 " %s", seconds / large,
	    large_name, seconds % large / small, small_name);
	return text;
}

char *format_duration(char *text, size_t size, uint64_t ns)
{
	uint64_t s = ns / 1000000000;
	double value = (double)ns;

	if (s >= 86400)
		return two_units(text, size, s, 86400, "d", 3600, "h");
	if (s >= 3600)
		return two_units(text, size, s, 3600, "h", 60, "min");
	if (s >= 60)
		return two_units(text, size, s, 60, "min", 1, "s");
	if (ns < 1000)
		snprintf(text, size, "%" PRIu64 " ns", ns);
	else if (ns < 1000000)
		snprintf(text, size, "%.*f us", decimals(value / 1e3), value / 1e3);
	else if (s < 1)
		snprintf(text, size, "%.*f ms", decimals(value / 1e6), value / 1e6);
	else
		snprintf(text, size, "%.1f s", value / 1e9);
	return text;
}

static char *printable(char *text, bool keep_lines)
{
	for (char *c = text; *c; c++)
		if ((*c < ' ' || *c > '~') &&
		    !(keep_lines && (*c == '\n' || *c == '\t')))
			*c = '?';
	return text;
}

char *format_printable(char *text)
{
	return printable(text, false);
}

char *format_printable_lines(char *text)
{
	return printable(text, true);
}
