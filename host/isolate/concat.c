#include "isolate/concat.h"

#include "base/check.h"
#include "isolate/alloc.h"
#include "isolate/budget.h"

#include <lauxlib.h>

#if LUA_VERSION_RELEASE_NUM == 50404

/* How lua_State begins in 5.4.4 (its lstate.h). */
struct state {
    void *next;
    unsigned char tt, marked, status, allowhook;
    unsigned short nci;
    char *top;
    void *global, *ci;
    char *stack_last, *stack;
};

enum { SLOT = 16 };

__attribute__((used)) void __wrap_luaT_tryconcatTM(lua_State *L) {
    const struct state *state = (const struct state *)(const void *)L;
    void *data;
    if (lua_getallocf(L, &data) != alloc_lua) { /* none of ours */
        __real_luaT_tryconcatTM(L);
        return;
    }
    struct alloc *a = data;
    char *stack = state->stack;
    int size = (int)((state->stack_last - stack) / SLOT);
    int held = alloc_hold(a, stack, __builtin_frame_address(0));
    if (held < 0) budget_raise(L);
    __real_luaT_tryconcatTM(
        L); /* may raise, and may yield: then the hold is forgotten */
    if (state->stack != stack) {
        alloc_give_back(a, stack);
        luaD_reallocstack(L, size, 0);
        CHECK(state->stack == stack);
    }
    if (held) alloc_release(a, stack);
}

#else

__attribute__((used)) void __wrap_luaT_tryconcatTM(lua_State *L) {
    __real_luaT_tryconcatTM(L);
}

#endif
