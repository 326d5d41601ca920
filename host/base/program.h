/* Programs that are started as from a shell: no signal is blocked, though all threads
 * but the first block them, and SIGPIPE ends them, though the host ignores it. Any
 * thread. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts the program at path; its descriptor `as` is our fd (-1: nothing of the kind),
 * and it has whatever else is not FD_CLOEXEC. fresh: it does not even ignore what
 * whoever started this one had it ignore (nohup). 0 with its pid, to be waited for, or
 * a negative errno. */
int program_start(pid_t *pid, const char *path, char *const argv[], int fd, int as,
                  bool fresh);

/* Until it has ended: 0 with its status as of waitpid(2), or a negative errno. */
int program_wait(pid_t pid, int *status);

#endif
