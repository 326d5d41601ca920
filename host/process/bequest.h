/* What one program leaves to the next that is executed in the same process or as its
 * child: a file in memory, named in the environment, with the listening sockets, the
 * settings that last as long as they do, and, for a new supervisor, its children.
 *
 * The two programs may be of different versions: the text has a key in front of each
 * value, and who does not know a key passes over it. The supervisor's thread. */
#ifndef PROCESS_BEQUEST_H
#define PROCESS_BEQUEST_H

#include "process/heritage.h"
#include "process/pid_file.h"
#include "process/problem.h"
#include "process/processes.h"

enum bequest_role { BEQUEST_NONE, BEQUEST_HOST, BEQUEST_SUPERVISOR };

struct bequest {
    enum bequest_role role;
    char *text;          /* owned; the values lie in it */
    const char *version; /* of who left it */
    struct listeners listeners;
    struct setting_given *kept;
    size_t kept_count;
    pid_t supervisor;
    unsigned restarts;
    int more;
    int64_t heartbeat;
    int pipe, report;     /* of a host */
    int pid_file;         /* of a supervisor; -1 when there is none */
    struct link children; /* of a supervisor: struct process */
};

/* What a supervisor knows. */
struct estate {
    const struct heritage *heritage;
    const struct pid_file *pid_file;
    struct link *children;
};

/* For a host: its own child is in *own, and writing is its end of the pipe. A memfd, to
 * be named to the program by bequest_name and to be closed; or a negative errno. */
int bequest_for_host(const struct estate *e, const struct process *own, int writing);
int bequest_for_supervisor(const struct estate *e);

/* Puts fd into the environment; negative: removes it from there. Then, as the next
 * three, 0 or a negative errno. */
int bequest_name(int fd);

/* Makes all descriptors survive an exec, or not any more. */
int bequest_expose_host(const struct estate *e, const struct process *own, int writing,
                        bool open);
int bequest_expose_supervisor(const struct estate *e, bool open);

/* Takes what the environment names, and the name out of it. 0, role NONE when there is
 * nothing for this process; or -1 with the problem. */
int bequest_take(struct bequest *b, struct problem *p);

/* Frees the texts, and the listeners unless they were taken, without a word to their
 * sockets. */
void bequest_done(struct bequest *b);

#endif
