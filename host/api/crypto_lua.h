/* atoll.core.crypto: random bytes, sealing, digests, HMAC and base64 for the Lua half:
 * sessions and signatures, and what stands in for ngx.md5 and its like.
 *
 * All results are strings of bytes; nothing here is fit for passwords. Any thread that
 * the state is on. */
#ifndef API_CRYPTO_LUA_H
#define API_CRYPTO_LUA_H

#include <lua.h>

int luaopen_atoll_core_crypto(lua_State *L);

#endif
