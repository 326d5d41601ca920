#include "api/crypto_lua.h"

#include "net/digest.h"

#include <lauxlib.h>

static enum digest check_digest(lua_State *L, int argument) {
    static const char *const names[] = {"md5", "sha1", "sha256", "sha512", NULL};
    return (enum digest)luaL_checkoption(L, argument, NULL, names);
}

static struct span check_bytes(lua_State *L, int argument) {
    struct span s;
    s.at = luaL_checklstring(L, argument, &s.len);
    return s;
}

static int push_digest(lua_State *L, const unsigned char *at, size_t len) {
    if (len == 0) return luaL_error(L, "%s is not available", lua_tostring(L, 1));
    lua_pushlstring(L, (const char *)at, len);
    return 1;
}

/* digest(name, bytes) */
static int digest(lua_State *L) {
    unsigned char out[DIGEST_MAX];
    enum digest d = check_digest(L, 1);
    return push_digest(L, out, digest_of(d, check_bytes(L, 2), out));
}

/* hmac(name, key, bytes) */
static int hmac(lua_State *L) {
    unsigned char out[DIGEST_MAX];
    enum digest d = check_digest(L, 1);
    struct span key = check_bytes(L, 2), bytes = check_bytes(L, 3);
    return push_digest(L, out, digest_hmac(d, key, bytes, out));
}

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* base64(bytes[, bare]): RFC 4648 4; bare leaves out the padding. */
static int base64(lua_State *L) {
    struct span s = check_bytes(L, 1);
    bool bare = lua_toboolean(L, 2);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? (unsigned char)s.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++) {
            if (k <= n)
                luaL_addchar(&b, alphabet[bits >> (18 - 6 * k) & 63]);
            else if (!bare)
                luaL_addchar(&b, '=');
        }
    }
    luaL_pushresult(&b);
    return 1;
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* unbase64(text) -> bytes; nil when it is none. Any padding will do. */
static int unbase64(lua_State *L) {
    struct span s = check_bytes(L, 1);
    size_t len = s.len;
    while (len > 0 && s.at[len - 1] == '=') len--;
    if (len % 4 == 1) {
        luaL_pushfail(L);
        return 1;
    }
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(s.at[i]);
        if (value < 0) {
            luaL_pushfail(L);
            return 1;
        }
        bits = bits << 6 | (unsigned)value;
        if (i % 4 > 0) luaL_addchar(&b, (char)(bits >> (6 - 2 * (i % 4)) & 255));
    }
    luaL_pushresult(&b);
    return 1;
}

static const luaL_Reg functions[] = {
    {"base64", base64},     {"digest", digest}, {"hmac", hmac},
    {"unbase64", unbase64}, {NULL, NULL},
};

int luaopen_atoll_core_crypto(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
