#include "api/desk.h"

#include "base/err.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <string.h>

static const char DESK[] = "atoll.port.desk", BYTES[] = "atoll.port.bytes";

enum { KEEP = 64 * 1024 }; /* of the packing buffer */

/* User values of a desk: the list that serves for what is put at once; the packing
 * buffer, when nobody uses it. */
enum { LIST = 1, BUFFER = 2, USER_VALUES = 2 };

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

static void set_buffer(lua_State *L) {
    lua_setiuservalue(L, lua_upvalueindex(1), BUFFER);
}

/* Pushes a buffer that nobody else has until it is given back. */
static struct buf *take_buffer(lua_State *L) {
    if (lua_getiuservalue(L, lua_upvalueindex(1), BUFFER) == LUA_TNIL) {
        lua_pop(L, 1);
        buf_init(lua_newuserdatauv(L, sizeof(struct buf), 0));
        luaL_setmetatable(L, BYTES);
    }
    struct buf *b = lua_touserdata(L, -1);
    lua_pushnil(L);
    set_buffer(L);
    buf_consume(b, buf_len(b));
    return b;
}

static int buffer_gc(lua_State *L) {
    buf_reset(luaL_checkudata(L, 1, BYTES));
    return 0;
}

struct message *desk_pack(lua_State *L, int index, int list) {
    unsigned cargo = 0;
    struct buf *bytes = take_buffer(L);
    forget_cargo(L, list);
    pack_write_cargo(L, index, bytes, list, &cargo);
    struct message *m = message_new(buf_len(bytes), cargo);
    if (!m) luaL_error(L, "not enough memory");
    if (m->len) memcpy(m->bytes, buf_data(bytes), m->len);
    if (m->len > KEEP) buf_reset(bytes);
    set_buffer(L);
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

void desk_take_back(struct desk *d, struct message *m) {
    struct message **at = &d->arrived;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
}

void desk_unpack(lua_State *L, struct desk *d, struct message *m) {
    m->next = d->arrived;
    d->arrived = m;
    pack_read_cargo(L, span_of(m->bytes, m->len), m->cargo, m->cargo_count);
}

static int desk_gc(lua_State *L) {
    struct desk *d = luaL_checkudata(L, 1, DESK);
    struct message *m;
    while ((m = d->arrived)) {
        d->arrived = m->next;
        message_free(m);
    }
    struct link *first;
    while ((first = list_first(&d->calls))) list_unlink(first);
    if (!d->answers) return 0;
    port_close(d->answers);
    port_unref(d->answers);
    d->answers = NULL;
    return 0;
}

void desk_push_list(lua_State *L) {
    lua_getiuservalue(L, lua_upvalueindex(1), LIST);
}

void desk_push(lua_State *L) {
    if (luaL_newmetatable(L, BYTES)) {
        lua_pushcfunction(L, buffer_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    struct desk *d = lua_newuserdatauv(L, sizeof *d, USER_VALUES);
    *d = (struct desk){0};
    list_init(&d->calls);
    if (luaL_newmetatable(L, DESK)) {
        lua_pushcfunction(L, desk_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setiuservalue(L, -2, LIST);
}
