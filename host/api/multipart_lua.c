#include "api/multipart_lua.h"

#include "api/litter.h"
#include "base/err.h"
#include "codec/multipart.h"

#include <lauxlib.h>

static const char NAME[] = "atoll.multipart";

const struct form_limits form_limits_default = {
    .parts_max = 1000,
    .name_max = 1024,
    .head_max = 8192,
    .memory_max = 2 << 20,
    .part_max = INT64_MAX,
    .directory = "",
};

/* Its user value is the string that it is reading. */
struct reader {
    struct multipart m;
    size_t at; /* in the string */
};

static struct reader *check(lua_State *L) {
    return luaL_checkudata(L, 1, NAME);
}

static struct span check_text(lua_State *L, int argument) {
    struct span s;
    s.at = luaL_checklstring(L, argument, &s.len);
    return s;
}

/* new(content_type, parts_max, head_max, name_max) -> reader; nil, message, code */
static int reader_new(lua_State *L) {
    struct span type = check_text(L, 1);
    struct multipart_limits limits = {.parts_max = (uint32_t)luaL_checkinteger(L, 2),
                                      .head_max = (uint32_t)luaL_checkinteger(L, 3),
                                      .name_max = (uint32_t)luaL_checkinteger(L, 4)};
    struct reader *r = lua_newuserdatauv(L, sizeof *r, 1);
    r->at = 0;
    int err = multipart_init(&r->m, type, &limits);
    luaL_setmetatable(L, NAME);
    if (!err) return 1;
    lua_pushnil(L);
    lua_pushstring(L, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

/* push(bytes): what next() goes on with; everything before was used. */
static int push(lua_State *L) {
    struct reader *r = check(L);
    luaL_checktype(L, 2, LUA_TSTRING);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, 1);
    r->at = 0;
    return 0;
}

static void push_lower(lua_State *L, struct span s) {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, s.len);
    for (size_t i = 0; i < s.len; i++) to[i] = ascii_lower(s.at[i]);
    luaL_pushresultsize(&b, s.len);
}

static void push_param(lua_State *L, const struct param *p, bool extended) {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, p->value.len + 1);
    size_t n = 0;
    if (!extended)
        n = params_decode(p, to);
    else if (!params_decode_extended(p, to, &n))
        n = 0; /* it has been checked */
    luaL_pushresultsize(&b, n);
}

/* The name of a file of the client's, without its directories: these are for nobody
 * here to follow. */
static void push_base_name(lua_State *L) {
    size_t len, from = 0;
    const char *name = lua_tolstring(L, -1, &len);
    for (size_t i = 0; i < len; i++)
        if (name[i] == '/' || name[i] == '\\') from = i + 1;
    bool dots = (len - from == 1 && name[from] == '.') ||
                (len - from == 2 && name[from] == '.' && name[from + 1] == '.');
    lua_pushlstring(L, name + from, dots ? 0 : len - from);
}

static void set_type(lua_State *L, struct span value, bool is_file) {
    struct param charset;
    struct span rest = value, type = params_begin(&rest);
    if (!type.len)
        type = is_file ? SPAN("application/octet-stream") : SPAN("text/plain");
    push_lower(L, type);
    lua_setfield(L, -2, "type");
    if (params_find(value, SPAN("charset"), &charset) != 1) return;
    push_lower(L, charset.value);
    lua_setfield(L, -2, "charset");
}

static void push_headers(lua_State *L, const struct multipart *m) {
    struct span name, value;
    size_t from = 0;
    lua_newtable(L);
    while (multipart_field(m, &from, &name, &value)) {
        push_lower(L, name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING) {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, value.at, value.len);
            lua_concat(L, 3);
        } else {
            lua_pop(L, 1);
            lua_pushlstring(L, value.at, value.len);
        }
        lua_rawset(L, -3);
    }
}

static void push_part(lua_State *L, const struct multipart *m) {
    struct param p;
    bool extended, is_file;
    lua_createtable(L, 0, 10);
    multipart_name(m, &p);
    push_param(L, &p, false);
    lua_setfield(L, -2, "name");
    is_file = multipart_file_name(m, &p, &extended);
    if (is_file) {
        push_param(L, &p, extended);
        push_base_name(L);
        lua_setfield(L, -3, "filename");
        lua_setfield(L, -2, "filename_sent");
    }
    set_type(L, multipart_value(m, SPAN("content-type")), is_file);
    push_headers(L, m);
    lua_setfield(L, -2, "headers");
}

/* next() -> "part", table | "data", bytes | "over" | "end" | "bad", status, reason;
 * nil: it needs more. */
static int next(lua_State *L) {
    struct reader *r = check(L);
    size_t len = 0, used;
    struct span data;
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    const char *bytes = lua_tolstring(L, 2, &len); /* NULL before the first */
    if (r->at >= len) return 0;
    enum multipart_event event =
        multipart_read(&r->m, bytes + r->at, len - r->at, &used, &data);
    r->at += used;
    switch (event) {
    case MULTIPART_MORE: return 0;
    case MULTIPART_PART:
        lua_pushliteral(L, "part");
        push_part(L, &r->m);
        return 2;
    case MULTIPART_DATA:
        lua_pushliteral(L, "data");
        if (data.len == len)
            lua_pushvalue(L, 2);
        else
            lua_pushlstring(L, data.at, data.len);
        return 2;
    case MULTIPART_OVER: lua_pushliteral(L, "over"); return 1;
    case MULTIPART_END: lua_pushliteral(L, "end"); return 1;
    case MULTIPART_BAD: break;
    }
    lua_pushliteral(L, "bad");
    lua_pushinteger(L, r->m.status);
    lua_pushstring(L, r->m.reason);
    return 3;
}

static int collect(lua_State *L) {
    multipart_done(&check(L)->m);
    return 0;
}

int luaopen_atoll_core_multipart(lua_State *L) {
    static const luaL_Reg methods[] = {{"push", push}, {"next", next}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", reader_new},
                                         {"litter", litter_add},
                                         {"keep", litter_keep},
                                         {NULL, NULL}};
    luaL_newmetatable(L, NAME);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
