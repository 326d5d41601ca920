#include "api/listening.h"

#include "isolate/cargo.h"

#include <lauxlib.h>
#include <stdlib.h>

static const char NAME[] = "atoll.listener.reference";

struct listening *listening_new(void) {
    struct listening *l = calloc(1, sizeof *l);
    if (l) atomic_init(&l->references, 1);
    return l;
}

struct listening *listening_ref(struct listening *l) {
    atomic_fetch_add_explicit(&l->references, 1, memory_order_relaxed);
    return l;
}

void listening_unref(struct listening *l) {
    if (!l || atomic_fetch_sub_explicit(&l->references, 1, memory_order_acq_rel) != 1)
        return;
    if (l->clone) clone_close(l->clone);
    tls_ctx_unref(l->tls);
    free(l);
}

int listening_again(const struct listening *l, const void *holder,
                    struct listening **out) {
    struct listening *again = listening_new();
    if (!again) return -ENOMEM;
    int err = clone_again(l->clone, holder, &again->clone);
    if (err) {
        free(again);
        return err;
    }
    again->options = l->options;
    if (l->tls) again->tls = tls_ctx_ref(l->tls);
    *out = again;
    return 0;
}

/* ---- references ---- */

static const char *refuse(void *userdata) {
    return *(struct listening **)userdata ? NULL : "the reference is closed";
}

static void *copy(void *core) {
    return listening_ref(core);
}

static void *take(void *userdata) {
    return copy(*(struct listening **)userdata);
}

static void make(lua_State *L, void *core) {
    (void)core;
    luaopen_atoll_reference(L);
    reference_push(L);
}

static void put(void *userdata, void *core, struct loop *l) {
    struct listening **r = userdata;
    (void)l;
    if (*r)
        listening_unref(core);
    else
        *r = core;
}

static void drop(void *core) {
    listening_unref(core);
}

static const struct cargo_kind kind = {.name = "reference to a listener",
                                       .refuse = refuse,
                                       .take = take,
                                       .make = make,
                                       .put = put,
                                       .drop = drop,
                                       .copy = copy};

struct listening **reference_push(lua_State *L) {
    struct listening **r = lua_newuserdatauv(L, sizeof(struct listening *), 0);
    *r = NULL;
    luaL_setmetatable(L, NAME);
    return r;
}

struct listening *reference_check(lua_State *L, int index) {
    return *(struct listening **)luaL_checkudata(L, index, NAME);
}

static int reference_close(lua_State *L) {
    struct listening **r = luaL_checkudata(L, 1, NAME);
    listening_unref(*r);
    *r = NULL;
    lua_pushboolean(L, 1);
    return 1;
}

static int reference_name(lua_State *L) {
    const struct listening *l = reference_check(L, 1);
    char text[ADDR_TEXT];
    if (!l) return socket_failure(L, ERR_CLOSED);
    lua_pushstring(L, addr_text(clone_addr(l->clone), text));
    return 1;
}

static int reference_text(lua_State *L) {
    const struct listening *l = reference_check(L, 1);
    char text[ADDR_TEXT];
    lua_pushfstring(L, "reference to a listener (%s)",
                    l ? addr_text(clone_addr(l->clone), text) : "closed");
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", reference_close}, {"name", reference_name}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", reference_close},
                                       {"__gc", reference_close},
                                       {"__tostring", reference_text},
                                       {NULL, NULL}};

int luaopen_atoll_reference(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        cargo_mark(L, &kind);
    }
    lua_pop(L, 1);
    return 0;
}
