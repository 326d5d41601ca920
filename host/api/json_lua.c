#include "api/json_lua.h"

#include "api/json_read.h"
#include "api/json_write.h"
#include "base/err.h"

#include <lauxlib.h>

/* What one module table has as the upvalue of its functions. The buffer is kept from
 * one encode to the next: no Lua code, not even a finaliser, runs between the first
 * byte written and the copy, since json_write neither allocates in Lua nor calls it. */
struct json {
    struct json_write_options write;
    struct json_read_options read;
    bool keep_buffer, safe; /* keep_buffer is remembered and means nothing */
    struct buf out;
};

enum { KEEP_MAX = 64 * 1024 }; /* of the buffer, between two calls */

static struct json *self(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The message on top, the lua-cjson way. */
static int failed(lua_State *L, const struct json *j) {
    if (j->safe) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

static int encode(lua_State *L) {
    struct json *j = self(L);
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    j->out.start = j->out.end = 0;
    bool ok = json_write(L, 1, &j->out, &j->write);
    if (ok) lua_pushlstring(L, buf_data(&j->out), buf_len(&j->out));
    if (j->out.capacity > KEEP_MAX) buf_reset(&j->out);
    return ok ? 1 : failed(L, j);
}

static int decode(lua_State *L) {
    struct json *j = self(L);
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    struct span text;
    text.at = luaL_checklstring(L, 1, &text.len);
    return json_read(L, text, &j->read) ? 1 : failed(L, j);
}

static int decode_softly(lua_State *L) {
    struct span text;
    text.at = luaL_checklstring(L, 1, &text.len);
    if (json_read(L, text, &json_read_strict)) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushstring(L, err_name(ERR_SYNTAX));
    return 3;
}

static int array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_push_array_mt(L);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has a metatable");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    return 1;
}

/* --- lua-cjson's settings: each takes new values if there are any, returns those that
 * hold from now on --- */

static int set_integer(lua_State *L, int arg, int *value, int least, int most) {
    if (!lua_isnoneornil(L, arg)) {
        lua_Integer n = luaL_checkinteger(L, arg);
        luaL_argcheck(L, n >= least && n <= most, arg, "out of range");
        *value = (int)n;
    }
    lua_pushinteger(L, *value);
    return 1;
}

static int set_size(lua_State *L, size_t *value) {
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer n = luaL_checkinteger(L, 1);
        luaL_argcheck(L, n >= 1 && n <= (lua_Integer)BUF_MAX, 1, "out of range");
        *value = (size_t)n;
    }
    lua_pushinteger(L, (lua_Integer)*value);
    return 1;
}

static int set_flag(lua_State *L, int arg, bool *value) {
    static const char *const names[] = {"off", "on", NULL};
    if (lua_isboolean(L, arg))
        *value = lua_toboolean(L, arg);
    else if (!lua_isnoneornil(L, arg))
        *value = luaL_checkoption(L, arg, NULL, names) == 1;
    lua_pushboolean(L, *value);
    return 1;
}

static int encode_max_depth(lua_State *L) {
    return set_integer(L, 1, &self(L)->write.depth, 1, INT32_MAX);
}

static int decode_max_depth(lua_State *L) {
    return set_integer(L, 1, &self(L)->read.depth, 1, INT32_MAX);
}

static int encode_max_size(lua_State *L) {
    return set_size(L, &self(L)->write.size);
}

static int decode_max_size(lua_State *L) {
    return set_size(L, &self(L)->read.size);
}

static int encode_sparse_array(lua_State *L) {
    struct json_write_options *o = &self(L)->write;
    lua_settop(L, 3); /* results are pushed before the last argument is read */
    set_flag(L, 1, &o->sparse_convert);
    set_integer(L, 2, &o->sparse_ratio, 0, INT32_MAX);
    set_integer(L, 3, &o->sparse_safe, 0, INT32_MAX);
    return 3;
}

/* 17 digits are as many as a double may take, so there the shortest text is no loss. */
static int encode_number_precision(lua_State *L) {
    struct json_write_options *o = &self(L)->write;
    int digits = o->digits ? o->digits : 17;
    set_integer(L, 1, &digits, 1, 17);
    o->digits = digits == 17 ? 0 : digits;
    return 1;
}

static int encode_invalid_numbers(lua_State *L) {
    static const char *const names[] = {"off", "on", "null", NULL};
    struct json_write_options *o = &self(L)->write;
    if (lua_isboolean(L, 1))
        o->invalid = lua_toboolean(L, 1) ? JSON_AS_IS : JSON_REFUSED;
    else if (!lua_isnoneornil(L, 1))
        o->invalid = (enum json_invalid)luaL_checkoption(L, 1, NULL, names);
    if (o->invalid == JSON_AS_NULL)
        lua_pushliteral(L, "null");
    else
        lua_pushboolean(L, o->invalid == JSON_AS_IS);
    return 1;
}

static int decode_invalid_numbers(lua_State *L) {
    return set_flag(L, 1, &self(L)->read.invalid);
}

static int encode_keep_buffer(lua_State *L) {
    return set_flag(L, 1, &self(L)->keep_buffer);
}

static int encode_empty_table_as_object(lua_State *L) {
    struct json_write_options *o = &self(L)->write;
    bool object = !o->empty_array;
    set_flag(L, 1, &object);
    o->empty_array = !object;
    return 1;
}

static int encode_escape_forward_slash(lua_State *L) {
    return set_flag(L, 1, &self(L)->write.escape_slash);
}

static int decode_array_with_array_mt(lua_State *L) {
    return set_flag(L, 1, &self(L)->read.array_mt);
}

/* --- the modules --- */

static int json_gc(lua_State *L) {
    struct json *j = lua_touserdata(L, 1);
    buf_reset(&j->out);
    return 0;
}

/* Pushes the upvalue of a new module table: strict, with an empty buffer. */
static struct json *push_json(lua_State *L) {
    struct json *j = lua_newuserdatauv(L, sizeof *j, 0);
    *j = (struct json){
        .write = json_write_strict, .read = json_read_strict, .keep_buffer = true};
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "atoll.json");
    lua_setfield(L, -2, "__name");
    lua_pushcfunction(L, json_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return j;
}

static void set_constants(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, json_empty_array());
    lua_setfield(L, -2, "empty_array");
    json_push_array_mt(L);
    lua_setfield(L, -2, "array_mt");
    json_push_empty_array_mt(L);
    lua_setfield(L, -2, "empty_array_mt");
}

static int cjson_new(lua_State *L);
static int cjson_safe_new(lua_State *L);

static const luaL_Reg cjson_functions[] = {
    {"encode", encode},
    {"decode", decode},
    {"encode_max_depth", encode_max_depth},
    {"decode_max_depth", decode_max_depth},
    {"encode_max_size", encode_max_size},
    {"decode_max_size", decode_max_size},
    {"encode_sparse_array", encode_sparse_array},
    {"encode_number_precision", encode_number_precision},
    {"encode_invalid_numbers", encode_invalid_numbers},
    {"decode_invalid_numbers", decode_invalid_numbers},
    {"encode_keep_buffer", encode_keep_buffer},
    {"encode_empty_table_as_object", encode_empty_table_as_object},
    {"encode_escape_forward_slash", encode_escape_forward_slash},
    {"decode_array_with_array_mt", decode_array_with_array_mt},
    {NULL, NULL},
};

static int push_cjson(lua_State *L, bool safe) {
    lua_newtable(L);
    struct json *j = push_json(L);
    j->safe = safe;
    j->write.point = false;
    j->write.mixed = true;
    j->write.escape_slash = true;
    luaL_setfuncs(L, cjson_functions, 1);
    lua_pushcfunction(L, safe ? cjson_safe_new : cjson_new);
    lua_setfield(L, -2, "new");
    set_constants(L);
    lua_pushstring(L, safe ? "cjson.safe" : "cjson");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "2.1.0.14-atoll"); /* the lua-cjson that this follows */
    lua_setfield(L, -2, "_VERSION");
    return 1;
}

static int cjson_new(lua_State *L) {
    return push_cjson(L, false);
}

static int cjson_safe_new(lua_State *L) {
    return push_cjson(L, true);
}

int luaopen_cjson(lua_State *L) {
    return push_cjson(L, false);
}

int luaopen_cjson_safe(lua_State *L) {
    return push_cjson(L, true);
}

static const luaL_Reg json_functions[] = {
    {"encode", encode},
    {"decode", decode_softly},
    {"array", array},
    {NULL, NULL},
};

int luaopen_atoll_json(lua_State *L) {
    lua_newtable(L);
    push_json(L);
    luaL_setfuncs(L, json_functions, 1);
    set_constants(L);
    return 1;
}
