/* os.execute and io.popen as Lua has them, but for the signals: what they start can be
 * ended like any program (base/program.h), and a SIGINT meanwhile is still ours, where
 * system(3) ignores it in the whole process. Both block the thread. The thread that the
 * state is on. */
#ifndef ISOLATE_SHELL_H
#define ISOLATE_SHELL_H

#include <lua.h>

/* Replaces them in a state with all standard libraries; leaves nothing. */
int luaopen_atoll_shell(lua_State *L);

#endif
