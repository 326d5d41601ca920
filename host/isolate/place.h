/* Names the place where Lua cannot be suspended, for people who asked why: a C function
 * that called back without a continuation (table.sort), a finalizer, a hook.
 *
 * Lua does not say which frame forbids it, so the innermost C function that is not
 * known to let parks through is named. The thread that the state is on. */
#ifndef ISOLATE_PLACE_H
#define ISOLATE_PLACE_H

#include <lua.h>

/* Pushes onto L a text such as "table.sort" for the stack of at (L itself or another
 * coroutine), whose function at level 0 is the one that wants to wait. */
const char *place_push(lua_State *L, lua_State *at);

#endif
