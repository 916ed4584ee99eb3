/* hakctl export --listen: an HTTP endpoint, /metrics. */
#ifndef HAK_HAKCTL_ENDPOINT_H
#define HAK_HAKCTL_ENDPOINT_H

#include <stddef.h>

#include "hakctl/openmetrics.h"

/* The metrics as of now, from malloc; NULL: no memory. */
typedef char *(*endpoint_text_fn)(void *context, enum metrics_format format,
    size_t *length);

/* Serve until SIGINT or SIGTERM. address: ADDRESS:PORT, [ADDRESS]:PORT or PORT, the
 * latter on 127.0.0.1. Complains; returns an exit code. */
int endpoint_serve(const char *address, endpoint_text_fn text, void *context);

#endif
