/* A file that atoll.fs has open, as several fibers may use it: a turn stands on the
 * stack of the fiber whose call it is, and a task is what the pool does for the one
 * that has its turn. The next turn comes when the task is over, even when its fiber has
 * gone.
 *
 * A call pushes a turn and takes it; its step, when the turn has come, pushes a task
 * and has it run, or answers at once. The thread that the state is on, but the tasks'
 * work: while that runs nobody else touches the file. */
#ifndef API_FILE_TURN_H
#define API_FILE_TURN_H

#include "isolate/errand.h"

#include <sys/stat.h>

/* Owned by its handle and by what is under way: counted, since a thread of the pool may
 * be the last. */
struct file {
    uint32_t magic;
    atomic_uint references;
    int fd;
    bool seekable, append, closed;
    int64_t at; /* of the program, when seekable; what is ahead begins there */
    struct buf ahead;
    size_t line_max;
    char *path;
    /* The isolate's: */
    struct turn *holder; /* whose turn it is; NULL for nobody's */
    bool orphaned;       /* the holder has gone, but not what it had begun */
    struct link turns;   /* that wait */
    struct task *task;   /* in the pool */
};

enum file_goal { READ_BYTES, READ_SOME, READ_LINE, READ_ALL };

/* On the stack of the fiber that does something with the file. */
struct turn {
    struct file *file; /* NULL when closed */
    struct waiter waiter;
    struct link link;
    int arguments;
    int gathered; /* index of what is accounted for, or 0 */
    enum file_goal goal;
    size_t n;    /* of READ_BYTES and READ_SOME; the most of READ_ALL */
    bool raises; /* called by an iterator */
    int (*step)(lua_State *L, struct turn *t); /* when the turn has come */
};

/* What the pool does for a turn. */
struct task {
    struct errand errand;
    struct file *file;
    void (*work)(struct task *t);
    int (*answer)(lua_State *L, struct turn *turn, struct task *t);
    enum file_goal goal;
    size_t n, scanned;
    size_t room; /* bytes that may be ahead, before there is more on the account */
    bool ended, detached;
    int64_t offset;
    struct buf data;
    struct stat st;
    int flags, err;
    mode_t mode;
};

/* One reference; NULL without memory. The descriptor is -1. */
struct file *file_new(const char *path);

/* The last one closes the descriptor. On any thread. */
void file_unref(struct file *f);

/* Nobody will hear any more of what is under way. */
void file_abandon(struct file *f);

/* Pushes a turn; the arguments are below it. */
struct turn *turn_push(lua_State *L, struct file *f,
                       int (*step)(lua_State *L, struct turn *t));

/* `return turn_take(L, turn)`: waits for it, then calls step with the stack as it is.
 */
int turn_take(lua_State *L, struct turn *turn);

/* The turn that is below the handle on top. */
struct turn *turn_below(lua_State *L);

/* nil, message, code; raises when an iterator asked. */
int turn_failure(lua_State *L, const struct turn *turn, int err);

enum { FILE_MAGIC = 0x66696c65 };

/* Pushes the handle of a task for the file; NULL: the caller sets it, a reference. */
struct task *task_push(lua_State *L, struct file *f);

/* `return task_go(L, task)`: has the turn's task run, then calls its answer, or answers
 * with its error. */
int task_go(lua_State *L, struct task *t);

/* `return task_run(L, task, k)`: the same for a file that nobody has yet. */
int task_run(lua_State *L, struct task *t, lua_KFunction k);

static inline const atomic_bool *task_stop(const struct task *t) {
    return &t->errand.job.cancelled;
}

/* Makes the turns' metatable. */
void turn_open_library(lua_State *L);

#endif
