/* HAKMEM_CONF: "name:value,name:value", the grammar of jemalloc's MALLOC_CONF. */
#ifndef HAK_CTL_CONF_H
#define HAK_CTL_CONF_H

#include <stdbool.h>

/* Apply text to options. A bad item gets one line on stderr, the rest applies;
 * false: there was one. NULL is no text. */
bool conf_parse(const char *text);
/* The environment's HAKMEM_CONF, unless the process runs with privileges of its
 * own; aborts after a bad item where abort_conf says so. */
void conf_init(void);

#endif
