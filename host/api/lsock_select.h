/* One fiber that waits for many descriptors: socket.select, for anything that has the
 * methods getfd and dirty; and for a single one, for what has a descriptor and no
 * methods here, such as LuaSec's connections.
 *
 * A select that finds some of them ready lets other fibers run before it says so:
 * programs with a scheduler of their own call it in a loop. With a time of 0 it does
 * not. The thread that the state is on. */
#ifndef API_LSOCK_SELECT_H
#define API_LSOCK_SELECT_H

#include <lua.h>

enum { LSOCK_SETSIZE = 1 << 20 }; /* the most at once */

/* select(readers, writers[, seconds]) */
int lsock_select(lua_State *L);

/* wait(fd, "read"|"write"[, seconds]) -> true, or false when the time is over. */
int lsock_wait_fd(lua_State *L);

/* writable(fd): whether it is now. cut(fd): nothing comes or goes any more. */
int lsock_fd_is_writable(lua_State *L);
int lsock_cut_fd(lua_State *L);

#endif
