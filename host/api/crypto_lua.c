#include "api/crypto_lua.h"

#include "base/err.h"
#include "net/digest.h"
#include "net/seal.h"

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

/* ---- secrets ---- */

enum { RANDOM_MAX = 1 << 20 };

static int failure(lua_State *L, int err) {
    lua_pushnil(L);
    lua_pushstring(L, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

/* random(n) -> n bytes */
static int random_bytes(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= RANDOM_MAX, 1, "a number of bytes, at most 1 MiB");
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, (size_t)n);
    int err = seal_random((unsigned char *)to, (size_t)n);
    if (err) return luaL_error(L, "no random bytes: %s", err_text(err));
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* equal(a, b): without telling where they differ. */
static int equal(lua_State *L) {
    lua_pushboolean(L, seal_equal(check_bytes(L, 1), check_bytes(L, 2)));
    return 1;
}

/* seal(secret, context, bytes) -> sealed; nil, message, code */
static int seal_bytes(lua_State *L) {
    struct span secret = check_bytes(L, 1), context = check_bytes(L, 2);
    struct span bytes = check_bytes(L, 3);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, bytes.len + SEAL_OVERHEAD);
    int err = seal(secret, context, bytes, (unsigned char *)to);
    if (err) return failure(L, err);
    luaL_pushresultsize(&b, bytes.len + SEAL_OVERHEAD);
    return 1;
}

/* open(secret, context, sealed) -> bytes; nil, message, code */
static int open_bytes(lua_State *L) {
    struct span secret = check_bytes(L, 1), context = check_bytes(L, 2);
    struct span sealed = check_bytes(L, 3);
    if (sealed.len < SEAL_OVERHEAD) return failure(L, ERR_SYNTAX);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, sealed.len);
    int err = seal_open(secret, context, sealed, (unsigned char *)to);
    if (err) return failure(L, err);
    luaL_pushresultsize(&b, sealed.len - SEAL_OVERHEAD);
    return 1;
}

/* mask(a, b): each byte of a xor that of b; they are equally long. */
static int mask(lua_State *L) {
    struct span a = check_bytes(L, 1), with = check_bytes(L, 2);
    luaL_argcheck(L, a.len == with.len, 2, "as many bytes");
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, a.len);
    for (size_t i = 0; i < a.len; i++) to[i] = (char)(a.at[i] ^ with.at[i]);
    luaL_pushresultsize(&b, a.len);
    return 1;
}

/* hex(bytes) */
static int hex(lua_State *L) {
    static const char digits[] = "0123456789abcdef";
    struct span s = check_bytes(L, 1);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, 2 * s.len);
    for (size_t i = 0; i < s.len; i++) {
        to[2 * i] = digits[(unsigned char)s.at[i] >> 4];
        to[2 * i + 1] = digits[s.at[i] & 15];
    }
    luaL_pushresultsize(&b, 2 * s.len);
    return 1;
}

/* ---- base64 ---- */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int encode(lua_State *L, const char *letters, bool bare) {
    struct span s = check_bytes(L, 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? (unsigned char)s.at[i + k] : 0);
        for (size_t k = 0; k < 4; k++) {
            if (k <= n)
                luaL_addchar(&b, letters[bits >> (18 - 6 * k) & 63]);
            else if (!bare)
                luaL_addchar(&b, '=');
        }
    }
    luaL_pushresult(&b);
    return 1;
}

/* base64(bytes[, bare]): RFC 4648 4; bare leaves out the padding. */
static int base64(lua_State *L) {
    return encode(L, alphabet, lua_toboolean(L, 2));
}

/* RFC 4648 5, without padding. */
static int base64url(lua_State *L) {
    return encode(L, url_alphabet, true);
}

static int value_of(char c, const char *letters) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == letters[62] ? 62 : c == letters[63] ? 63 : -1;
}

static int decode(lua_State *L, const char *letters, bool exact) {
    struct span s = check_bytes(L, 1);
    size_t len = s.len;
    while (!exact && len > 0 && s.at[len - 1] == '=') len--;
    if (len % 4 == 1) {
        luaL_pushfail(L);
        return 1;
    }
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(s.at[i], letters);
        if (value < 0) {
            luaL_pushfail(L);
            return 1;
        }
        bits = bits << 6 | (unsigned)value;
        if (i % 4 > 0) luaL_addchar(&b, (char)(bits >> (6 - 2 * (i % 4)) & 255));
    }
    /* Else several texts would mean the same. */
    if (exact && len % 4 && bits & (len % 4 == 2 ? 15u : 3u)) {
        luaL_pushfail(L);
        return 1;
    }
    luaL_pushresult(&b);
    return 1;
}

/* unbase64(text) -> bytes; nil when it is none. Any padding will do. */
static int unbase64(lua_State *L) {
    return decode(L, alphabet, false);
}

/* The one text that base64url gives; nil for any other. */
static int unbase64url(lua_State *L) {
    return decode(L, url_alphabet, true);
}

static const luaL_Reg functions[] = {
    {"base64", base64},     {"digest", digest},       {"equal", equal},
    {"hex", hex},           {"hmac", hmac},           {"mask", mask},
    {"open", open_bytes},   {"random", random_bytes}, {"seal", seal_bytes},
    {"unbase64", unbase64}, {"base64url", base64url}, {"unbase64url", unbase64url},
    {NULL, NULL},
};

int luaopen_atoll_core_crypto(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
