/* Where bytes that fibers read land. A long piece of them becomes a Lua string without
 * being copied: the block that they stand in is what Lua is given as memory for the
 * string, at the very place where it would copy them to.
 *
 * That place is known for Lua 5.4; should it be another one, the bytes are copied as
 * anywhere else. The isolate's thread. */
#ifndef ISOLATE_LANDING_H
#define ISOLATE_LANDING_H

#include "base/span.h"
#include "net/loop.h"

#include <lua.h>

/* Pushes the bytes, which begin where loop_landing says. They may be gone then. May
 * raise for want of memory. */
void landing_push(lua_State *L, struct loop *l, struct span bytes);

#endif
