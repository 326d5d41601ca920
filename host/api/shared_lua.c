#include "api/shared_lua.h"

#include "api/timer_lua.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/commons.h"
#include "isolate/generation.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <math.h>

enum { NAME_MAX_LEN = 255 };

static const char HANDLE[] = "atoll.shared", COPY[] = "atoll.shared.copy",
                  BYTES[] = "atoll.shared.bytes";

/* ---- arguments ---- */

struct handle {
    struct dict *dict; /* lives longer than any state */
};

/* The metatable is the first upvalue of every method. */
static struct dict *check_dict(lua_State *L) {
    struct handle *h = lua_touserdata(L, 1);
    if (h && lua_getmetatable(L, 1)) {
        bool is = lua_rawequal(L, -1, lua_upvalueindex(1));
        lua_pop(L, 1);
        if (is) return h->dict;
    }
    luaL_checkudata(L, 1, HANDLE); /* raises */
    return NULL;
}

/* A float with an integer's value is that integer, as in a table. */
static struct dict_key check_key(lua_State *L) {
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

/* Nothing or nil: otherwise. */
static int64_t opt_end(lua_State *L, int argument, int64_t otherwise) {
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

static struct buf *push_bytes(lua_State *L) {
    struct buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    buf_init(b);
    luaL_setmetatable(L, BYTES);
    return b;
}

/* What is packed belongs to a userdata left on the stack, given back by drop_value. */
static struct dict_value check_value(lua_State *L, int argument, struct buf **packed) {
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
        *packed = push_bytes(L);
        pack_write(L, argument, *packed);
        v.kind = DICT_PACKED;
        v.bytes = buf_span(*packed);
        return v;
    }
}

static void drop_value(struct buf *packed) {
    if (packed) buf_reset(packed);
}

static struct dict_value check_number(lua_State *L, int argument, lua_Integer usual) {
    struct dict_value v = {.kind = DICT_INTEGER};
    v.integer = usual;
    if (lua_isnoneornil(L, argument)) return v;
    struct buf *packed = NULL;
    luaL_checktype(L, argument, LUA_TNUMBER);
    return check_value(L, argument, &packed);
}

/* ---- results ---- */

/* wrong: what to say of a value of the wrong type. */
static int fail(lua_State *L, int err, const char *wrong) {
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

static int done(lua_State *L, int err, const char *wrong) {
    if (err) return fail(L, err, wrong);
    lua_pushboolean(L, true);
    return 1;
}

static int copy_gc(lua_State *L) {
    dict_release(luaL_checkudata(L, 1, COPY));
    return 0;
}

static void push_value(lua_State *L, const struct dict_value *v) {
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

typedef int read_fn(struct dict *d, const struct dict_key *k, int64_t now,
                    struct dict_copy *out);

/* Reads and pushes. A small value is copied to the C stack; a large one stays where it
 * is, held by a userdata that was made before, so that no error can lose it. */
static int read_value(lua_State *L, read_fn *read, uint64_t *version) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    if (k.text.len > DICT_KEY_MAX) return ERR_TOO_LARGE;
    struct dict_copy copy;
    copy.may_hold = false;
    copy.version = 0;
    copy.held = NULL;
    int err = read(d, &k, clock_ns(), &copy);
    *version = copy.version;
    if (err == 0) push_value(L, &copy.value);
    if (err != ERR_TOO_LARGE) return err;
    struct dict_copy *held = lua_newuserdatauv(L, sizeof *held, 0);
    held->version = 0;
    held->held = NULL;
    held->may_hold = true;
    luaL_setmetatable(L, COPY);
    err = read(d, &k, clock_ns(), held);
    *version = held->version;
    if (err) return err;
    push_value(L, &held->value);
    dict_release(held);
    return 0;
}

/* ---- values ---- */

static int get(lua_State *L) {
    uint64_t version;
    int err = read_value(L, dict_get, &version);
    if (err == 0) return 1;
    if (err != -ENOENT) return fail(L, err, "is a list");
    lua_pushnil(L);
    return 1;
}

static int get_versioned(lua_State *L) {
    uint64_t version;
    int err = read_value(L, dict_get, &version);
    if (err && err != -ENOENT) return fail(L, err, "is a list");
    if (err) lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)version);
    return 2;
}

/* The value is at that index, the time to end behind it. */
static int put(lua_State *L, int argument, struct dict_condition c, int64_t usual_end) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    int64_t end = opt_end(L, argument + 1, usual_end);
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    if (lua_isnil(L, argument)) {
        int err = dict_delete(d, &k, clock_ns(), c);
        bool must = c.when == DICT_IF_PRESENT;
        return done(L, err == -ENOENT && !must ? 0 : err, "");
    }
    struct buf *packed = NULL;
    struct dict_value v = check_value(L, argument, &packed);
    int err = dict_put(d, &k, clock_ns(), &v, c, end);
    drop_value(packed);
    return done(L, err, "");
}

static int set(lua_State *L) {
    return put(L, 3, (struct dict_condition){DICT_ALWAYS, 0}, DICT_NEVER);
}

static int add(lua_State *L) {
    luaL_argcheck(L, !lua_isnoneornil(L, 3), 3, "value expected");
    return put(L, 3, (struct dict_condition){DICT_IF_ABSENT, 0}, DICT_NEVER);
}

static int replace(lua_State *L) {
    return put(L, 3, (struct dict_condition){DICT_IF_PRESENT, 0}, DICT_NEVER);
}

static int cas(lua_State *L) {
    uint64_t version = (uint64_t)luaL_checkinteger(L, 3);
    return put(L, 4, (struct dict_condition){DICT_IF_VERSION, version}, DICT_KEEP);
}

static int incr(lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    struct dict_value by = check_number(L, 3, 1), initial = check_number(L, 4, 0), sum;
    bool starts = !lua_isnoneornil(L, 4);
    int64_t end = opt_end(L, 5, DICT_NEVER);
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    int err = dict_add(d, &k, clock_ns(), &by, starts ? &initial : NULL, end, &sum);
    if (err) return fail(L, err, "not a number");
    push_value(L, &sum);
    return 1;
}

static int delete (lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    int err = dict_delete(d, &k, clock_ns(), (struct dict_condition){DICT_ALWAYS, 0});
    lua_pushboolean(L, err == 0);
    return 1;
}

static int ttl(lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    int64_t now = clock_ns(), ends;
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    int err = dict_ends(d, &k, now, &ends);
    if (err) return fail(L, err, "");
    lua_pushnumber(L, ends == DICT_NEVER ? HUGE_VAL : (lua_Number)(ends - now) / 1e9);
    return 1;
}

static int expire(lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    int64_t end = opt_end(L, 3, DICT_NEVER);
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    return done(L, dict_end_at(d, &k, clock_ns(), end), "");
}

/* ---- lists ---- */

static int push(lua_State *L, enum dict_side side) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 3), 3, "value expected");
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    size_t length;
    struct buf *packed = NULL;
    struct dict_value v = check_value(L, 3, &packed);
    int err = dict_push(d, &k, clock_ns(), side, &v, &length);
    drop_value(packed);
    if (err) return fail(L, err, "not a list");
    lua_pushinteger(L, (lua_Integer)length);
    return 1;
}

static int lpush(lua_State *L) {
    return push(L, DICT_LEFT);
}

static int rpush(lua_State *L) {
    return push(L, DICT_RIGHT);
}

static int pop_left(struct dict *d, const struct dict_key *k, int64_t now,
                    struct dict_copy *out) {
    return dict_pop(d, k, now, DICT_LEFT, out);
}

static int pop_right(struct dict *d, const struct dict_key *k, int64_t now,
                     struct dict_copy *out) {
    return dict_pop(d, k, now, DICT_RIGHT, out);
}

static int pop(lua_State *L, read_fn *read) {
    uint64_t version;
    int err = read_value(L, read, &version);
    if (err == 0) return 1;
    if (err != -ENOENT) return fail(L, err, "not a list");
    lua_pushnil(L);
    return 1;
}

static int lpop(lua_State *L) {
    return pop(L, pop_left);
}

static int rpop(lua_State *L) {
    return pop(L, pop_right);
}

static int llen(lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_key k = check_key(L);
    size_t length;
    if (k.text.len > DICT_KEY_MAX) return fail(L, ERR_TOO_LARGE, "");
    int err = dict_length(d, &k, clock_ns(), &length);
    if (err) return fail(L, err, "not a list");
    lua_pushinteger(L, (lua_Integer)length);
    return 1;
}

/* ---- all of it ---- */

/* keys([prefix][, most]); a number alone is most. */
static int keys(lua_State *L) {
    struct dict *d = check_dict(L);
    int at = lua_type(L, 2) == LUA_TNUMBER ? 2 : 3;
    struct span prefix = {0};
    if (at == 3) prefix.at = luaL_optlstring(L, 2, NULL, &prefix.len);
    lua_Integer most = luaL_optinteger(L, at, LUA_MAXINTEGER), n = 0;
    luaL_argcheck(L, most >= 0, at, "must not be negative");
    lua_settop(L, 3);
    lua_newtable(L);
    struct buf *records = push_bytes(L);
    struct dict_cursor cursor = {0};
    struct dict_key k;
    int64_t now = clock_ns();
    for (int more = 1; more && n < most;) {
        more = dict_keys(d, &cursor, now, prefix.at ? &prefix : NULL, records);
        if (more < 0) {
            buf_reset(records);
            return fail(L, -ENOMEM, "");
        }
        struct span rest = buf_span(records);
        while (n < most && dict_next_key(&rest, &k)) {
            if (k.is_integer)
                lua_pushinteger(L, k.integer);
            else
                lua_pushlstring(L, k.text.at, k.text.len);
            lua_rawseti(L, 4, ++n);
        }
        buf_consume(records, buf_len(records));
    }
    buf_reset(records);
    lua_settop(L, 4);
    return 1;
}

/* capacity([bytes]), which then is another one. */
static int capacity(lua_State *L) {
    struct dict *d = check_dict(L);
    struct dict_stats s;
    lua_Integer limit = luaL_optinteger(L, 2, 0);
    luaL_argcheck(L, limit == 0 || limit >= SHARED_LIMIT_LEAST, 2, "too small");
    if (limit) dict_set_limit(d, (size_t)limit, clock_ns());
    dict_stats(d, &s);
    const struct {
        const char *name;
        uint64_t n;
    } fields[] = {{"used", s.used},
                  {"limit", s.limit},
                  {"entries", s.entries},
                  {"evictions", s.evictions},
                  {"expirations", s.expirations}};
    lua_createtable(L, 0, 5);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].n);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

static int flush(lua_State *L) {
    return done(L, dict_flush(check_dict(L)) ? -ENOMEM : 0, "");
}

/* ---- the module ---- */

static void say_kept(struct span name, struct dict *d) {
    struct dict_stats s;
    dict_stats(d, &s);
    log_warn("atoll.shared(\"%.*s\"): the capacity stays at %zu bytes; "
             "dictionary:capacity(size) changes it",
             (int)name.len, name.at, s.limit);
}

/* Upvalues: the metatable, name -> handle. */
static int open_dict(lua_State *L) {
    struct span name;
    name.at = luaL_checklstring(L, 1, &name.len);
    luaL_argcheck(L, name.len >= 1 && name.len <= NAME_MAX_LEN, 1,
                  "1 to 255 bytes expected");
    lua_Integer limit = luaL_optinteger(L, 2, 0);
    luaL_argcheck(L, limit == 0 || limit >= SHARED_LIMIT_LEAST, 2, "too small");
    lua_pushvalue(L, 1);
    bool known = lua_rawget(L, lua_upvalueindex(2)) == LUA_TUSERDATA;
    if (known && !limit) return 1;
    struct handle *h =
        known ? lua_touserdata(L, -1) : lua_newuserdatauv(L, sizeof *h, 0);
    bool kept;
    int err = shared_open(generation_of(L)->plan->commons->shared, name, (size_t)limit,
                          &h->dict, &kept);
    if (err == ERR_TOO_LARGE)
        return luaL_error(L, "there are %d shared dictionaries already", SHARED_MAX);
    if (err) return luaL_error(L, "not enough memory");
    if (kept) say_kept(name, h->dict);
    if (known) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, lua_upvalueindex(2));
    return 1;
}

static const luaL_Reg methods[] = {
    {"add", add},       {"capacity", capacity},
    {"cas", cas},       {"delete", delete},
    {"expire", expire}, {"flush", flush},
    {"get", get},       {"get_versioned", get_versioned},
    {"incr", incr},     {"keys", keys},
    {"llen", llen},     {"lpop", lpop},
    {"lpush", lpush},   {"replace", replace},
    {"rpop", rpop},     {"rpush", rpush},
    {"set", set},       {"ttl", ttl},
    {NULL, NULL},
};

static void make_metatable(lua_State *L, const char *name, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int luaopen_atoll_core_shared(lua_State *L) {
    if (!generation_of(L)->plan->commons)
        return luaL_error(L, "there are no shared dictionaries here");
    make_metatable(L, COPY, copy_gc);
    make_metatable(L, BYTES, bytes_gc);
    lua_newtable(L);
    lua_pushinteger(L, SHARED_LIMIT_LEAST);
    lua_setfield(L, -2, "capacity_min");
    luaL_newmetatable(L, HANDLE);
    luaL_newlibtable(L, methods);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "methods");
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcclosure(L, open_dict, 2);
    lua_setfield(L, -2, "open");
    return 1;
}
