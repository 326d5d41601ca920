/* JSON for Lua: the module atoll.json, and lua-cjson's surface, which many libraries
 * take for granted, as cjson and cjson.safe. They share null, array_mt and the code,
 * and differ where lua-cjson's habits are not ours: cjson writes 1.0 as "1", escapes
 * "/", and takes number keys among others; atoll.json.decode answers nil, message,
 * "ESYNTAX" where cjson.decode raises.
 *
 * The C functions are for the rooms that read requests and write responses; they behave
 * as atoll.json does, whatever an app has set in cjson. On the thread that runs L. */
#ifndef API_JSON_LUA_H
#define API_JSON_LUA_H

#include "base/buf.h"

#include <lua.h>

/* Appends the value at index to out, or raises with out as it was. The caller's handle
 * owns out; nothing in it is reachable for Lua code while this runs. */
void json_encode_to(lua_State *L, int index, struct buf *out);

/* Pushes the value that text holds and returns 1, or raises. A caller who would rather
 * have the message uses json_read. */
int json_decode_span(lua_State *L, struct span text);

int luaopen_atoll_json(lua_State *L);
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

#endif
