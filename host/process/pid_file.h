/* The file that tells the supervisor's process id. It is locked as long as the
 * supervisor lives, so a second one with the same file is refused, and what a killed
 * one left behind is taken over.
 *
 * A file that holds anything but a number is not overwritten. The lock ends with the
 * last descriptor: the host's child closes its copy (pid_file_forget). The thread that
 * runs the process. */
#ifndef PROCESS_PID_FILE_H
#define PROCESS_PID_FILE_H

#include "process/problem.h"

struct pid_file {
    char *path; /* owned: the settings that it came from are replaced by a reload */
    int fd;     /* -1 when there is none */
};

/* "" makes none. EX_UNAVAILABLE when another process holds it, EX_NOPERM, EX_CONFIG. */
int pid_file_open(struct pid_file *f, const char *path, struct problem *p);

/* The one that a program before this one, of the same process, has opened. */
int pid_file_adopt(struct pid_file *f, const char *path, int fd, struct problem *p);

/* Removes the file. */
void pid_file_close(struct pid_file *f);

/* In the child: the file stays. */
void pid_file_forget(struct pid_file *f);

#endif
