/* Unpacks any bytes; what comes of it must survive being packed and unpacked again, and
 * is refused, by its path, with a function in it.
 * Build with -fsanitize=fuzzer,address,undefined from base/ and isolate/pack.c, with
 * Lua. */
#include "isolate/pack.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY_MAX = 64 * 1024 * 1024 };

static void *limited(void *data, void *block, size_t old_size, size_t new_size) {
    size_t *used = data;
    if (!block) old_size = 0;
    if (new_size > old_size && *used + new_size - old_size > MEMORY_MAX) return NULL;
    *used += new_size - old_size;
    if (new_size) return realloc(block, new_size);
    free(block);
    return NULL;
}

static int read_only(lua_State *L) {
    const struct span *input = lua_touserdata(L, 1);
    return pack_read(L, *input);
}

/* Arguments: the value and the buffer. */
static int write_only(lua_State *L) {
    return pack_write(L, 1, lua_touserdata(L, 2));
}

/* Arguments: a table, which gets a function, and the buffer. */
static int write_function(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, write_only);
    lua_setfield(L, -2, "fn");
    lua_rawseti(L, 1, 3);
    lua_pushboolean(L, true);
    lua_newtable(L);
    lua_pushcfunction(L, write_only);
    lua_rawseti(L, -2, 7);
    lua_rawset(L, 1);
    return pack_write_named(L, 1, "state", lua_touserdata(L, 2));
}

static void refuse(lua_State *L, struct buf *b) {
    lua_pushcfunction(L, write_function);
    lua_insert(L, 1);
    lua_settop(L, 2);
    lua_pushlightuserdata(L, b);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) abort();
    const char *why = lua_tostring(L, -1);
    if (!strstr(why, "a function cannot be sent") && !strstr(why, "too deep") &&
        !strstr(why, "not enough memory"))
        abort();
    if (strstr(why, "cannot be sent") && strncmp(why, "state", 5) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t used = 0;
    lua_State *L = lua_newstate(limited, &used);
    struct buf b;
    /* a copy without anything behind it, so that reading on is seen */
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    struct span input = span_of(copy, size);
    buf_init(&b);
    lua_pushcfunction(L, read_only);
    lua_pushlightuserdata(L, &input);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        int type = lua_type(L, 1);
        lua_pushcfunction(L, write_only);
        lua_insert(L, 1);
        lua_pushlightuserdata(L, &b);
        if (lua_pcall(L, 2, 0, 0) == LUA_OK) {
            input = buf_span(&b);
            lua_pushcfunction(L, read_only);
            lua_pushlightuserdata(L, &input);
            int status = lua_pcall(L, 1, 1, 0);
            if (status == LUA_ERRRUN || (status == LUA_OK && lua_type(L, -1) != type))
                abort();
            struct span text;
            bool is_string = pack_is_string(buf_span(&b), &text);
            if (is_string != (type == LUA_TSTRING)) abort();
            char head[PACK_TEXT_HEAD];
            size_t n = is_string ? pack_text_head(text.len, head) : 0;
            if (is_string &&
                (n + text.len != buf_len(&b) || memcmp(head, buf_span(&b).at, n) != 0))
                abort();
            lua_settop(L, 1);
            if (status == LUA_OK && type == LUA_TTABLE) refuse(L, &b);
        } else if (!strstr(lua_tostring(L, -1), "too deep") && /* by another way */
                   !strstr(lua_tostring(L, -1), "not enough memory")) {
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
            abort();
        }
    } else if (lua_type(L, -1) != LUA_TSTRING) {
        abort();
    }
    lua_close(L);
    buf_reset(&b);
    free(copy);
    return 0;
}
