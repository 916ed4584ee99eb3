/*
 * How hakctl has a process start the background thread that it did without so far: it
 * stops the first thread for a moment, as a debugger does, and has it go on here. The
 * thread may be anywhere, in the middle of malloc or with SUMMON_STACK_BYTES of stack left, so
 * what runs here takes no lock, allocates nothing, has a stack of its own, and gives back
 * every register as it was. It needs nobody to clean up: hakctl may be gone by then.
 *
 * To begin here the thread needs, below the SUMMON_RED_ZONE bytes under its stack
 * pointer (what compiled code may keep there without saying so), three words, its stack
 * pointer at the lowest: its signal mask, for all are blocked by now; where it goes on if a
 * signal ends the system call that it was in (0: it was in none that a signal ends), and
 * where else. SUMMON_ANY_HANDLER in the second: whatever handler the signal has, not only
 * those without SA_RESTART.
 */
#ifndef HAK_CTL_SUMMON_H
#define HAK_CTL_SUMMON_H

#include "page/thread.h"

#define SUMMON_RED_ZONE 128
#define SUMMON_STACK_BYTES 256 /* of the thread's own, below that */
#define SUMMON_ANY_HANDLER (1ull << 63)

#if THREAD_CAN_HIDE
/* Not to be called. */
void summon(void);
#define SUMMON summon
#else
#define SUMMON NULL
#endif

#endif
