/* The functions of an app that no request calls: on("start"), on("reload"), on("stop"),
 * and a script's main chunk. Each runs in a fiber of its own, so that it may wait; how
 * it ended is told on the isolate's loop.
 *
 * What on("reload") returns is packed, so that the next generation, another Lua state,
 * can be given it. The isolate's thread. */
#ifndef API_HOOK_LUA_H
#define API_HOOK_LUA_H

#include "base/span.h"
#include "isolate/generation.h"

/* err is 0 with text the packed value (of HOOK_RELOAD, else empty), or ERR_LUA,
 * ERR_MEMORY, ERR_CANCELLED with text the message and traceback. */
typedef void (*hook_done)(struct generation *g, int err, struct span text, void *data);

enum hook { HOOK_START, HOOK_RELOAD, HOOK_STOP, HOOK_SCRIPT };

/* Runs the hook; state is the packed value for HOOK_START (empty for nil). done is
 * called exactly once, later or, when there is nothing to run, at once. */
void hook_run(struct generation *g, enum hook hook, struct span state, hook_done done,
              void *data);

/* Makes os.exit tell the host instead of ending the process. */
void hook_take_exit(lua_State *L);

/* The hooks of g (a script's main chunk) are told to end, as task:cancel does. */
void hooks_cancel(struct generation *g);

/* Ends the hooks of g that wait: their done is told ERR_CANCELLED. */
void hooks_kill(struct generation *g);

#endif
