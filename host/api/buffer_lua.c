#include "api/buffer_lua.h"

#include "isolate/cargo.h"
#include "isolate/generation.h"

#include <lauxlib.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "atoll.buffer";

struct block {
    atomic_uint references;
    struct alloc_tally *tally; /* of the state that has made it */
    size_t len;
    char bytes[];
};

struct buffer {
    struct block *block; /* NULL: it was collected, or is about to be filled */
};

static void unref(struct block *b) {
    if (!b || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    alloc_tally_discharge(b->tally, b->len);
    free(b);
}

static struct buffer *new_handle(lua_State *L) {
    struct buffer *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->block = NULL;
    luaL_setmetatable(L, NAME);
    return b;
}

static struct span bytes_of(const struct buffer *b) {
    return b->block ? span_of(b->block->bytes, b->block->len) : SPAN("");
}

bool buffer_bytes(lua_State *L, int index, struct span *bytes) {
    const struct buffer *b;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: bytes->at = lua_tolstring(L, index, &bytes->len); return true;
    case LUA_TUSERDATA:
        b = luaL_testudata(L, index, NAME);
        if (b) *bytes = bytes_of(b);
        return b;
    default: return false;
    }
}

struct span buffer_check_bytes(lua_State *L, int index) {
    struct span bytes;
    if (!buffer_bytes(L, index, &bytes))
        luaL_typeerror(L, index, "string, number or buffer");
    return bytes;
}

static struct span check(lua_State *L) {
    return bytes_of(luaL_checkudata(L, 1, NAME));
}

/* buffer(...): strings, numbers and buffers, one behind the other. */
static int make(lua_State *L) {
    int n = lua_gettop(L);
    size_t len = 0;
    for (int i = 1; i <= n; i++) len += buffer_check_bytes(L, i).len;
    struct buffer *b = new_handle(L);
    struct alloc_tally *tally = budget_charge_tally(L, len);
    struct block *block = b->block = malloc(sizeof *block + len);
    if (!block) {
        alloc_tally_discharge(tally, len);
        return budget_raise(L);
    }
    atomic_init(&block->references, 1);
    block->tally = tally;
    block->len = len;
    char *to = block->bytes;
    for (int i = 1; i <= n; i++) {
        struct span piece = buffer_check_bytes(L, i);
        if (piece.len) memcpy(to, piece.at, piece.len);
        to += piece.len;
    }
    return 1;
}

static int length(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L).len);
    return 1;
}

/* As string.sub. */
static int sub(lua_State *L) {
    struct span s = check(L);
    lua_Integer len = (lua_Integer)s.len;
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_optinteger(L, 3, -1);
    if (from < 0) from = from + len + 1 < 1 ? 1 : from + len + 1;
    if (from == 0) from = 1;
    if (to > len) to = len;
    if (to < 0) to = to + len + 1;
    if (from > to)
        lua_pushliteral(L, "");
    else
        lua_pushlstring(L, s.at + from - 1, (size_t)(to - from + 1));
    return 1;
}

static int text(lua_State *L) {
    struct span s = check(L);
    lua_pushlstring(L, s.at, s.len);
    return 1;
}

static int equal(lua_State *L) {
    const struct buffer *a = luaL_testudata(L, 1, NAME),
                        *b = luaL_testudata(L, 2, NAME);
    lua_pushboolean(L, a && b && span_eq(bytes_of(a), bytes_of(b)));
    return 1;
}

static int concat(lua_State *L) {
    struct span a = buffer_check_bytes(L, 1), b = buffer_check_bytes(L, 2);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    luaL_addlstring(&out, a.at, a.len);
    luaL_addlstring(&out, b.at, b.len);
    luaL_pushresult(&out);
    return 1;
}

static int gc(lua_State *L) {
    struct buffer *b = luaL_checkudata(L, 1, NAME);
    unref(b->block);
    b->block = NULL;
    return 0;
}

/* ---- in messages ---- */

static const char *refuse(void *userdata) {
    return ((struct buffer *)userdata)->block ? NULL : "the buffer was collected";
}

static void *share(void *core) {
    struct block *b = core;
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

static void *take(void *userdata) {
    return share(((struct buffer *)userdata)->block);
}

static void make_handle(lua_State *L, void *core) {
    luaL_requiref(L, "atoll.core.buffer", luaopen_atoll_core_buffer, 0);
    lua_pop(L, 1);
    budget_tell(L, ((struct block *)core)->len);
    new_handle(L);
}

static void put(void *userdata, void *core, struct loop *l) {
    struct buffer *b = userdata;
    (void)l;
    unref(b->block); /* it did not go: the same */
    b->block = core;
}

static void drop(void *core) {
    unref(core);
}

static const struct cargo_kind kind = {.name = "buffer",
                                       .refuse = refuse,
                                       .take = take,
                                       .make = make_handle,
                                       .put = put,
                                       .drop = drop,
                                       .copy = share};

int luaopen_atoll_core_buffer(lua_State *L) {
    static const luaL_Reg methods[] = {{"sub", sub}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__concat", concat}, {"__eq", equal},
                                           {"__gc", gc},         {"__len", length},
                                           {"__tostring", text}, {NULL, NULL}};
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
        cargo_mark(L, &kind);
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, make);
    return 1;
}
