#include "isolate/gate.h"

#include "base/err.h"
#include "isolate/generation.h"

#include <lauxlib.h>
#include <string.h>

enum { TRACEBACK_MAX = 16 * 1024 };

/* Pushes the text of the error value at index. */
static void push_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
    } else if (lua_type(L, index) == LUA_TNUMBER ||
               luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_settop(L, index);
        luaL_tolstring(L, index, NULL);
    } else {
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
    }
}

/* The message handler: the text with the traceback in place of the value. */
static int describe(lua_State *L) {
    push_text(L, 1);
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

static int code_of(int status) {
    return status == LUA_ERRMEM ? ERR_MEMORY : ERR_LUA;
}

/* Of a traceback only the program's own frames: those of the host's Lua half, and of
 * the C functions that raised or began it all, tell its author nothing. */
static bool is_inner(const char *frame, size_t n) {
    static const char *const inner[] = {"\tlua/atoll/", "\t[C]: in ?",
                                        "\t[C]: in function 'error'"};
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        size_t len = strlen(inner[i]);
        if (n >= len && memcmp(frame, inner[i], len) == 0) return true;
    }
    return false;
}

/* What was raised. Of memory that ran out Lua says no more than that. */
static void append_message(const struct generation *g, struct buf *error,
                           struct span text) {
    char told[BUDGET_TEXT];
    if (span_eq(text, SPAN("not enough memory")) && g->budget.spent)
        text = span_of(told, budget_text(g, told));
    buf_append(error, text.at, text.len);
}

static void append_trimmed(const struct generation *g, struct buf *error,
                           const char *text, size_t n) {
    static const char title[] = "\nstack traceback:";
    const char *end = text + n, *trace = memmem(text, n, title, sizeof title - 1);
    bool titled = false;
    append_message(g, error, span_of(text, trace ? (size_t)(trace - text) : n));
    while (trace && trace < end) {
        const char *next = memchr(trace + 1, '\n', (size_t)(end - trace - 1));
        size_t len = (size_t)((next ? next : end) - trace);
        bool is_title = len == sizeof title - 1 && memcmp(trace, title, len) == 0;
        if (!is_title && !is_inner(trace + 1, len - 1)) {
            if (!titled) buf_append(error, title, sizeof title - 1);
            titled = true;
            buf_append(error, trace, len);
        }
        trace = next;
    }
}

static void append_top(lua_State *L, struct buf *error) {
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    if (!text) {
        text = "(an error without a text)";
        n = strlen(text);
    }
    if (n > TRACEBACK_MAX) n = TRACEBACK_MAX;
    append_trimmed(generation_of(L), error, text,
                   n); /* without memory the text is lost, the code not */
}

int gate_call(lua_State *L, int arguments, int results, struct buf *error) {
    struct generation *g = generation_of(L);
    const char *base = g->stack_base;
    if (!base) g->stack_base = __builtin_frame_address(0);
    int status = LUA_ERRMEM, handler = lua_gettop(L) - arguments;
    if (lua_checkstack(L, 2)) {
        lua_pushcfunction(L, describe);
        lua_insert(L, handler);
        status = lua_pcall(L, arguments, results, handler);
        lua_remove(L, handler);
    } else {
        lua_settop(L, handler - 1);
        if (error) buf_printf(error, "stack overflow");
        return ERR_MEMORY;
    }
    g->stack_base = base;
    if (status == LUA_OK) return 0;
    if (status == LUA_ERRMEM) budget_noticed(L);
    if (error) append_top(L, error);
    lua_pop(L, 1);
    return code_of(status);
}

struct description {
    lua_State *from;
    struct buf *error;
};

/* Called with the value and a struct description. */
static int describe_value(lua_State *L) {
    const struct description *d = lua_touserdata(L, 2);
    lua_settop(L, 1);
    push_text(L, 1);
    if (d->from) luaL_traceback(L, d->from, lua_tostring(L, -1), 0);
    append_top(L, d->error);
    return 0;
}

void gate_describe(lua_State *L, int index, lua_State *from, struct buf *error) {
    lua_State *main = generation_of(L)->L; /* L may be dead */
    struct description d = {from, error};
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 1) || !lua_checkstack(main, 4)) {
        buf_printf(error, "not enough memory");
        return;
    }
    lua_pushcfunction(main, describe_value);
    lua_pushvalue(L, index);
    if (L != main) lua_xmove(L, main, 1);
    lua_pushlightuserdata(main, &d);
    int status = lua_pcall(main, 2, 0, 0);
    if (status == LUA_OK) return;
    if (status == LUA_ERRMEM)
        buf_printf(error, "not enough memory");
    else
        buf_printf(error, "(the error's __tostring failed)");
    lua_pop(main, 1);
}
