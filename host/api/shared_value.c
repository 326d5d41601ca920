#include "api/shared_value.h"

#include "api/timer_lua.h"
#include "base/clock.h"
#include "base/err.h"
#include "isolate/pack.h"

#include <lauxlib.h>

const char SHARED_HANDLE[] = "atoll.shared";
static const char COPY[] = "atoll.shared.copy", BYTES[] = "atoll.shared.bytes";

/* User values of the spares: a buffer to pack into and a place to read to, when nobody
 * uses them; in the middle of either a finalizer may want another. */
enum { SPARE_BYTES = 1, SPARE_COPY, USER_VALUES = 2 };

enum { KEEP = 64 * 1024 }; /* of a buffer */

/* Pushes it, or nothing. */
static void *take_spare(lua_State *L, int which) {
    lua_getiuservalue(L, lua_upvalueindex(SHARED_SPARES), which);
    void *spare = lua_touserdata(L, -1);
    if (!spare) {
        lua_pop(L, 1);
        return NULL;
    }
    lua_pushnil(L);
    lua_setiuservalue(L, lua_upvalueindex(SHARED_SPARES), which);
    return spare;
}

/* Pops it. */
static void give_back(lua_State *L, int which) {
    lua_setiuservalue(L, lua_upvalueindex(SHARED_SPARES), which);
}

struct dict *shared_check(lua_State *L) {
    struct shared_handle *h = lua_touserdata(L, 1);
    if (h && lua_getmetatable(L, 1)) {
        bool is = lua_rawequal(L, -1, lua_upvalueindex(SHARED_METATABLE));
        lua_pop(L, 1);
        if (is) return h->dict;
    }
    luaL_checkudata(L, 1, SHARED_HANDLE); /* raises */
    return NULL;
}

/* A float with an integer's value is that integer, as in a table. */
struct dict_key shared_check_key(lua_State *L) {
    struct dict_key k = {0};
    int is_integer = 0;
    switch (lua_type(L, 2)) {
    case LUA_TSTRING: k.text.at = lua_tolstring(L, 2, &k.text.len); break;
    case LUA_TNUMBER:
        k.integer = lua_tointegerx(L, 2, &is_integer);
        k.is_integer = is_integer;
        luaL_argcheck(L, is_integer, 2, "string or integer expected");
        break;
    default: luaL_typeerror(L, 2, "string or integer");
    }
    return k;
}

int64_t shared_opt_end(lua_State *L, int argument, int64_t otherwise) {
    if (lua_isnoneornil(L, argument)) return otherwise;
    int64_t end = timer_check_deadline(L, argument);
    luaL_argcheck(L, lua_tonumber(L, argument) > 0, argument,
                  "seconds must be more than 0 (nil: without end)");
    return end == INT64_MAX ? DICT_NEVER : end;
}

static int bytes_gc(lua_State *L) {
    buf_reset(luaL_checkudata(L, 1, BYTES));
    return 0;
}

struct buf *shared_push_bytes(lua_State *L) {
    struct buf *b = take_spare(L, SPARE_BYTES);
    if (b) return b;
    b = lua_newuserdatauv(L, sizeof *b, 0);
    buf_init(b);
    luaL_setmetatable(L, BYTES);
    return b;
}

struct dict_value shared_check_value(lua_State *L, int argument, struct buf **packed) {
    struct dict_value v = {.kind = DICT_FALSE};
    size_t len;
    switch (lua_type(L, argument)) {
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, argument)) v.kind = DICT_TRUE;
        return v;
    case LUA_TNUMBER:
        if (lua_isinteger(L, argument)) {
            v.kind = DICT_INTEGER;
            v.integer = lua_tointeger(L, argument);
        } else {
            v.kind = DICT_REAL;
            v.real = lua_tonumber(L, argument);
        }
        return v;
    case LUA_TSTRING:
        v.kind = DICT_STRING;
        v.bytes.at = lua_tolstring(L, argument, &len);
        v.bytes.len = len;
        return v;
    default:
        luaL_checkany(L, argument);
        *packed = shared_push_bytes(L);
        pack_write(L, argument, *packed);
        v.kind = DICT_PACKED;
        v.bytes = buf_span(*packed);
        return v;
    }
}

void shared_drop_value(lua_State *L, struct buf *packed) {
    if (!packed) return;
    if (buf_len(packed) > KEEP) buf_reset(packed);
    buf_consume(packed, buf_len(packed));
    give_back(L, SPARE_BYTES);
}

struct dict_value shared_check_number(lua_State *L, int argument, lua_Integer usual) {
    struct dict_value v = {.kind = DICT_INTEGER};
    v.integer = usual;
    if (lua_isnoneornil(L, argument)) return v;
    struct buf *packed = NULL;
    luaL_checktype(L, argument, LUA_TNUMBER);
    return shared_check_value(L, argument, &packed);
}

/* ---- results ---- */

int shared_failed(lua_State *L, int err, const char *wrong) {
    const char *text = err == -ENOENT          ? "not found"
                       : err == -EEXIST        ? "exists"
                       : err == -ESTALE        ? "changed meanwhile"
                       : err == -ENOMEM        ? "no memory"
                       : err == -EOVERFLOW     ? "overflow"
                       : err == ERR_WRONG_TYPE ? wrong
                       : err == ERR_TOO_LARGE  ? "the key is too long"
                                               : err_text(err);
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, err_name(err));
    return 3;
}

int shared_done(lua_State *L, int err, const char *wrong) {
    if (err) return shared_failed(L, err, wrong);
    lua_pushboolean(L, true);
    return 1;
}

static int copy_gc(lua_State *L) {
    dict_release(luaL_checkudata(L, 1, COPY));
    return 0;
}

void shared_push_value(lua_State *L, const struct dict_value *v) {
    switch (v->kind) {
    case DICT_FALSE: lua_pushboolean(L, false); break;
    case DICT_TRUE: lua_pushboolean(L, true); break;
    case DICT_INTEGER: lua_pushinteger(L, v->integer); break;
    case DICT_REAL: lua_pushnumber(L, v->real); break;
    case DICT_STRING: lua_pushlstring(L, v->bytes.at, v->bytes.len); break;
    case DICT_PACKED: pack_read(L, v->bytes); break;
    case DICT_LIST: lua_pushnil(L); break; /* dict_get does not give any */
    }
}

static struct dict_copy *push_copy(lua_State *L) {
    struct dict_copy *c = take_spare(L, SPARE_COPY);
    if (!c) c = lua_newuserdatauv(L, sizeof *c, 0);
    c->version = 0;
    c->held = NULL;
    c->may_hold = true;
    luaL_setmetatable(L, COPY);
    return c;
}

/* A large value stays where it is, held by a userdata that was made before. */
int shared_read(lua_State *L, shared_read_fn *read, uint64_t *version) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    if (k.text.len > DICT_KEY_MAX) return ERR_TOO_LARGE;
    struct dict_copy copy;
    copy.may_hold = false;
    copy.version = 0;
    copy.held = NULL;
    int err = read(d, &k, clock_ns(), &copy);
    *version = copy.version;
    if (err == 0) shared_push_value(L, &copy.value);
    if (err != ERR_TOO_LARGE) return err;
    struct dict_copy *held = push_copy(L);
    err = read(d, &k, clock_ns(), held);
    *version = held->version;
    if (err) return err;
    shared_push_value(L, &held->value);
    dict_release(held);
    lua_insert(L, -2);
    give_back(L, SPARE_COPY);
    return 0;
}

static void make_metatable(lua_State *L, const char *name, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void shared_push_spares(lua_State *L) {
    make_metatable(L, COPY, copy_gc);
    make_metatable(L, BYTES, bytes_gc);
    lua_newuserdatauv(L, 0, USER_VALUES);
}
