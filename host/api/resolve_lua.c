#include "api/resolve_lua.h"

#include "api/timer_lua.h"
#include "base/check.h"
#include "base/err.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <string.h>

static const char QUESTION[] = "atoll.question";

enum { MAGIC = 0x71756572 };

struct question {
    uint32_t magic;
    struct resolve_query query;
    struct waiter waiter;
};

static void done(struct resolve_query *q, int err) {
    (void)err; /* it is in the query, too */
    sched_wake(&LIST_OF(q, struct question, query)->waiter, WAKE_EVENT);
}

static int collect(lua_State *L) {
    struct question *u = lua_touserdata(L, 1);
    resolve_cancel(&u->query);
    return 0;
}

static struct question *push_question(lua_State *L) {
    struct question *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (struct question){.magic = MAGIC, .query.done = done};
    list_init(&u->query.link);
    if (luaL_newmetatable(L, QUESTION)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return u;
}

static void fail(struct resolve_query *q, int err) {
    q->err = err;
    q->why = err_text(err);
    q->count = 0;
}

int resolve_wait(lua_State *L, const char *name, int family, uint16_t port,
                 int64_t deadline, lua_KFunction k, lua_KContext context) {
    struct question *u = push_question(L);
    struct resolve_query *q = &u->query;
    struct generation *g = generation_of(L);
    struct resolver *r = g->isolate ? isolate_resolver(g->isolate) : NULL;
    if (resolve_at_once(r, q, name, family, port)) return k(L, LUA_OK, context);
    if (fd_wait_must_block(L)) {
        fd_wait_say_blocks(L);
        resolve_now(&g->plan->names, q, name, family, port, deadline);
        return k(L, LUA_OK, context);
    }
    sched_check_waitable(L);
    int err = r ? resolve_start(r, q, name, family, port) : -ENOMEM;
    if (!err) return sched_park(L, &u->waiter, deadline, k, context);
    fail(q, err);
    return k(L, LUA_OK, context);
}

const struct resolve_query *resolve_result(lua_State *L, int index, int status) {
    struct question *u = lua_touserdata(L, index);
    MAGIC_CHECK(u, MAGIC);
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT) {
        resolve_cancel(&u->query);
        fail(&u->query, -ETIMEDOUT);
        u->query.why = "timed out";
    }
    return &u->query;
}

int resolve_failed(lua_State *L, const struct resolve_query *q) {
    luaL_pushfail(L);
    lua_pushstring(L, q->why);
    lua_pushstring(L, err_name(q->err));
    return 3;
}

int resolve_check_family(lua_State *L, int index) {
    if (lua_isnil(L, index)) return AF_UNSPEC;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    if (strcmp(text, "inet") == 0) return AF_INET;
    if (strcmp(text, "inet6") == 0) return AF_INET6;
    return luaL_error(L, "family must be 'inet' or 'inet6', not %s",
                      *text ? lua_pushfstring(L, "'%s'", text)
                            : luaL_typename(L, index));
}

static int64_t check_timeout(lua_State *L, int index) {
    if (lua_isnil(L, index)) return 0;
    if (lua_type(L, index) != LUA_TNUMBER || !(lua_tonumber(L, index) >= 0))
        luaL_error(L, "timeout must be a number of seconds, not negative");
    return timer_check_deadline(L, index);
}

static int resolved(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return resolve_failed(L, q);
    lua_createtable(L, (int)q->count, 0);
    for (unsigned i = 0; i < q->count; i++) {
        char text[ADDR_TEXT];
        lua_pushstring(L, addr_host(&q->list[i], text));
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

int resolve_lua(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    int family = AF_UNSPEC;
    int64_t deadline = 0;
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_getfield(L, 2, "family");
        family = resolve_check_family(L, 3);
        lua_getfield(L, 2, "timeout");
        deadline = check_timeout(L, 4);
    }
    /* A name with a NUL inside is none; cut off there it would be another. */
    if (strlen(name) != len) name = "";
    return resolve_wait(L, name, family, 0, deadline, resolved, 0);
}
