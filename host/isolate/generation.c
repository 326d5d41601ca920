#include "isolate/generation.h"

#include "base/check.h"
#include "base/log.h"
#include "isolate/errand.h"
#include "isolate/gate.h"
#include "isolate/hooks.h"
#include "isolate/isolate.h"
#include "isolate/scope.h"
#include "isolate/shell.h"
#include "isolate/textlib.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* Of the thread's stack (isolate.c), what may be used before a coroutine is closed from
 * another: then 200 levels of C calls may follow (LUAI_MAXCCALLS), each at most some
 * 2.5 KiB (string.gsub with its buffer). */
enum { MAGIC = 0x67656e65, STACK_DEEP = 384 * 1024 };

enum { FIRST_CYCLE = 128 }; /* KiB that are allocated before the collector begins */

bool generation_stack_is_deep(const struct generation *g) {
    const char *here = __builtin_frame_address(0);
    return g->stack_base && g->stack_base - here > STACK_DEEP;
}

/* Lua's last words: only an error outside of any protected call comes here. */
static int panic(lua_State *L) {
    const char *text =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error value";
    log_error("Lua error outside of a protected call: %s", text);
    return 0; /* Lua aborts */
}

/* warn(): pieces of one message, and the control messages of the standard library. */
static void warning(void *data, const char *text, int to_be_continued) {
    struct generation *g = data;
    if (!to_be_continued && buf_len(&g->warning) == 0 && *text == '@') {
        if (strcmp(text, "@on") == 0) g->warns = true;
        if (strcmp(text, "@off") == 0) g->warns = false;
        return;
    }
    if (!g->warns) return;
    buf_append(&g->warning, text, strlen(text));
    if (to_be_continued) return;
    log_warn("%.*s", (int)buf_len(&g->warning), buf_data(&g->warning));
    buf_reset(&g->warning);
}

static int open_state(lua_State *L) {
    struct generation *g = lua_touserdata(L, 1);
    lua_settop(L, 0);
    luaL_openlibs(L);
    luaopen_atoll_coroutine(L);
    lua_pushvalue(L, -1);
    lua_setglobal(L, LUA_COLIBNAME);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_insert(L, -2);
    lua_setfield(L, -2, LUA_COLIBNAME);
    luaopen_atoll_hooks(L);
    luaopen_atoll_text(L);
    luaopen_atoll_shell(L);
    luaopen_atoll_sched(L);
    luaopen_atoll_scope(L);
    luaopen_atoll_errand(L);
    lua_getglobal(L, "pcall");
    generation_lets_through(g, lua_tocfunction(L, -1));
    lua_getglobal(L, "xpcall");
    generation_lets_through(g, lua_tocfunction(L, -1));
    lua_settop(L, 0);
    lua_gc(L, LUA_GCRESTART);
    if (g->plan->generational)
        lua_gc(L, LUA_GCGEN, 0, 0);
    else
        lua_gc(L, LUA_GCINC, 0, 0, 0);
    lua_gc(L, LUA_GCSTEP, -FIRST_CYCLE); /* what is loaded now is going to stay */
    if (g->plan->open) g->plan->open(L, g, g->plan->data);
    return 0;
}

void generation_lets_through(struct generation *g, lua_CFunction f) {
    for (int i = 0; i < GEN_PASSING; i++) {
        if (g->passing[i] && g->passing[i] != f) continue;
        g->passing[i] = f;
        return;
    }
}

/* That which this thread is building. */
static _Thread_local struct generation *volatile building;

/* Raises at whatever runs next, until nothing does. */
static void halt(lua_State *L, lua_Debug *ar) {
    struct generation *g = generation_of(L);
    if (building != g) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    lua_getinfo(L, "Sl", ar);
    lua_pushfstring(L, "%s:%d: load_timeout: it has been loading for %f s",
                    ar->short_src, ar->currentline,
                    (lua_Number)g->plan->load_timeout / (lua_Number)CLOCK_SECOND);
    preempt_unmask(L);
    luaD_throw(L, LUA_ERRRUN);
}

void generation_interrupt(void) {
    struct generation *g = building;
    if (!g) return;
    g->halt = halt;
    preempt_unmask(g->running);
    lua_sethook(g->running, halt, LUA_MASKCOUNT, 1);
}

struct generation *generation_new(const struct generation_plan *plan, uint64_t number,
                                  struct buf *error) {
    struct generation *g = malloc(sizeof *g);
    if (!g) goto fail;
    *g = (struct generation){.magic = MAGIC, .number = number, .plan = plan};
    g->outside.limited = plan->stuck_timeout != 0;
    CHECK(((uintptr_t)g & CORO_MARKS) == 0);
    alloc_init(&g->alloc);
    budget_open(g, plan->memory);
    alloc_fail(&g->alloc, plan->fault);
    list_init(&g->fibers);
    list_init(&g->holds);
    list_init(&g->spare);
    list_init(&g->member);
    g->L = lua_newstate(alloc_lua, &g->alloc);
    if (!g->L) goto fail;
    *coro_extra(g->L) = (uintptr_t)g; /* each new coroutine gets a copy */
    lua_atpanic(g->L, panic);
    lua_setwarnf(g->L, warning, g);
    lua_gc(g->L, LUA_GCSTOP);
    lua_pushcfunction(g->L, open_state);
    lua_pushlightuserdata(g->L, g);
    g->running = g->L;
    building = g;
    int err = gate_call(g->L, 1, 0, error);
    building = NULL;
    if (err == 0 && g->halt) lua_sethook(g->L, NULL, 0, 0);
    g->halt = NULL;
    if (err == 0) {
        budget_loaded(g);
        return g;
    }
    bool opened = g->app != NULL;
    generation_free(g);
    if (!opened && plan->unopened) plan->unopened(plan->data);
    return NULL;
fail:
    if (error) {
        char text[BUDGET_TEXT] = "not enough memory";
        if (g && g->budget.wanted) budget_text(g, text);
        buf_printf(error, "%s", text);
    }
    if (g) alloc_done(&g->alloc);
    free(g);
    if (plan->unopened) plan->unopened(plan->data);
    return NULL;
}

unsigned generation_kill(struct generation *g) {
    unsigned count = 0;
    struct link *first;
    while ((first = list_first(&g->fibers))) {
        fiber_kill(LIST_OF(first, struct fiber, member));
        count++;
    }
    return count;
}

void generation_free(struct generation *g) {
    MAGIC_CHECK(g, MAGIC);
    g->state = GEN_CLOSING; /* no more fibers */
    g->stack_base = __builtin_frame_address(0);
    generation_kill(g);
    if (g->app_free) g->app_free(g);
    struct link *first;
    while ((first = list_first(&g->holds))) {
        struct generation_hold *h = LIST_OF(first, struct generation_hold, link);
        list_unlink(first);
        h->generation = NULL;
        h->ended(h);
    }
    while ((first = list_first(&g->spare))) {
        list_unlink(first);
        fiber_discard(LIST_OF(first, struct fiber, member));
    }
    outside_close(g);
    budget_close(g);
    alloc_done(&g->alloc);
    list_unlink(&g->member);
    buf_reset(&g->warning);
    g->magic = 0;
    free(g);
}

void generation_hold(struct generation *g, struct generation_hold *h) {
    h->generation = g;
    list_append(&g->holds, &h->link);
}

void generation_let_go(struct generation_hold *h) {
    struct generation *g = h->generation;
    list_unlink(&h->link);
    h->generation = NULL;
    isolate_drained(g);
}

size_t generation_bytes(struct generation *g) {
    alloc_sync(&g->alloc);
    return g->alloc.used;
}
