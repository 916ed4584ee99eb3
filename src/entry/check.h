/*
 * What is done to contents where options or a tool ask for it: zero and junk
 * filling, and the client requests that let valgrind's memcheck see the objects
 * of an allocator that it does not replace.
 */
#ifndef HAK_ENTRY_CHECK_H
#define HAK_ENTRY_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Is there anything to do? Then every call must come here. */
bool check_is_wanted(void);
/* usable: bytes that the program may use. is_zero: they read zero or will. */
void check_allocated(void *p, size_t usable, bool is_zero);
void check_freed(void *p, size_t usable);

#endif
