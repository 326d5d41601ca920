#include "api/blocking_lua.h"

#include "api/app_lua.h"
#include "api/blocking_state.h"
#include "base/check.h"
#include "base/err.h"
#include "isolate/closing.h"
#include "isolate/errand.h"
#include "isolate/isolate.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { MAGIC = 0x626c6f63 };

static const char PARCEL[] = "atoll.blocking.parcel";

struct call {
    struct errand errand;
    uint32_t magic;
    struct blocking_call call;
    struct buf in, out; /* packed */
    struct buf problem;
    int err, code;
};

/* ---- parcels ---- */

static int parcel_gc(lua_State *L) {
    buf_reset(luaL_checkudata(L, 1, PARCEL));
    return 0;
}

/* pack(value, name) -> parcel; raises naming what cannot be sent. */
static int pack(lua_State *L) {
    luaL_checkany(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    buf_init(b);
    luaL_setmetatable(L, PARCEL);
    pack_write_named(L, 1, name, b);
    return 1;
}

/* ---- in the pool ---- */

/* deliver(outcome, spent): what the call comes back with; may be tried again. */
static int deliver(lua_State *L) {
    struct call *c = lua_touserdata(L, lua_upvalueindex(1));
    buf_reset(&c->out);
    c->call.spent = lua_toboolean(L, 2);
    pack_write_named(L, 1, "result", &c->out);
    return 0;
}

static int perform(lua_State *L) {
    struct call *c = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "atoll.blocking");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "perform");
    pack_read(L, buf_span(&c->in));
    buf_reset(&c->in);
    lua_pushlightuserdata(L, c);
    lua_pushcclosure(L, deliver, 1);
    lua_call(L, 2, 0);
    return 0;
}

static void run(struct errand *e, struct pool_place *place) {
    struct call *c = LIST_OF(e, struct call, errand);
    c->err = blocking_state_call(place, &e->job, &c->call, &c->code, &c->problem);
}

static void drop(struct errand *e) {
    struct call *c = LIST_OF(e, struct call, errand);
    MAGIC_CHECK(c, MAGIC);
    blocking_site_unref(c->call.site);
    buf_reset(&c->in);
    buf_reset(&c->out);
    buf_reset(&c->problem);
    c->magic = 0;
    free(c);
}

/* ---- in the isolate ---- */

static int failure(lua_State *L, int err, const char *text) {
    luaL_pushfail(L);
    lua_pushstring(L, text ? text : err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

/* The handle is on top. The outcome as a table, what os.exit was called with,
 * or nil, message, code. */
static int came_back(lua_State *L, int status, lua_KContext err) {
    (void)status;
    struct errand *e = errand_at(L, -1);
    if (!e) return failure(L, (int)err, NULL);
    struct call *c = LIST_OF(e, struct call, errand);
    if (c->code >= 0) {
        lua_pushinteger(L, c->code);
        return 1;
    }
    if (c->err == ERR_MEMORY) return failure(L, ERR_MEMORY, NULL);
    if (c->err) {
        lua_pushlstring(L, buf_len(&c->problem) ? buf_data(&c->problem) : "",
                        buf_len(&c->problem));
        return failure(L, c->err, lua_tostring(L, -1));
    }
    return pack_read(L, buf_span(&c->out));
}

/* run(parcel): the parcel is used up. */
static int send_off(lua_State *L) {
    struct buf *parcel = luaL_checkudata(L, 1, PARCEL);
    struct generation *g = generation_of(L);
    struct blocking_site *site = app_of(L)->options->blocking;
    lua_settop(L, 1);
    struct errand **handle = errand_push(L);
    struct call *c = calloc(1, sizeof *c);
    if (!c) return failure(L, ERR_MEMORY, NULL);
    c->errand.run = run;
    c->errand.drop = drop;
    c->magic = MAGIC;
    c->call = (struct blocking_call){.site = blocking_site_ref(site),
                                     .number = g->number,
                                     .function = perform,
                                     .data = c};
    c->in = *parcel;
    buf_init(parcel);
    *handle = &c->errand;
    blocking_site_pool(site, g->isolate->blocking);
    return errand_run(L, g->isolate->blocking, came_back);
}

/* Whether there is a pool to go to. */
static int waits(lua_State *L) {
    const struct generation *g = generation_of(L);
    lua_pushboolean(L, g->isolate && app_of(L)->options->blocking);
    return 1;
}

/* ---- functions as code ---- */

static int add_code(lua_State *L, const void *at, size_t n, void *code) {
    (void)L;
    return buf_append(code, at, n);
}

/* dump(fn) -> code with names and lines; nil for a C function. */
static int dump(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (lua_iscfunction(L, 1)) return 0;
    struct buf *code = lua_newuserdatauv(L, sizeof *code, 0);
    buf_init(code);
    luaL_setmetatable(L, PARCEL);
    lua_toclose(L, -1);
    lua_pushvalue(L, 1);
    if (lua_dump(L, add_code, code, false) != 0) return budget_raise(L);
    lua_pushlstring(L, buf_data(code), buf_len(code));
    return 1;
}

/* revive(code): the one place where bytecode is loaded, which `dump` has just made. */
static int revive(lua_State *L) {
    size_t n;
    const char *code = luaL_checklstring(L, 1, &n);
    if (luaL_loadbufferx(L, code, n, "=carried", "b") != LUA_OK) return lua_error(L);
    return 1;
}

static const luaL_Reg functions[] = {
    {"dump", dump},     {"pack", pack},   {"revive", revive},
    {"send", send_off}, {"waits", waits}, {NULL, NULL},
};

int luaopen_atoll_core_blocking(lua_State *L) {
    closing_kind(L, PARCEL, parcel_gc);
    luaL_newlib(L, functions);
    return 1;
}
