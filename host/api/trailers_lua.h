/* The trailers of a response: fields that are known only when its body is written, as a
 * checksum is. They are sent behind bodies in chunks to clients that say `TE:
 * trailers`, and dropped otherwise.
 *
 * The names that res.trailers has when the head is sent are declared there; the values
 * are those of the end. Index 1 is the request. The isolate's thread. */
#ifndef API_TRAILERS_LUA_H
#define API_TRAILERS_LUA_H

#include "api/request_lua.h"

/* The table at index is res.trailers from now on. */
void trailers_set(lua_State *L, struct request *r, int index);

/* Adds the field Trailer, if they may be sent with an answer of that status whose
 * length is unknown. Raises for names that cannot trail. */
void trailers_declare(lua_State *L, struct request *r, int status);

/* Sends them, if they may be. Raises for what is no field. */
void trailers_send(lua_State *L, struct request *r);

#endif
