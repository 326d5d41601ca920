/* What of the standard library is not as Lua has it: chunks are loaded from text only,
 * since bytecode can do anything to the process, and os.exit does not end the host, and
 * the locale stays C, since it belongs to all threads.
 *
 * load, loadfile, dofile and the searcher of package are replaced; whoever runs a
 * script as a program may put its own os.exit. The thread that the state is on. */
#ifndef ISOLATE_TEXTLIB_H
#define ISOLATE_TEXTLIB_H

#include <lua.h>

/* Replaces them in a state with all standard libraries; leaves nothing. */
int luaopen_atoll_text(lua_State *L);

#endif
