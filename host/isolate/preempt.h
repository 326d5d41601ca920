/* What an isolate's own thread does to a fiber that runs past its slice. The watchdog's
 * signal (slice.h) arms a hook on the coroutine that runs; at the next instruction the
 * hook yields it, as a wait would, through all coroutines of the program's own, and
 * sched lets the loop turn before the fiber goes on. Where Lua cannot be suspended (a
 * comparator of table.sort) the hook stays and tries again, and so it does, for a
 * while, in the program's own Lua code, whose lists others share. A fiber, or an
 * atoll.timeout, whose time is over is ended there, too.
 *
 * A hook that the program has set by itself is kept: its events are passed on while
 * ours is armed, and debug.gethook never tells of ours. Nothing is armed, and nothing
 * is paid, while nobody overruns. The isolate's thread; preempt_arm in a handler. */
#ifndef ISOLATE_PREEMPT_H
#define ISOLATE_PREEMPT_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sched;

enum { PREEMPT_PLACE = 96 };

/* Inside Lua; hidden, but linked statically. Raises the value on top without asking a
 * message handler (lua_error of a hook would run one where no hook is called). */
__attribute__((noreturn)) void luaD_throw(lua_State *L, int status);

/* A hook of the program's that counts no more instructions than these is waited for: it
 * could not be put aside without losing count. */
enum { PREEMPT_SHARED = 10000 };

/* Part of struct sched. */
struct preempt {
    lua_State *volatile armed; /* has our hook, or NULL */
    volatile bool busy;        /* a hook is being changed: no signal may */
    uint8_t put_off;           /* signals that came while it was busy */
    lua_Hook theirs;           /* the program's on the armed one, or NULL */
    int mask, count;           /* of theirs */
    int patience;              /* instructions between two tries */
    bool sharing;              /* the events that we try at are theirs as well */
    bool called;               /* ours has been, since it was armed */
    bool unmasked;             /* hooks are called in hooks: none is passed on */
    bool told;                 /* the log has the place of what is in no fiber */
    bool entered;              /* a function was: its first instruction comes next */
    int64_t slice, cpu;        /* signalled last, and the thread's CPU time then */
    /* Of the CPU: from then until our own code was last met, -1: not yet; what it has
       used since. */
    int64_t own, own_used;
};

/* A C function that does not return. Part of struct sched. */
struct preempt_stuck {
    int64_t noted;             /* the slice in which it was noted last */
    char place[PREEMPT_PLACE]; /* that called it: "app.lua:7", or "" */
    atomic_llong since; /* the slice, until the watchdog has read the place; or 0 */
};

/* In a signal handler on the isolate's thread: hooks what runs. */
void preempt_arm(struct sched *s);

/* The armed coroutine has stopped to run and L, if not NULL, goes on. */
void preempt_move(struct sched *s, lua_State *L);

/* Hooks are called in L again: Lua does not see to that where an error that left a hook
 * ends the coroutine. */
void preempt_unmask(lua_State *L);

/* For specs: every fiber is suspended at each instruction that is not the program's own
 * code, or none any more. */
void preempt_always(struct sched *s, bool on);

/* While of's hook is changed or looked at: it is the program's, and stays so. */
void preempt_hold(struct sched *s, lua_State *of);
void preempt_let(struct sched *s);

#endif
