/* What a script of `atoll run` may do and an app may not: end the program, and hear of
 * signals.
 *
 * A signal goes to each isolate in which somebody listens for it; the process counts
 * the listeners, since what nobody listens for has its usual effect. A listener that is
 * busy finds each signal once, however often it came. The isolate's thread. */
#ifndef API_SCRIPT_LUA_H
#define API_SCRIPT_LUA_H

#include "isolate/generation.h"

#include <stdatomic.h>

enum { SCRIPT_SIGNALS = 32 };

/* The process's, for all isolates; by the signals' numbers. */
struct script_signals {
    atomic_uint wanted[SCRIPT_SIGNALS]; /* how many listeners there are */
    void (*listen)(int signal);         /* there is one now; any thread */
};

/* Those that can be listened for, up to {0, NULL}. */
extern const struct script_signal {
    int number;
    const char *name;
} script_signals[];

/* Tells the listeners of g. */
void script_tell(struct generation *g, int number);

/* exit([code]): ends the program; never returns. */
int script_exit(lua_State *L);

/* A table with exit and signals. */
int luaopen_atoll_script(lua_State *L);

#endif
