/* How much memory this process may use: the machine's, and no more than the control
 * groups leave (memory.max of version 2, memory.limit_in_bytes of version 1).
 *
 * Files that are missing or say nothing limit nothing. Any thread. */
#ifndef PROCESS_RAM_H
#define PROCESS_RAM_H

#include <stdint.h>

/* Bytes; 0 when nobody knows. */
uint64_t ram_allowed(void);

/* The groups' limit, as cpus_of_quota has it; 0 when there is none. */
uint64_t ram_of_groups(const char *groups, const char *root);

#endif
