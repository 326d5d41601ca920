/* What the control groups of this process limit: of every group up to the root the
 * tightest limit counts, in version 2 of the system's or version 1.
 *
 * Files that are missing or say nothing limit nothing. Any thread. */
#ifndef PROCESS_CGROUP_H
#define PROCESS_CGROUP_H

/* The least that v2 (v1) says of any directory of a group, INFINITY being none. The
 * groups are listed in that file (like /proc/self/cgroup) and looked up under root
 * (like /sys/fs/cgroup); controller is version 1's. */
double cgroup_least(const char *groups, const char *root, const char *controller,
                    double v2(const char *dir), double v1(const char *dir));

/* The first line of a small file, in out; or NULL. */
char *cgroup_line(const char *path, char *out, int size);

#endif
