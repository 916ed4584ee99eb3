/*
 * The configuration: "name:value,name:value", the grammar of jemalloc's MALLOC_CONF,
 * from four sources, of which a later one wins: what --with-hakmem-conf compiled
 * in, the symbol hak_malloc_conf, /etc/hakmem.conf (a symbolic link's text, or a
 * file), the environment's HAKMEM_CONF.
 */
#ifndef HAK_CTL_CONF_H
#define HAK_CTL_CONF_H

#include <stdbool.h>

/* Apply text to options. A bad item gets one line on stderr that names source and
 * item, the rest applies; false: there was one. NULL is no text. */
bool conf_parse(const char *source, const char *text);
/* All sources; of a process that runs with privileges of its own only the first
 * two. Aborts after a bad item where abort_conf says so. */
void conf_init(void);
/* The site rules among them, once arenas can be made. */
void conf_sites(void);

#endif
