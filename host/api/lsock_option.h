/* setoption(name, value) and getoption(name) of LuaSocket's sockets: one table of what
 * there is. The thread that the state is on. */
#ifndef API_LSOCK_OPTION_H
#define API_LSOCK_OPTION_H

#include "api/lsock.h"

enum lsock_kind { LSOCK_TCP = 1, LSOCK_UDP = 2, LSOCK_STREAM = 4, LSOCK_DGRAM = 8 };

int lsock_setoption(lua_State *L, struct lsock *s, enum lsock_kind kind);
int lsock_getoption(lua_State *L, struct lsock *s, enum lsock_kind kind);

#endif
