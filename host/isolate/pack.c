#include "isolate/pack.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

/* A value is a tag and what follows it. Tables are numbered in the order in which they
 * begin, from 1; T_SEEN names one by its number. Numbers are varints, 7 bits a byte,
 * low first. */
enum tag {
    T_NIL,
    T_FALSE,
    T_TRUE,
    T_INTEGER, /* zigzag */
    T_FLOAT,   /* 8 bytes as they are: both ends are in one process */
    T_STRING,  /* length, bytes */
    T_TABLE,   /* count, that many values for 1.., then keys and values, T_END */
    T_SEEN,    /* number */
    T_END,
    T_CARGO, /* number from 1 */
};

enum { HINT_MAX = 1024 };

/* Writing. */

/* The way down to the present value: where on the Lua stack each key is. */
struct step {
    const struct step *up;
    int key;
};

struct writer {
    struct buf *out;
    const char *name;
    int seen; /* stack index of table -> number */
    lua_Integer tables;
    int list; /* stack index of the table that gets the cargo, or 0 */
    unsigned cargo;
};

static void push_path(lua_State *L, const struct writer *w, const struct step *step) {
    if (!step) {
        lua_pushstring(L, w->name);
        return;
    }
    luaL_checkstack(L, 6, NULL);
    push_path(L, w, step->up);
    switch (lua_type(L, step->key)) {
    case LUA_TSTRING: lua_pushfstring(L, ".%s", lua_tostring(L, step->key)); break;
    case LUA_TNUMBER:
        lua_pushvalue(L, step->key);
        lua_pushfstring(L, "[%s]", lua_tostring(L, -1));
        lua_remove(L, -2);
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, step->key) ? "[true]" : "[false]");
        break;
    default: lua_pushfstring(L, "[%s]", luaL_typename(L, step->key));
    }
    lua_concat(L, 2);
}

static int fail_at(lua_State *L, const struct writer *w, const struct step *step,
                   const char *what) {
    push_path(L, w, step);
    return luaL_error(L, "%s: %s", lua_tostring(L, -1), what);
}

static void put(lua_State *L, struct writer *w, const void *at, size_t n) {
    if (buf_len(w->out) + n > PACK_SIZE_MAX) luaL_error(L, "too large to be sent");
    if (buf_append(w->out, at, n) == 0) return;
    lua_pushliteral(L, "not enough memory"); /* as budget_raise, which has a loop */
    lua_error(L);
}

static size_t tag_number(enum tag tag, uint64_t n, char to[PACK_TEXT_HEAD]) {
    size_t len = 0;
    to[len++] = (char)tag;
    for (; n >= 0x80; n >>= 7) to[len++] = (char)(n | 0x80);
    to[len++] = (char)n;
    return len;
}

static void put_number(lua_State *L, struct writer *w, enum tag tag, uint64_t n) {
    char bytes[PACK_TEXT_HEAD];
    put(L, w, bytes, tag_number(tag, n, bytes));
}

size_t pack_text_head(size_t len, char to[PACK_TEXT_HEAD]) {
    return tag_number(T_STRING, len, to);
}

static void put_tag(lua_State *L, struct writer *w, enum tag tag) {
    char byte = (char)tag;
    put(L, w, &byte, 1);
}

static void put_value(lua_State *L, struct writer *w, const struct step *step,
                      int depth);

/* The table on top. */
static void put_table(lua_State *L, struct writer *w, const struct step *step,
                      int depth) {
    int table = lua_gettop(L);
    lua_pushvalue(L, table);
    if (lua_rawget(L, w->seen) != LUA_TNIL) {
        put_number(L, w, T_SEEN, (uint64_t)lua_tointeger(L, -1));
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    if (depth >= PACK_DEPTH_MAX) fail_at(L, w, step, "nested too deep to be sent");
    lua_pushvalue(L, table);
    lua_pushinteger(L, ++w->tables);
    lua_rawset(L, w->seen);
    lua_Integer count = (lua_Integer)lua_rawlen(L, table);
    put_number(L, w, T_TABLE, (uint64_t)count);
    struct step next = {step, table + 1};
    for (lua_Integer i = 1; i <= count; i++) {
        lua_pushinteger(L, i);
        lua_rawgeti(L, table, i);
        put_value(L, w, &next, depth + 1);
        lua_settop(L, table);
    }
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 ||
            lua_tointeger(L, -2) > count) {
            lua_pushvalue(L, -2);
            put_value(L, w, &next, depth + 1);
            lua_pop(L, 1);
            put_value(L, w, &next, depth + 1);
        }
        lua_settop(L, table + 1);
    }
    put_tag(L, w, T_END);
}

/* The userdata on top. */
static void put_cargo(lua_State *L, struct writer *w, const struct step *step) {
    const struct cargo_kind *kind = w->list ? cargo_kind_of(L, -1) : NULL;
    if (!kind) fail_at(L, w, step, "a userdata cannot be sent");
    lua_pushvalue(L, -1);
    if (lua_rawget(L, w->seen) == LUA_TNIL) {
        lua_pop(L, 1);
        void *handle = lua_touserdata(L, -1);
        const char *why = cargo_is_over(kind, handle) ? NULL : kind->refuse(handle);
        if (why) fail_at(L, w, step, why);
        lua_pushvalue(L, -1);
        lua_rawseti(L, w->list, (lua_Integer)++w->cargo);
        lua_pushvalue(L, -1);
        lua_pushinteger(L, (lua_Integer)w->cargo);
        lua_rawset(L, w->seen);
        lua_pushinteger(L, (lua_Integer)w->cargo);
    }
    put_number(L, w, T_CARGO, (uint64_t)lua_tointeger(L, -1));
    lua_pop(L, 1);
}

/* The value on top, which stays. */
static void put_value(lua_State *L, struct writer *w, const struct step *step,
                      int depth) {
    luaL_checkstack(L, 8, NULL);
    switch (lua_type(L, -1)) {
    case LUA_TNIL: put_tag(L, w, T_NIL); break;
    case LUA_TBOOLEAN: put_tag(L, w, lua_toboolean(L, -1) ? T_TRUE : T_FALSE); break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            uint64_t n = (uint64_t)lua_tointeger(L, -1);
            put_number(L, w, T_INTEGER, n << 1 ^ (n >> 63 ? UINT64_MAX : 0));
        } else {
            lua_Number n = lua_tonumber(L, -1);
            put_tag(L, w, T_FLOAT);
            put(L, w, &n, sizeof n);
        }
        break;
    case LUA_TSTRING: {
        size_t n;
        const char *text = lua_tolstring(L, -1, &n);
        put_number(L, w, T_STRING, n);
        put(L, w, text, n);
        break;
    }
    case LUA_TTABLE: put_table(L, w, step, depth); break;
    case LUA_TUSERDATA: put_cargo(L, w, step); break;
    default:
        lua_pushfstring(L, "a %s cannot be sent", luaL_typename(L, -1));
        fail_at(L, w, step, lua_tostring(L, -1));
    }
}

static unsigned write(lua_State *L, int index, const char *name, struct buf *out,
                      int list) {
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, NULL);
    bool nests = lua_istable(L, index) || lua_isuserdata(L, index);
    nests ? lua_newtable(L) : lua_pushnil(L);
    struct writer w = {.out = out, .name = name, .seen = lua_gettop(L), .list = list};
    lua_pushvalue(L, index);
    put_value(L, &w, NULL, 0);
    lua_pop(L, 2);
    return w.cargo;
}

int pack_write_named(lua_State *L, int index, const char *name, struct buf *out) {
    write(L, index, name, out, 0);
    return 0;
}

int pack_write_cargo(lua_State *L, int index, struct buf *out, int list,
                     unsigned *count) {
    *count = write(L, index, "value", out, lua_absindex(L, list));
    return 0;
}

int pack_write(lua_State *L, int index, struct buf *out) {
    return pack_write_named(L, index, "value", out);
}

/* Reading. */

struct reader {
    const unsigned char *at, *end;
    int seen; /* stack index of number -> table; of -number -> cargo */
    lua_Integer tables;
    struct cargo *cargo;
    unsigned cargo_count;
};

static int malformed(lua_State *L) {
    return luaL_error(L, "malformed message");
}

static size_t left(const struct reader *r) {
    return (size_t)(r->end - r->at);
}

static uint64_t get_number(lua_State *L, struct reader *r) {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) malformed(L);
        unsigned char byte = *r->at++;
        if (shift == 63 && byte > 1) malformed(L);
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return n;
    }
    malformed(L);
    return 0;
}

static enum tag get_tag(lua_State *L, struct reader *r) {
    if (r->at == r->end) malformed(L);
    return (enum tag) * r->at++;
}

static void get_value(lua_State *L, struct reader *r, enum tag tag, int depth);

static void get_table(lua_State *L, struct reader *r, int depth) {
    uint64_t count = get_number(L, r);
    if (depth >= PACK_DEPTH_MAX || count > left(r)) malformed(L);
    lua_createtable(L, count < HINT_MAX ? (int)count : HINT_MAX, 0);
    lua_pushvalue(L, -1);
    lua_rawseti(L, r->seen, ++r->tables);
    for (uint64_t i = 1; i <= count; i++) {
        get_value(L, r, get_tag(L, r), depth + 1);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    enum tag tag;
    while ((tag = get_tag(L, r)) != T_END) {
        get_value(L, r, tag, depth + 1);
        if (lua_isnil(L, -1)) malformed(L);
        if (lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1))) malformed(L);
        get_value(L, r, get_tag(L, r), depth + 1);
        lua_rawset(L, -3);
    }
}

static void get_value(lua_State *L, struct reader *r, enum tag tag, int depth) {
    luaL_checkstack(L, 8, NULL);
    switch (tag) {
    case T_NIL: lua_pushnil(L); return;
    case T_FALSE: lua_pushboolean(L, false); return;
    case T_TRUE: lua_pushboolean(L, true); return;
    case T_INTEGER: {
        uint64_t n = get_number(L, r);
        lua_pushinteger(L, (lua_Integer)(n >> 1 ^ (n & 1 ? UINT64_MAX : 0)));
        return;
    }
    case T_FLOAT: {
        lua_Number n;
        if (left(r) < sizeof n) malformed(L);
        memcpy(&n, r->at, sizeof n);
        r->at += sizeof n;
        lua_pushnumber(L, n);
        return;
    }
    case T_STRING: {
        uint64_t n = get_number(L, r);
        if (n > left(r)) malformed(L);
        lua_pushlstring(L, (const char *)r->at, (size_t)n);
        r->at += n;
        return;
    }
    case T_TABLE: get_table(L, r, depth); return;
    case T_SEEN: {
        uint64_t n = get_number(L, r);
        if (n < 1 || n > (uint64_t)r->tables) malformed(L);
        lua_rawgeti(L, r->seen, (lua_Integer)n);
        return;
    }
    case T_CARGO: {
        uint64_t n = get_number(L, r);
        if (n < 1 || n > r->cargo_count) malformed(L);
        struct cargo *c = &r->cargo[n - 1];
        if (lua_rawgeti(L, r->seen, -(lua_Integer)n) != LUA_TNIL || !c->core) return;
        lua_pop(L, 1);
        c->kind->make(L, c->core);
        lua_pushvalue(L, -1);
        lua_rawseti(L, r->seen, -(lua_Integer)n);
        return;
    }
    default: malformed(L);
    }
}

int pack_read(lua_State *L, struct span bytes) {
    return pack_read_cargo(L, bytes, NULL, 0, NULL);
}

bool pack_is_string(struct span bytes, struct span *text) {
    uint64_t n = 0;
    size_t at = 1;
    if (!bytes.len || *bytes.at != T_STRING) return false;
    for (unsigned shift = 0; shift < 63 && at < bytes.len; shift += 7) {
        unsigned char byte = (unsigned char)bytes.at[at++];
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte >= 0x80) continue;
        *text = span_of(bytes.at + at, bytes.len - at);
        return n == text->len;
    }
    return false;
}

static void fill(lua_State *L, const struct reader *r, struct loop *l) {
    if (!lua_istable(L, r->seen)) return; /* it is neither table nor cargo */
    for (unsigned i = 0; i < r->cargo_count; i++) {
        struct cargo *c = &r->cargo[i];
        void *core = c->core;
        if (lua_rawgeti(L, r->seen, -(lua_Integer)i - 1) != LUA_TNIL && core) {
            c->core = NULL;
            c->kind->put(lua_touserdata(L, -1), core, l);
        }
        lua_pop(L, 1);
    }
}

int pack_read_cargo(lua_State *L, struct span bytes, struct cargo *cargo,
                    unsigned count, struct loop *l) {
    luaL_checkstack(L, 4, NULL);
    bool nests = bytes.len && (*bytes.at == T_TABLE || *bytes.at == T_CARGO);
    nests ? lua_newtable(L) : lua_pushnil(L);
    struct reader r = {.at = (const unsigned char *)bytes.at,
                       .end = (const unsigned char *)bytes.at + bytes.len,
                       .seen = lua_gettop(L),
                       .cargo = cargo,
                       .cargo_count = count};
    get_value(L, &r, get_tag(L, &r), 0);
    if (r.at != r.end) malformed(L);
    fill(L, &r, l);
    lua_remove(L, -2);
    return 1;
}
