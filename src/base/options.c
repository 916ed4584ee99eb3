#include "base/options.h"

#include "base/size_class.h"

struct options options = {
	/* Half of jemalloc's default: with the background thread there is
	 * nobody to wait for, and a fault costs less than idle memory. */
	.dirty_decay_ms = 5000,
	.muzzy_decay_ms = 0,
	.background_thread = true,
	.max_background_threads = 1,
	.tls_tiny = true,
	.tls_l2 = true,
	.tls_l25 = true,
	.whale = true,
	.whale_max_bytes = 1 * GiB,
	.tcache = true,
	.tcache_max = L25_MAX,
	.pressure = true,
};

struct settings settings;

/* Some task stalled for memory a tenth of the time. */
#define PRESSURE_THRESHOLD 1000

void settings_init(void)
{
	settings = (struct settings) {
		.dirty_decay_ms = (AO_t)options.dirty_decay_ms,
		.muzzy_decay_ms = (AO_t)options.muzzy_decay_ms,
		.background_thread = options.background_thread,
		.layers = (AO_t)(HAK_TLS_TINY && options.tls_tiny) << LAYER_TINY |
		    (AO_t)(HAK_TLS_L2 && options.tls_l2) << LAYER_L2 |
		    (AO_t)(HAK_TLS_L25 && options.tls_l25) << LAYER_L25 |
		    (AO_t)options.whale << LAYER_WHALE,
		.whale_max_bytes = options.whale_max_bytes,
		.soft_bytes = options.limit_soft_bytes,
		.pressure = options.pressure,
		.pressure_threshold = PRESSURE_THRESHOLD,
	};
}
