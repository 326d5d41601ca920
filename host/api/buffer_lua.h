/* atoll.buffer: bytes that do not change and that isolates share. In a message goes a
 * reference; nobody copies them, however many get them. What wants a string gets a copy
 * of what it asks for.
 *
 * A handle is of the thread that its state is on; the bytes are counted, and any
 * thread's. */
#ifndef API_BUFFER_LUA_H
#define API_BUFFER_LUA_H

#include "base/span.h"

#include <lua.h>
#include <stdbool.h>

/* The bytes of the string, number (which becomes one) or buffer at index, which are
 * there as long as it is on the stack; false when it is none of them. */
bool buffer_bytes(lua_State *L, int index, struct span *bytes);

/* The same; raises. */
struct span buffer_check_bytes(lua_State *L, int index);

int luaopen_atoll_core_buffer(lua_State *L);

#endif
