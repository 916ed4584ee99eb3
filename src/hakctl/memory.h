/*
 * Statistics of a process that has no stats segment, out of its memory: the sums that
 * it would make itself (ctl/collect.c), over copies of its structures (ctl/anchor.h).
 * Works whatever the process does or does not do. It needs what a debugger needs
 * (ptrace(2), PTRACE_MODE_ATTACH_FSCREDS). Nothing read is trusted.
 */
#ifndef HAK_HAKCTL_MEMORY_H
#define HAK_HAKCTL_MEMORY_H

#include "hakctl/target.h"

/* Where the process's anchor is; 0: it has none. *result: TARGET_OK, or why it could
 * not be looked for. */
uint64_t memory_find(pid_t pid, enum target_result *result);

/* A snapshot of the process, *bytes long, to be freed; first_tid: its pid, as it knows
 * it. Exact while the process does not allocate. */
enum target_result memory_look(pid_t pid, uint64_t anchor, long first_tid,
    struct snapshot **snapshot, size_t *bytes);

#endif
