/* The time limits of atoll.timeout: while one is entered, a wait of its fiber that goes
 * on past its time ends with an error that only this scope recognises, and so does
 * every later wait inside it. Of several that are over the outermost is raised.
 *
 * A scope lives in memory of the coroutine that entered it, which cannot yield out of
 * it; sched asks scope_check around each park. The isolate's thread. */
#ifndef ISOLATE_SCOPE_H
#define ISOLATE_SCOPE_H

#include "isolate/sched.h"

struct scope {
    struct scope *outer;
    struct fiber *fiber; /* NULL when not entered */
    lua_State *co;
    struct timer timer;
    int64_t at; /* monotonic ns; INT64_MAX for never */
    uint64_t serial;
    int64_t ending; /* when it was first ended while it computed, monotonic ns; 0 */
    int64_t spared; /* what was computed when it was not yet, since something closed */
    bool expired;
};

/* Enters *sc, which must stay where it is until left; raises without memory. L is in a
 * fiber. */
void scope_enter(lua_State *L, struct scope *sc, int64_t at);

/* Harmless when it is not entered. */
void scope_leave(struct scope *sc);

/* Whether the value at index is what scope_check raised for sc. */
bool scope_is_mine(lua_State *L, int index, const struct scope *sc);

/* Leaves those of f that co entered, or all when co is NULL. */
void scope_drop(struct fiber *f, lua_State *co);

/* Raises what ends the present wait of f: its cancel or a scope that is over. */
void scope_check(lua_State *L, struct fiber *f);

/* The scope of f that is over, of several the outermost, or NULL; and pushes what ends
 * it. */
struct scope *scope_over(struct fiber *f);
void scope_push(lua_State *L, const struct scope *sc);

int luaopen_atoll_scope(lua_State *L);

#endif
