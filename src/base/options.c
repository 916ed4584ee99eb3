#include "config.h"

#include "base/options.h"

struct options options = {
	/* Half of jemalloc's default: with the background thread there is
	 * nobody to wait for, and a fault costs less than idle memory. */
	.dirty_decay_ms = 5000,
	.muzzy_decay_ms = 0,
	.background_thread = true,
	.tls_tiny = HAK_TLS_TINY,
	.tls_l2 = HAK_TLS_L2,
	.tls_l25 = HAK_TLS_L25,
	.whale = true,
};
