/* Lua that runs outside of any fiber: finalizers, when the host itself makes something
 * in a state or closes it; what describes an error that nobody has caught. All of it
 * goes through Lua's luaD_pcall, and the program is linked with --wrap=luaD_pcall: on
 * an isolate it is watched like a fiber (slice.h). Since all others wait for it, it is
 * ended after a second, and what the same state wants to run so afterwards in some
 * milliseconds. The finalizers of a state that is closed have a second together, on
 * any thread.
 *
 * A state for which nothing has a limit (atoll run) has none here. The thread that the
 * state is on. */
#ifndef ISOLATE_OUTSIDE_H
#define ISOLATE_OUTSIDE_H

#include "base/clock.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct generation;

/* Part of struct generation. */
struct outside {
    bool limited;
    int64_t ending; /* when something was first told to end; 0: nothing was */
    int64_t closed; /* when the closing began */
};

/* lua_close. */
void outside_close(struct generation *g);

/* For preempt.h: whether what has run in L for `ran` ns has to end. */
bool outside_is_over(lua_State *L, int64_t ran);

/* Pushes what ends it, with the place that L is at; the first time the log hears it. */
void outside_push(lua_State *L, lua_Debug *ar);

/* Inside Lua; hidden, but linked statically. Weak: there is no such name without the
 * option. */
typedef void (*outside_function)(lua_State *L, void *data);
__attribute__((weak)) int __real_luaD_pcall(lua_State *L, outside_function f,
                                            void *data, ptrdiff_t top, ptrdiff_t ef);
int __wrap_luaD_pcall(lua_State *L, outside_function f, void *data, ptrdiff_t top,
                      ptrdiff_t ef);

#endif
