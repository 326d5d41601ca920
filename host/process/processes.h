/* The processes that the supervisor has started: those that serve, those of another
 * program file that are to take over (upgrade.h), and those that were replaced and
 * finish what they have. Each has a pipe on which it tells how it is, and a file in
 * memory to which it writes what it knows when it crashes.
 *
 * Here is what is done to one; when, is the supervisor's. The supervisor's thread. */
#ifndef PROCESS_PROCESSES_H
#define PROCESS_PROCESSES_H

#include "base/list.h"
#include "process/heritage.h"

#include <signal.h>
#include <stdio.h>

enum process_role {
    PROCESS_SERVES, /* one of `processes`; the only ones that are started again */
    PROCESS_TRIED,  /* to serve when all of its kind are ready */
    PROCESS_LEAVES, /* replaced: it has been told to stop */
};

struct process {
    struct link member;
    enum process_role role;
    pid_t pid;              /* 0 until it is forked, and between two of them */
    int pipe;               /* from it; -1 when it has closed it, or there is none */
    int report;             /* its crash's; -1 when there is none */
    bool ready;             /* it serves */
    bool reloading;         /* it will say when its reload is over */
    unsigned waiting[NSIG]; /* signals to be sent to it when it is ready */
    unsigned isolates;      /* since it is ready */
    int64_t ready_at;       /* when it became ready */
    int64_t turned_at;      /* when all its isolates were last known to turn */
    int64_t fork_at;        /* when to fork it again; 0 when not */
    int64_t delay;          /* before the next fork; 0 for at once */
    int64_t kill_at;        /* when patience with it ends; 0: it has no need to hurry */
};

/* `for (EACH_PROCESS(c, &list))`; the body may remove c. */
#define EACH_PROCESS(c, list)                                                          \
    struct process *c = LIST_OF((list)->next, struct process, member),                 \
                   *next_##c = LIST_OF(c->member.next, struct process, member);        \
    &c->member != (list);                                                              \
    c = next_##c, next_##c = LIST_OF(c->member.next, struct process, member)

/* Last in the list; NULL when memory has run out. */
struct process *process_new(struct link *list, enum process_role role);

/* Closes what it has; the process, if there is one, is left alone. */
void process_free(struct process *c);

/* A new pipe and a new report; *writing is the pipe's other end, which the caller
 * closes. 0 or a negative errno. */
int process_connect(struct process *c, int *writing);

/* It has ended, or has not begun: it is not, and nothing of it is open. */
void process_over(struct process *c);

/* Forked off: closes all that connects the supervisor to its children. */
void processes_forget(struct link *list);

/* The next message; false when there is none now. */
bool process_read(struct process *c, struct notice *out);

/* Now when it is ready, else when it will be: TTIN and TTOU as often as they came. */
void process_signal(struct process *c, int signal);

/* Those that wait. */
void process_signal_waiting(struct process *c, int signal);

/* "was killed by SIGSEGV, leaving a core"; returns out. */
char *process_death(int status, char *out, size_t size);

/* What it wrote when it crashed, lines without the last newline; "" when nothing.
 * Returns out. */
char *process_report(const struct process *c, char *out, size_t size);

#endif
