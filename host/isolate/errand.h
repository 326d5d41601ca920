/* Errands: jobs of a pool that a fiber waits for. The fiber goes on when the job is
 * done; where there is no fiber, because an app is being loaded or the state is a
 * blocking function's, the thread does the work itself.
 *
 * An errand is memory of its own, made with its callbacks and all that `run` needs but
 * what costs much; `fill` adds that when there is room in the pool. The handle on the
 * fiber's stack owns it: it is closed when the fiber's C function returns, raises or is
 * cancelled, and then a job that has not run never does, and one that runs is forgotten
 * and freed when it is over. The thread that the state is on, but `run` and `drop`. */
#ifndef ISOLATE_ERRAND_H
#define ISOLATE_ERRAND_H

#include "isolate/sched.h"
#include "net/pool.h"

struct errand {
    struct pool_job job;
    struct waiter waiter;
    bool under_way; /* the pool has it */
    bool forgotten; /* its handle was closed; `over` is wanted */
    /* On the fiber's thread with its stack, when there is room. 0 or a negative errno.
       May be NULL. */
    int (*fill)(lua_State *L, struct errand *e);
    /* On a pool's thread, or where there is no fiber on the caller's. */
    void (*run)(struct errand *e, struct pool_place *place);
    /* Frees it. On any thread. */
    void (*drop)(struct errand *e);
    /* May be NULL: instead of being forgotten, one that runs while its handle is closed
       is hastened, and this is called in place of drop when it is over; on the loop. */
    void (*over)(struct errand *e);
};

/* Pushes a handle, which is to be closed with the calling C function; then its errand
 * is set. */
struct errand **errand_push(lua_State *L);

/* The errand of the handle at index, NULL when it was closed. */
struct errand *errand_at(lua_State *L, int index);

/* `return errand_run(L, pool, k)`: has the errand of the handle on top run, and
 * continues with k(L, status, err), the stack as it was; err is 0, or negative when it
 * could not be filled or no thread started, and then it has been dropped. pool is not
 * looked at where there is no fiber. Raises where sched_park does. */
int errand_run(lua_State *L, struct pool *pool, lua_KFunction k);

int luaopen_atoll_errand(lua_State *L);

#endif
