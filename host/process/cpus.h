/* How many CPUs this process may use: those that its affinity allows, and no more than
 * the cgroup's quota buys (version 2's cpu.max, version 1's cfs quota; of every
 * group up to the root the tightest one counts, parts of a CPU round up).
 *
 * Files that are missing or say nothing limit nothing; the answer is at least 1. Any
 * thread. */
#ifndef PROCESS_CPUS_H
#define PROCESS_CPUS_H

unsigned cpus_allowed(void);

/* What the quota of the groups listed in that file (like /proc/self/cgroup) allows,
 * looked up under root (like /sys/fs/cgroup); 0 when it limits nothing. */
unsigned cpus_of_quota(const char *groups, const char *root);

#endif
