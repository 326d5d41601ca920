/* Files that are removed with a request: the temporary ones of what it uploads, and
 * what it has not finished. A list in the request's handle; when that is over, however
 * it ends, a thread of the pool for files removes them, and the state is not closed
 * before.
 *
 * A file is named here before it is made, and taken out when it is to stay. The thread
 * that the request's state is on. */
#ifndef API_LITTER_H
#define API_LITTER_H

#include <lua.h>

struct litter;

/* Removes the files, and has forgotten them. */
void litter_clear(struct litter **list);

/* litter(req, path), keep(req, path) of atoll.core.multipart. Raise when the request is
 * over. */
int litter_add(lua_State *L);
int litter_keep(lua_State *L);

#endif
