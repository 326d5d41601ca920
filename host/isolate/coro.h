/* The program's coroutine library: Lua's own, but that a park inside a coroutine passes
 * through all who resumed it up to the scheduler, and the wake back down. To a program
 * a fiber looks like the main thread: it cannot yield out of it.
 *
 * What a coroutine is to the scheduler stands in marks beside the generation in its
 * extra space, so that the common case costs one load. The thread that the state is on.
 */
#ifndef ISOLATE_CORO_H
#define ISOLATE_CORO_H

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

enum coro_mark {
    CORO_BASE = 1,    /* a fiber's own coroutine */
    CORO_WAITING = 2, /* parked, the innermost of its fiber */
    CORO_PASSING = 4, /* has resumed one that waits or passes */
    CORO_SCOPED = 8,  /* inside atoll.timeout */
    CORO_MARKS = 15,
};

static inline uintptr_t *coro_extra(lua_State *co) {
    return (uintptr_t *)lua_getextraspace(co);
}

static inline unsigned coro_marks(lua_State *co) {
    return (unsigned)(*coro_extra(co) & CORO_MARKS);
}

static inline void coro_set(lua_State *co, enum coro_mark mark) {
    *coro_extra(co) |= mark;
}

static inline void coro_clear(lua_State *co, unsigned marks) {
    *coro_extra(co) &= ~(uintptr_t)marks;
}

/* Closes what is to be closed in co and makes it ready for a new function; from is
 * whoever runs now. As lua_closethread. */
static inline int coro_reset(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}

int luaopen_atoll_coroutine(lua_State *L);

/* Whether a park passes through the C function (coroutine.resume and so on). */
int coro_passes(lua_CFunction function);

/* Pushes onto co, a fiber's coroutine, what stands at index 1 of its first function;
 * false when there is nothing, or no room for it. */
bool coro_push_first(lua_State *co);

#endif
