#include "api/desk.h"

#include "base/err.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <string.h>

static const char DESK[] = "atoll.port.desk";

enum { KEEP = 64 * 1024 }; /* of the packing buffer */

int desk_failed(lua_State *L, int err) {
    luaL_pushfail(L);
    lua_pushstring(L, err == -ETIMEDOUT ? "timed out" : err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

static void forget_cargo(lua_State *L, int list) {
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, list); i > 0; i--) {
        lua_pushnil(L);
        lua_rawseti(L, list, i);
    }
}

struct message *desk_pack(lua_State *L, struct desk *d, int index, int list) {
    unsigned cargo = 0;
    buf_consume(&d->bytes, buf_len(&d->bytes));
    forget_cargo(L, list);
    pack_write_cargo(L, index, &d->bytes, list, &cargo);
    struct message *m = message_new(buf_len(&d->bytes), cargo);
    if (!m) luaL_error(L, "not enough memory");
    if (m->len) memcpy(m->bytes, buf_data(&d->bytes), m->len);
    if (m->len > KEEP) buf_reset(&d->bytes);
    return m;
}

void desk_check_cargo(lua_State *L, int list) {
    int count = (int)lua_rawlen(L, list);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        cargo_kind_of(L, -1)->check(L, lua_gettop(L));
        lua_pop(L, 1);
    }
}

static void *handle_at(lua_State *L, int list, unsigned i,
                       const struct cargo_kind **kind) {
    lua_rawgeti(L, list, (lua_Integer)i);
    *kind = cargo_kind_of(L, -1);
    void *handle = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return handle;
}

static void load(lua_State *L, struct message *m, int list) {
    const struct cargo_kind *kind;
    unsigned count = list ? (unsigned)lua_rawlen(L, list) : 0;
    for (unsigned i = 0; i < count; i++) {
        void *handle = handle_at(L, list, i + 1, &kind);
        m->cargo[i] = (struct cargo){kind, kind->take(handle)};
    }
    m->cargo_count = count;
}

static void unload(lua_State *L, struct message *m, int list) {
    const struct cargo_kind *kind;
    for (unsigned i = 0; i < m->cargo_count; i++) {
        void *handle = handle_at(L, list, i + 1, &kind);
        kind->put_back(handle, m->cargo[i].core);
    }
    m->cargo_count = 0;
}

int desk_put(lua_State *L, struct port *p, struct message *m, int list,
             struct port_wait *w) {
    load(L, m, list);
    int err = port_put(p, m, w);
    if (err) unload(L, m, list);
    return err;
}

int desk_put_answer(lua_State *L, struct port *p, struct message *m, int list) {
    load(L, m, list);
    int err = port_put_answer(p, m);
    if (err) unload(L, m, list);
    return err;
}

void desk_unpack(lua_State *L, struct desk *d, struct message *m) {
    message_free(d->arrived);
    d->arrived = m;
    pack_read_cargo(L, span_of(m->bytes, m->len), m->cargo, m->cargo_count);
}

static int desk_gc(lua_State *L) {
    struct desk *d = luaL_checkudata(L, 1, DESK);
    buf_reset(&d->bytes);
    message_free(d->arrived);
    d->arrived = NULL;
    struct link *first;
    while ((first = list_first(&d->calls))) list_unlink(first);
    if (!d->answers) return 0;
    port_close(d->answers);
    port_unref(d->answers);
    d->answers = NULL;
    return 0;
}

void desk_push_list(lua_State *L) {
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
}

void desk_push(lua_State *L) {
    struct desk *d = lua_newuserdatauv(L, sizeof *d, 1);
    *d = (struct desk){0};
    list_init(&d->calls);
    if (luaL_newmetatable(L, DESK)) {
        lua_pushcfunction(L, desk_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
}
