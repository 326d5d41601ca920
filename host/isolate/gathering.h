/* What a C function gathers outside of Lua while it waits is on the account of its
 * state (budget.h): a value on the function's stack that gives it back when that
 * returns, raises or is cancelled.
 *
 * The thread that the state is on. */
#ifndef ISOLATE_GATHERING_H
#define ISOLATE_GATHERING_H

#include <lua.h>
#include <stddef.h>

/* Pushes one that holds nothing, to be closed with the calling C function. */
void gathering_push(lua_State *L);

/* The one at index holds so many bytes now. Raises when there is no room for more. */
void gathering_charge(lua_State *L, int index, size_t bytes);

#endif
