/*
 * Numbers and text for people. Each of these writes at most size bytes and gives
 * text back, so that it can be printed at once.
 */
#ifndef HAK_HAKCTL_FORMAT_H
#define HAK_HAKCTL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* Enough for any number below. */
#define FORMAT_SIZE 32

/* "0 B", "832 B", "1.25 MiB", "18.0 GiB": three digits that count. */
char *format_bytes(char *text, size_t size, uint64_t bytes);
/* The same with a sign where it is not 0: "+1.25 MiB". */
char *format_bytes_signed(char *text, size_t size, int64_t bytes);
/* "0", "9,999", "12.3 k", "4.56 M". */
char *format_count(char *text, size_t size, uint64_t count);
/* With a sign; a rate, as "1.25 k/s". */
char *format_count_signed(char *text, size_t size, int64_t count);
char *format_rate(char *text, size_t size, double per_second);
char *format_byte_rate(char *text, size_t size, double per_second);
/* "12.3 %"; "99.98 %" close to the top, which is not rounded up to 100 %; "-" where
 * the whole is 0. */
char *format_percent(char *text, size_t size, uint64_t part, uint64_t whole);
/* "850 ns", "1.50 ms", "2.3 s", "5 min 12 s", "3 h 5 min", "12 d 3 h". */
char *format_duration(char *text, size_t size, uint64_t ns);

/* Replace all that could steer a terminal or is not ASCII, in place. */
char *format_printable(char *text);
/* The same for a whole reply, where lines end as they do. */
char *format_printable_lines(char *text);

#endif
