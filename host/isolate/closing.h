/* Kinds of userdata that are ended where their scope is left, and when they are
 * collected: a coroutine that has died of an error closes nothing before somebody
 * closes it, and perhaps nobody does. So `end` may be called twice. Inside Lua; raises
 * without memory. */
#ifndef ISOLATE_CLOSING_H
#define ISOLATE_CLOSING_H

#include <lua.h>

/* Makes the kind, once in each state. */
void closing_kind(lua_State *L, const char *kind, lua_CFunction end);

/* The userdata on top becomes one of the kind, and a local of the C function that is
 * closed when that is left. */
void closing_mark(lua_State *L, const char *kind, lua_CFunction end);

#endif
