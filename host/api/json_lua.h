/* JSON for Lua: the module atoll.json, and lua-cjson's surface, which many libraries
 * take for granted, as cjson and cjson.safe. They share null, array_mt and the code,
 * and differ where lua-cjson's habits are not ours: cjson writes 1.0 as "1", escapes
 * "/", and takes number keys among others; atoll.json.decode answers nil, message,
 * "ESYNTAX" where cjson.decode raises.
 *
 * What reads requests and writes responses in C uses json_read and json_write, whatever
 * an app has set in cjson. On the thread that runs L. */
#ifndef API_JSON_LUA_H
#define API_JSON_LUA_H

#include <lua.h>

int luaopen_atoll_json(lua_State *L);
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

#endif
