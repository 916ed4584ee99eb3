/* Caches that the program makes (mallctl tcache.create), by number. */
#ifndef HAK_TCACHE_EXPLICIT_H
#define HAK_TCACHE_EXPLICIT_H

#include "tcache/tcache.h"

/* What the flags of hak_mallocx have room for. */
#define EXPLICIT_MAX 4093u

/* The new cache's number; EXPLICIT_MAX: no memory, or too many. */
unsigned explicit_create(void);
/* NULL: there is none of that number. */
struct tcache *explicit_get(unsigned number);
/* Flush and delete it; false: there is none. Nobody may be using it. */
bool explicit_destroy(unsigned number);

#endif
