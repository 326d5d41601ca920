/* The only lua_pcall. Whoever runs Lua from C that may not raise goes through here: the
 * loader, the closing of a state, the hooks of an app. Fibers are run by sched instead.
 *
 * Errors come back as a code and a text with the traceback, so that a caller needs no
 * Lua of its own to report them. The thread that the state is on. */
#ifndef ISOLATE_GATE_H
#define ISOLATE_GATE_H

#include "base/buf.h"

#include <lua.h>

/* Calls the function below its n arguments on L's stack, as lua_pcall would. 0, ERR_LUA
 * or ERR_MEMORY; then nothing is left on the stack and *error (when not NULL) has the
 * message and the traceback appended, without a newline at the end. */
int gate_call(lua_State *L, int arguments, int results, struct buf *error);

/* Appends to *error what the value at index says as an error ("(error object is a
 * table)" and so on) and, when from is not NULL, from's traceback. Does not raise: it
 * calls no metamethod other than __tostring, under protection. */
void gate_describe(lua_State *L, int index, lua_State *from, struct buf *error);

#endif
