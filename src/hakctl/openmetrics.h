/*
 * The numbers of processes as metrics: a family for each STAT control whose metric
 * is not NONE, and a few more. A family's name follows from the control's, see
 * metric_name(), so that ctl.def stays the only list of names.
 */
#ifndef HAK_HAKCTL_OPENMETRICS_H
#define HAK_HAKCTL_OPENMETRICS_H

#include <jansson.h>
#include <stdio.h>

#include "hakctl/target.h"

enum metrics_format {
	/* Text format 0.0.4: what promtool and node-exporter read. TYPE and HELP
	 * have a counter's whole name, with _total. */
	METRICS_PROMETHEUS,
	/* OpenMetrics 1.0: TYPE, UNIT and HELP have it without. */
	METRICS_OPENMETRICS,
};

/* What an HTTP reply of that format says of itself. */
const char *metrics_content_type(enum metrics_format format);

/* All families of processes that have a snapshot, then "# EOF" (a comment to those
 * who read text format 0.0.4). */
void metrics_write(FILE *out, enum metrics_format format,
    const struct target *targets, size_t count);
json_t *metrics_json(const struct target *targets, size_t count);

#endif
