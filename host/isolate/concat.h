/* A repair of the Lua that Debian 12 ships (5.4.4-3): its backport for CVE-2022-33099
 * lacks the commit after it, so that `a .. b` goes on with a pointer into the old stack
 * when a __concat metamethod made the stack move. That ends the process.
 *
 * The program is linked with --wrap=luaT_tryconcatTM: around each __concat the memory
 * of the stack is kept, and if the stack has moved it is moved back. With any other Lua
 * it is a mere call. The thread that the state is on. */
#ifndef ISOLATE_CONCAT_H
#define ISOLATE_CONCAT_H

#include <lua.h>

/* Inside Lua; hidden, but linked statically. Weak: there is no such name without the
 * option. */
__attribute__((weak)) void __real_luaT_tryconcatTM(lua_State *L);
void __wrap_luaT_tryconcatTM(lua_State *L);
int luaD_reallocstack(lua_State *L, int size, int raise);

#endif
