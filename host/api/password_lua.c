/* atoll.core.password: scrypt on a thread of the pool for what blocks; the Lua half
 * makes texts of it and reads them. The copy of the password does not outlive the call.
 */
#include "api/libs.h"
#include "base/check.h"
#include "base/err.h"
#include "isolate/errand.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "net/scrypt.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x73637279, KEY = 32, SALT_MAX = 64, PASSWORD_MAX = 4096 };

struct call {
    struct errand errand;
    uint32_t magic;
    struct scrypt_cost cost;
    size_t password_len, salt_len;
    char password[PASSWORD_MAX], salt[SALT_MAX];
    unsigned char key[KEY];
    int err;
};

static void drop(struct errand *e) {
    struct call *c = LIST_OF(e, struct call, errand);
    MAGIC_CHECK(c, MAGIC);
    explicit_bzero(c, sizeof *c);
    free(c);
}

static void run(struct errand *e, struct pool_place *place) {
    struct call *c = LIST_OF(e, struct call, errand);
    (void)place;
    c->err = scrypt(span_of(c->password, c->password_len),
                    span_of(c->salt, c->salt_len), &c->cost, c->key, KEY);
}

static int came_back(lua_State *L, int status, lua_KContext err) {
    (void)status;
    struct errand *e = errand_at(L, -1);
    struct call *c = e ? LIST_OF(e, struct call, errand) : NULL;
    if (c && !c->err) {
        lua_pushlstring(L, (const char *)c->key, KEY);
        return 1;
    }
    int why = c ? c->err : (int)err;
    lua_pushnil(L);
    lua_pushstring(L, err_text(why));
    lua_pushstring(L, err_name(why));
    return 3;
}

static uint32_t check_number(lua_State *L, int argument) {
    lua_Integer n = luaL_checkinteger(L, argument);
    return n < 0 || n > INT32_MAX ? 0 : (uint32_t)n;
}

/* possible(log_n, r, p) */
static int possible(lua_State *L) {
    struct scrypt_cost cost = {check_number(L, 1), check_number(L, 2),
                               check_number(L, 3)};
    lua_pushboolean(L, scrypt_possible(&cost));
    return 1;
}

/* scrypt(password, salt, log_n, r, p) -> 32 bytes; nil, message, code */
static int call_scrypt(lua_State *L) {
    size_t n, salt_len;
    const char *password = luaL_checklstring(L, 1, &n);
    const char *salt = luaL_checklstring(L, 2, &salt_len);
    struct scrypt_cost cost = {check_number(L, 3), check_number(L, 4),
                               check_number(L, 5)};
    luaL_argcheck(L, n <= PASSWORD_MAX, 1, "a password of at most 4096 bytes");
    luaL_argcheck(L, salt_len <= SALT_MAX, 2, "a salt of at most 64 bytes");
    luaL_argcheck(L, scrypt_possible(&cost), 3, "a cost within bounds");
    struct errand **handle = errand_push(L);
    struct call *c = calloc(1, sizeof *c);
    if (!c) return budget_raise(L);
    c->magic = MAGIC;
    c->errand.run = run;
    c->errand.drop = drop;
    *handle = &c->errand;
    c->cost = cost;
    c->password_len = n;
    c->salt_len = salt_len;
    memcpy(c->password, password, n);
    memcpy(c->salt, salt, salt_len);
    const struct generation *g = generation_of(L);
    return errand_run(L, g->isolate ? g->isolate->blocking : NULL, came_back);
}

int luaopen_atoll_core_password(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"possible", possible}, {"scrypt", call_scrypt}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
