/* atoll.every and app:every: a function called again and again in a fiber of its own.
 * It is due at multiples of its seconds; a time at which it still runs is left out, so
 * that it neither drifts nor runs twice at once.
 *
 * It is called only while its generation serves. With a name it is a job of isolate/
 * once.h: due at the same times in all isolates, and done in one of them. The isolate's
 * thread. */
#ifndef API_TICKER_LUA_H
#define API_TICKER_LUA_H

#include <lua.h>

/* The function ticker(seconds, fn[, name]), which starts one. */
int luaopen_atoll_ticker(lua_State *L);

#endif
