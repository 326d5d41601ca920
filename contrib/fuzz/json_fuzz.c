/* Decodes any bytes, and what comes of it must survive being written and read again;
 * the same bytes as a string are either refused as UTF-8 or come back. The first byte
 * chooses the settings. Build with -fsanitize=fuzzer,address,undefined from base/,
 * codec/, api/json_read.c and api/json_write.c, with Lua. */
#include "api/json_read.h"
#include "api/json_write.h"
#include "isolate/budget.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static const char same[] = "local function same(a, b)\n"
                           "  if a ~= a then return b ~= b end\n"
                           "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
                           "    return a == b and math.type(a) == math.type(b)\n"
                           "  end\n"
                           "  if getmetatable(a) ~= getmetatable(b) then return end\n"
                           "  for k, v in next, a do\n"
                           "    if not same(v, b[k]) then return end\n"
                           "  end\n"
                           "  for k in next, b do\n"
                           "    if a[k] == nil then return end\n"
                           "  end\n"
                           "  return true\n"
                           "end\n"
                           "return same\n";

/* Instead of a state's account: once garbage was collected there is room for all. */
static size_t room = SIZE_MAX;

size_t budget_room(lua_State *L) {
    (void)L;
    return room;
}

void budget_want(lua_State *L, size_t n) {
    (void)L;
    if (n <= room) abort();
    room = SIZE_MAX;
}

struct settings {
    struct json_read_options read;
    struct json_write_options write;
};

static void choose(unsigned char byte, struct settings *to) {
    to->read = json_read_strict;
    to->write = json_write_strict;
    to->read.depth = 100; /* what Lua can compare */
    to->read.invalid = byte & 1;
    to->write.invalid = byte & 1 ? JSON_AS_IS : JSON_REFUSED;
    to->read.array_mt = byte >> 1 & 1;
    to->write.escape_slash = byte >> 2 & 1;
    to->write.mixed = byte >> 3 & 1;
}

static struct span written(lua_State *L, struct buf *b, const struct settings *s) {
    buf_consume(b, buf_len(b));
    if (!json_write(L, -1, b, &s->write)) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return buf_span(b);
}

/* Within limits, and with other settings, it is written or refused. */
static void write_bounded(lua_State *L, struct buf *b, const struct settings *s,
                          unsigned char byte) {
    struct json_write_options o = s->write;
    o.depth = byte & 3;
    o.size = (size_t)1 << (byte >> 2 & 7);
    o.digits = byte >> 5 & 7;
    o.invalid = byte % 3;
    o.sparse_ratio = byte & 1;
    o.sparse_safe = byte & 1;
    o.sparse_convert = byte >> 1 & 1;
    o.empty_array = byte >> 2 & 1;
    o.point = byte >> 3 & 1;
    buf_consume(b, buf_len(b));
    room = byte & 128 ? (size_t)byte & 15 : SIZE_MAX;
    int top = lua_gettop(L);
    if (json_write(L, -1, b, &o)) {
        if (buf_len(b) > o.size) abort();
    } else if (lua_type(L, -1) != LUA_TSTRING || buf_len(b)) {
        abort();
    }
    lua_settop(L, top);
    room = SIZE_MAX;
}

/* With keys and values that no text has, the table on top; metatables let it be. */
static void write_odd(lua_State *L, struct buf *b, const struct settings *s,
                      struct span input) {
    lua_settop(L, lua_gettop(L) - 1);
    for (unsigned char i = 0; i < 8; i++) {
        unsigned char byte = i < input.len ? (unsigned char)input.at[i] : i;
        if (i & 1)
            lua_pushinteger(L, byte);
        else if (byte & 1)
            lua_pushnumber(L, byte + 0.5);
        else
            lua_pushboolean(L, byte & 2);
        if (byte & 4)
            lua_newtable(L);
        else
            lua_pushlightuserdata(L, byte & 8 ? NULL : json_empty_array());
        lua_rawset(L, -3);
        struct settings odd = *s;
        odd.write.mixed = byte & 16;
        write_bounded(L, b, &odd, (unsigned char)(byte * 73));
    }
    lua_pushnil(L);
}

static void expect_same(lua_State *L, int a, int b) {
    lua_pushvalue(L, 1);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1)) abort();
    lua_pop(L, 1);
}

/* Arguments: same, the buffer, the settings, the input as a light span. */
static int run(lua_State *L) {
    struct buf *b = lua_touserdata(L, 2);
    const struct settings *s = lua_touserdata(L, 3);
    const struct span *input = lua_touserdata(L, 4);
    int top = lua_gettop(L);
    if (json_read(L, *input, &s->read)) {
        for (unsigned char i = 0; i < 6 && i < input->len; i++)
            write_bounded(L, b, s, (unsigned char)(input->at[i] * 37));
        written(L, b, s);
        if (!json_read(L, buf_span(b), &s->read)) abort();
        expect_same(L, top + 1, top + 2);
        if (lua_istable(L, top + 1)) write_odd(L, b, s, *input);
    } else if (lua_type(L, -1) != LUA_TSTRING) {
        abort();
    }
    lua_settop(L, top);
    lua_pushlstring(L, input->at, input->len);
    if (!json_write(L, -1, b, &s->write)) return 0;
    lua_pushvalue(L, top + 1);
    if (!json_read(L, written(L, b, s), &s->read)) abort();
    expect_same(L, top + 1, top + 3);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    lua_State *L = luaL_newstate();
    struct settings settings;
    struct buf b;
    /* a copy without anything behind it, so that reading on is seen */
    char *copy = malloc(size > 1 ? size - 1 : 1);
    memcpy(copy, data + 1, size - 1);
    struct span input = span_of(copy, size - 1);
    buf_init(&b);
    choose(data[0], &settings);
    luaL_requiref(L, "_G", luaopen_base, 1);
    luaL_requiref(L, "math", luaopen_math, 1);
    lua_settop(L, 0);
    json_push_array_mt(L);
    lua_pop(L, 1);
    lua_pushcfunction(L, run);
    if (luaL_dostring(L, same)) abort();
    lua_pushlightuserdata(L, &b);
    lua_pushlightuserdata(L, &settings);
    lua_pushlightuserdata(L, &input);
    if (lua_pcall(L, 4, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_close(L);
    buf_reset(&b);
    free(copy);
    return 0;
}
