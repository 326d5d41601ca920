/* The last words of a process that dies of a fault or an abort: the signal and the
 * address, the thread, the addresses on its stack, and what it was doing, as somebody
 * who knows describes it. Written by a signal handler on a stack of its own, so also
 * when the thread's has overflowed; then the signal takes its course, core file
 * included.
 *
 * What is surest comes first: should the describing fault again, the rest has been
 * written. Sanitizers say more; under them nothing is installed. crash_install before
 * the other threads; crash_begin and crash_end on each thread that is to be described.
 */
#ifndef BASE_CRASH_H
#define BASE_CRASH_H

#include "base/span.h"

/* fd: where to write, borrowed for good; negative installs nothing. describe (or NULL)
 * is called in the handler with what the thread gave to crash_begin. */
void crash_install(int fd, void (*describe)(const void *who));

void crash_begin(const void *who);
void crash_end(void);

/* In describe: no allocation, no lock, no stdio. Bytes that are not printable ASCII
 * are written as '?'. */
void crash_put(struct span text);
void crash_put_number(long long n);

#endif
