/* The header fields of an answer as Lua sees them: a value that is looked up by name in
 * any case, without a table being made for those that nobody looks at.
 *
 * `fields.name` joins the values of repeated fields with ", ", as req.headers does;
 * pairs goes over all of them, names in small letters. The thread that the state is on.
 */
#ifndef API_FIELDS_LUA_H
#define API_FIELDS_LUA_H

#include "base/span.h"

#include <lua.h>

/* Pushes the fields in lines, each `name: value CRLF`; they are copied. The lines must
 * not be where a finalizer could write. */
void fields_push(lua_State *L, struct span lines);

/* A Lua function: (fields, name) -> the list of the values of that name. */
int fields_values(lua_State *L);

#endif
