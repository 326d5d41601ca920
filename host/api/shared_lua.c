#include "api/shared_lua.h"

#include "api/shared_value.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/commons.h"
#include "isolate/generation.h"

#include <lauxlib.h>
#include <math.h>

enum { NAME_MAX_LEN = 255 };

/* ---- values ---- */

static int get(lua_State *L) {
    uint64_t version;
    int err = shared_read(L, dict_get, &version);
    if (err == 0) return 1;
    if (err != -ENOENT) return shared_failed(L, err, "is a list");
    lua_pushnil(L);
    return 1;
}

static int get_versioned(lua_State *L) {
    uint64_t version;
    int err = shared_read(L, dict_get, &version);
    if (err && err != -ENOENT) return shared_failed(L, err, "is a list");
    if (err) lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)version);
    return 2;
}

/* The value is at that index, the time to end behind it. */
static int put(lua_State *L, int argument, struct dict_condition c, int64_t usual_end) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    int64_t end = shared_opt_end(L, argument + 1, usual_end);
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    if (lua_isnil(L, argument)) {
        int err = dict_delete(d, &k, clock_ns(), c);
        bool must = c.when == DICT_IF_PRESENT;
        return shared_done(L, err == -ENOENT && !must ? 0 : err, "");
    }
    struct buf *packed = NULL;
    struct dict_value v = shared_check_value(L, argument, &packed);
    int err = dict_put(d, &k, clock_ns(), &v, c, end);
    shared_drop_value(L, packed);
    return shared_done(L, err, "");
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
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    struct dict_value by = shared_check_number(L, 3, 1),
                      initial = shared_check_number(L, 4, 0), sum;
    bool starts = !lua_isnoneornil(L, 4);
    int64_t end = shared_opt_end(L, 5, DICT_NEVER);
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    int err = dict_add(d, &k, clock_ns(), &by, starts ? &initial : NULL, end, &sum);
    if (err) return shared_failed(L, err, "not a number");
    shared_push_value(L, &sum);
    return 1;
}

static int delete (lua_State *L) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    int err = dict_delete(d, &k, clock_ns(), (struct dict_condition){DICT_ALWAYS, 0});
    lua_pushboolean(L, err == 0);
    return 1;
}

static int ttl(lua_State *L) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    int64_t now = clock_ns(), ends;
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    int err = dict_ends(d, &k, now, &ends);
    if (err) return shared_failed(L, err, "");
    lua_pushnumber(L, ends == DICT_NEVER ? HUGE_VAL : (lua_Number)(ends - now) / 1e9);
    return 1;
}

static int expire(lua_State *L) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    int64_t end = shared_opt_end(L, 3, DICT_NEVER);
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    return shared_done(L, dict_end_at(d, &k, clock_ns(), end), "");
}

/* ---- lists ---- */

static int push(lua_State *L, enum dict_side side) {
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 3), 3, "value expected");
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    size_t length;
    struct buf *packed = NULL;
    struct dict_value v = shared_check_value(L, 3, &packed);
    int err = dict_push(d, &k, clock_ns(), side, &v, &length);
    shared_drop_value(L, packed);
    if (err) return shared_failed(L, err, "not a list");
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

static int pop(lua_State *L, shared_read_fn *read) {
    uint64_t version;
    int err = shared_read(L, read, &version);
    if (err == 0) return 1;
    if (err != -ENOENT) return shared_failed(L, err, "not a list");
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
    struct dict *d = shared_check(L);
    struct dict_key k = shared_check_key(L);
    size_t length;
    if (k.text.len > DICT_KEY_MAX) return shared_failed(L, ERR_TOO_LARGE, "");
    int err = dict_length(d, &k, clock_ns(), &length);
    if (err) return shared_failed(L, err, "not a list");
    lua_pushinteger(L, (lua_Integer)length);
    return 1;
}

/* ---- all of it ---- */

/* keys([prefix][, most]); a number alone is most. */
static int keys(lua_State *L) {
    struct dict *d = shared_check(L);
    int at = lua_type(L, 2) == LUA_TNUMBER ? 2 : 3;
    struct span prefix = {0};
    if (at == 3) prefix.at = luaL_optlstring(L, 2, NULL, &prefix.len);
    lua_Integer most = luaL_optinteger(L, at, LUA_MAXINTEGER), n = 0;
    luaL_argcheck(L, most >= 0, at, "must not be negative");
    lua_settop(L, 3);
    lua_newtable(L);
    struct buf *records = shared_push_bytes(L);
    struct dict_cursor cursor = {0};
    struct dict_key k;
    int64_t now = clock_ns();
    for (int more = 1; more && n < most;) {
        more = dict_keys(d, &cursor, now, prefix.at ? &prefix : NULL, records);
        if (more < 0) {
            shared_drop_value(L, records);
            return shared_failed(L, -ENOMEM, "");
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
    shared_drop_value(L, records);
    return 1;
}

/* capacity([bytes]), which then is another one. */
static int capacity(lua_State *L) {
    struct dict *d = shared_check(L);
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
    return shared_done(L, dict_flush(shared_check(L)) ? -ENOMEM : 0, "");
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
    struct shared_handle *h =
        known ? lua_touserdata(L, -1) : lua_newuserdatauv(L, sizeof *h, 0);
    bool kept;
    int err = shared_open(generation_of(L)->plan->commons->shared, name, (size_t)limit,
                          &h->dict, &kept);
    if (err == ERR_TOO_LARGE)
        return luaL_error(L, "there are %d shared dictionaries already", SHARED_MAX);
    if (err) return budget_raise(L);
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

int luaopen_atoll_core_shared(lua_State *L) {
    if (!generation_of(L)->plan->commons)
        return luaL_error(L, "there are no shared dictionaries here");
    lua_newtable(L);
    lua_pushinteger(L, SHARED_LIMIT_LEAST);
    lua_setfield(L, -2, "capacity_min");
    luaL_newmetatable(L, SHARED_HANDLE);
    luaL_newlibtable(L, methods);
    lua_pushvalue(L, -2);
    shared_push_spares(L);
    luaL_setfuncs(L, methods, SHARED_UPVALUES);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "methods");
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcclosure(L, open_dict, 2);
    lua_setfield(L, -2, "open");
    return 1;
}
