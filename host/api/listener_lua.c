#include "api/listener_lua.h"

#include "api/app_lua.h"
#include "api/listening.h"
#include "api/resolve_lua.h"
#include "api/sender_lua.h"
#include "api/timer_lua.h"
#include "api/tls_lua.h"
#include "base/check.h"
#include "base/log.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "net/bind.h"
#include "net/listen.h"
#include "net/stream_tls.h"

#include <lauxlib.h>

enum {
    MAGIC = 0x6c697374,
    ADDRS_MAX = 8,
    BATCH = 64, /* connections that are taken before others have their turn */
};

static const char NAME[] = "atoll.listener";
static const int64_t BACKOFF = CLOCK_SECOND / 10;

struct listener {
    uint32_t magic;
    int fd; /* the clone's; -1 when it is closed or away */
    struct listening *core;
    const void *holder; /* the generation */
    struct fd_wait wait;
    struct waiter pause; /* until there are descriptors again */
    struct waiter closed;
    struct hungry hungry; /* then the pause is over at once */
    struct clone_options how;
    struct trouble trouble;
    bool away; /* transferred, or not yet filled */
};

static const char AWAY[] = "the listener was transferred";

static struct listener *any(lua_State *L, int index) {
    struct listener *l = luaL_checkudata(L, index, NAME);
    MAGIC_CHECK(l, MAGIC);
    return l;
}

static struct listener *check(lua_State *L) {
    struct listener *l = any(L, 1);
    if (l->away) luaL_error(L, "%s", AWAY);
    return l;
}

static void fed(struct hungry *h) {
    sched_wake(&LIST_OF(h, struct listener, hungry)->pause, WAKE_EVENT);
}

static void leave(struct listener *l) {
    list_unlink(&l->hungry.link);
    fd_wait_done(&l->wait);
    l->fd = -1;
}

static int listener_close(lua_State *L) {
    struct listener *l = any(L, 1);
    if (l->fd >= 0) {
        leave(l);
        sched_wake(&l->pause, WAKE_EVENT);
        sched_wake(&l->closed, WAKE_EVENT);
    }
    listening_unref(l->core);
    l->core = NULL;
    l->away = false;
    lua_pushboolean(L, 1);
    return 1;
}

int listener_descriptor(lua_State *L, int index) {
    const struct listener *l = any(L, index);
    if (l->away) luaL_error(L, "%s", AWAY);
    return l->fd;
}

struct tls_ctx *listener_tls(lua_State *L, int index) {
    const struct listening *core = any(L, index)->core;
    return core ? core->tls : NULL;
}

int listener_await_close(lua_State *L, int index, lua_KFunction k,
                         lua_KContext context) {
    return sched_park(L, &any(L, index)->closed, 0, k, context);
}

/* ---- accepting ---- */

/* One connection, or a negative errno. */
static int take_one(struct listener *l) {
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (trouble_ends(&l->trouble)) log_info("accepting connections again");
            if (l->core->options.keepalive)
                socket_keepalive(fd, l->core->options.keepalive);
            return fd;
        }
        /* Errors of one connection's network (accept(2)) are that connection's. */
        switch (errno) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case ENETUNREACH: continue;
        default: return -errno;
        }
    }
}

static bool has_run_out(struct listener *l, int err) {
    if (err != -EMFILE && err != -ENFILE && err != -ENOBUFS && err != -ENOMEM &&
        err != -EPERM)
        return false;
    char text[ADDR_TEXT];
    if (trouble_begins(&l->trouble, clock_ns()))
        log_error("cannot accept connections on %s: %s",
                  addr_text(clone_addr(l->core->clone), text), err_text(err));
    return true;
}

/* Waits for a connection, or after an error for better times. */
static int wait_for(lua_State *L, struct listener *l, int err, int64_t deadline,
                    lua_KFunction k) {
    if (err == -EAGAIN)
        return fd_wait_park(L, &l->wait, EV_READ, deadline, k, (lua_KContext)deadline);
    loop_hunger(sched_of(L)->loop, &l->hungry);
    int64_t until = clock_ns() + BACKOFF;
    if (deadline && deadline < until) until = deadline;
    return sched_park(L, &l->pause, until, k, (lua_KContext)deadline);
}

static int push_socket(lua_State *L, const struct listener *l, int fd) {
    struct sock **box = (struct sock **)lua_touserdata(L, -1);
    if (socket_open(L, box, fd) != 0) return ERR_MEMORY;
    (*box)->line_max = l->core->options.line_max;
    /* The handshake is made with the first read or write, which may wait. */
    struct tls_ctx *tls = l->core->tls;
    if (tls && stream_tls_start(&(*box)->stream, tls, NULL) != 0) {
        sock_close(*box);
        return ERR_MEMORY;
    }
    return 0;
}

static int accepting(lua_State *L, int status, lua_KContext deadline) {
    struct listener *l = check(L);
    bool late = status == LUA_YIELD && deadline && clock_ns() >= deadline;
    if (status == LUA_OK && sched_overstays(L))
        return sched_park(L, NULL, 1, accepting, deadline);
    lua_settop(L, 1);
    socket_push(L); /* before there is a descriptor that could be lost */
    for (;;) {
        if (l->fd < 0) return socket_failure(L, ERR_CLOSED);
        int fd = take_one(l);
        if (fd >= 0)
            return push_socket(L, l, fd) == 0 ? 1 : socket_failure(L, ERR_MEMORY);
        bool block = fd_wait_must_block(L);
        if (fd != -EAGAIN && (block || !has_run_out(l, fd)))
            return socket_failure(L, fd);
        if (late) return socket_timed_out(L);
        if (!block) return wait_for(L, l, fd, deadline, accepting);
        late = !fd_wait_block(L, &l->wait, EV_READ, deadline);
    }
}

static int listener_accept(lua_State *L) {
    check(L);
    return accepting(L, LUA_OK, (lua_KContext)timer_opt_deadline(L, 2));
}

/* ---- serving ---- */

/* The message handler: the text with the traceback. A cancel stays. */
static int describe(lua_State *L) {
    if (sched_is_cancelled(L, 1)) return 1;
    luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

/* At 1 the handler of messages, at 2 the socket, at 3 the error. */
static int served(lua_State *L, int status, lua_KContext context) {
    (void)context;
    socket_shut(L, 2);
    if (status == LUA_OK || status == LUA_YIELD || sched_is_cancelled(L, -1)) return 0;
    const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                     : "(an error without a text)";
    why = lua_pushfstring(L, "a connection's function failed: %s", why);
    log_lines(LEVEL_ERROR, SPAN(""), span_str(why));
    return 0;
}

/* Called with the socket and the function. */
static int serve_one(lua_State *L) {
    lua_pushcfunction(L, describe);
    lua_insert(L, 1);
    lua_pushvalue(L, 2);
    return served(L, lua_pcallk(L, 1, 0, 1, 0, served), 0);
}

/* The socket is on top. */
static int start_one(lua_State *L) {
    struct fiber *f = fiber_new(generation_of(L), FIBER_TASK, NULL, NULL);
    if (!f || !lua_checkstack(f->co, 4)) {
        if (f) fiber_kill(f);
        return ERR_MEMORY;
    }
    lua_pushcfunction(f->co, serve_one);
    lua_pushvalue(L, 2);
    lua_xmove(L, f->co, 2);
    fiber_queue(f, 2);
    return 0;
}

static int serving(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct listener *l = check(L);
    lua_settop(L, 2);
    for (int i = 0; l->fd >= 0; i++) {
        if (i == BATCH) return sched_park(L, NULL, 1, serving, 0);
        socket_push(L);
        int fd = take_one(l), err = fd;
        if (fd >= 0) err = push_socket(L, l, fd);
        if (err == 0) err = start_one(L);
        if (err == 0) continue;
        lua_settop(L, 2); /* a socket that no fiber got is closed by the collector */
        if (err == ERR_MEMORY) err = -ENOMEM;
        if (err != -EAGAIN && !has_run_out(l, err)) return socket_failure(L, err);
        return wait_for(L, l, err, 0, serving);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int listener_serve(lua_State *L) {
    check(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    sched_check_waitable(L);
    return serving(L, LUA_OK, 0);
}

/* ---- listening ---- */

static int listener_name(lua_State *L) {
    const struct listener *l = check(L);
    char text[ADDR_TEXT];
    if (l->fd < 0) return socket_failure(L, ERR_CLOSED);
    lua_pushstring(L, addr_text(clone_addr(l->core->clone), text));
    return 1;
}

static int listener_fd(lua_State *L) {
    const struct listener *l = check(L);
    if (l->fd < 0) return socket_failure(L, ERR_CLOSED);
    lua_pushinteger(L, l->fd);
    return 1;
}

static int listener_text(lua_State *L) {
    const struct listener *l = any(L, 1);
    char text[ADDR_TEXT];
    lua_pushfstring(L, "listener (%s): %p",
                    l->away     ? "transferred"
                    : l->fd < 0 ? "closed"
                                : addr_text(clone_addr(l->core->clone), text),
                    (const void *)l);
    return 1;
}

static struct listener *push_listener(lua_State *L, bool away) {
    struct listener *l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = (struct listener){
        .magic = MAGIC, .fd = -1, .holder = generation_of(L), .away = away};
    l->hungry.fed = fed;
    list_init(&l->hungry.link);
    luaL_setmetatable(L, NAME);
    return l;
}

/* The core listens. */
static void enter(struct listener *l) {
    l->fd = clone_fd(l->core->clone);
    fd_wait_init(&l->wait, l->fd);
}

static int open_listener(lua_State *L, struct listener *l, const struct addr *a) {
    struct generation *g = generation_of(L);
    struct clones *all = app_of(L)->options->clones;
    int err = clone_listen(all, a, &l->how, g, &l->core->clone);
    if (err == 0) enter(l);
    return err;
}

static int listen_failed(lua_State *L, int err, const char *why) {
    luaL_pushfail(L);
    lua_pushfstring(L, "cannot listen on %s: %s", lua_tostring(L, 1), why);
    lua_pushstring(L, err_name(err));
    return 3;
}

static int opened(lua_State *L, int err) {
    if (err) return listen_failed(L, err, err_text(err));
    lua_pushvalue(L, 3);
    return 1;
}

/* Of a name's addresses the first that this machine has. */
static int found(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (q->err) return listen_failed(L, q->err, q->why);
    int err = -EADDRNOTAVAIL;
    for (unsigned i = 0; i < q->count; i++) {
        err = open_listener(L, lua_touserdata(L, 3), &q->list[i]);
        if (err != -EADDRNOTAVAIL && err != -EAFNOSUPPORT) break;
    }
    return opened(L, err);
}

int listener_listen(lua_State *L) {
    static const char *const own[] = {"backlog", "reuseport", "tls", NULL};
    struct addr a;
    char name[ADDR_NAME], why[TLS_WHY];
    uint16_t port;
    lua_Integer backlog = BIND_BACKLOG;
    const char *text = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    struct listener *l = push_listener(L, false);
    if (!(l->core = listening_new())) return budget_raise(L);
    struct socket_options *options = &l->core->options;
    socket_read_options(L, 2, options, own);
    if (!lua_isnil(L, 2)) {
        if (lua_getfield(L, 2, "backlog") != LUA_TNIL)
            backlog = luaL_checkinteger(L, -1);
        lua_getfield(L, 2, "reuseport");
        l->how.reuseport = lua_toboolean(L, -1);
        lua_pop(L, 2);
        if (lua_getfield(L, 2, "tls") != LUA_TNIL) {
            struct tls_ctx *tls = tls_push_ctx(L, lua_gettop(L), TLS_SERVER, why);
            if (!tls) return listen_failed(L, ERR_TLS, why);
            l->core->tls = tls_ctx_ref(tls);
        }
        lua_settop(L, 3);
    }
    if (backlog < 1 || backlog > 65535)
        return luaL_error(L, "backlog is a number from 1 to 65535");
    l->how.backlog = (int)backlog;
    l->how.nodelay = options->nodelay;
    int kind = addr_parse(text, &a, name, &port, why);
    if (kind < 0) return listen_failed(L, kind, why);
    if (kind == 0) return resolve_wait(L, name, AF_UNSPEC, port, 0, found, 0);
    return opened(L, open_listener(L, l, &a));
}

/* ---- in several isolates ---- */

static int listener_reference(lua_State *L) {
    const struct listener *l = check(L);
    if (l->fd < 0) return socket_failure(L, ERR_CLOSED);
    struct listening **r = reference_push(L);
    int err = listening_again(l->core, r, r);
    return err ? socket_failure(L, err) : 1;
}

int listener_clone(lua_State *L) {
    const struct listening *core = reference_check(L, 1);
    if (!core) return socket_failure(L, ERR_CLOSED);
    struct listener *l = push_listener(L, false);
    int err = listening_again(core, l->holder, &l->core);
    if (err) return socket_failure(L, err);
    enter(l);
    return 1;
}

static bool over(void *userdata) {
    const struct listener *l = userdata;
    return !l->away && l->fd < 0;
}

static const char *refuse(void *userdata) {
    const struct listener *l = userdata;
    if (l->away) return AWAY;
    return waiter_is_set(&l->wait.in.waiter) || waiter_is_set(&l->pause) ||
                   waiter_is_set(&l->closed)
               ? "a fiber accepts from the listener"
               : NULL;
}

static void *take(void *userdata) {
    struct listener *l = userdata;
    struct listening *core = l->core;
    leave(l);
    l->core = NULL;
    l->away = true;
    return core;
}

static void make(lua_State *L, void *core) {
    (void)core;
    luaopen_atoll_listener(L);
    push_listener(L, true);
}

static void put(void *userdata, void *core, struct loop *loop) {
    struct listener *l = userdata;
    (void)loop;
    if (!l->away) {
        listening_unref(core);
        return;
    }
    l->core = core;
    l->away = false;
    clone_give(l->core->clone, l->holder);
    enter(l);
}

static void drop(void *core) {
    listening_unref(core);
}

static const struct cargo_kind cargo = {.name = "listener",
                                        .refuse = refuse,
                                        .over = over,
                                        .take = take,
                                        .make = make,
                                        .put = put,
                                        .drop = drop};

static const luaL_Reg methods[] = {
    {"accept", listener_accept},
    {"close", listener_close},
    {"fd", listener_fd},
    {"name", listener_name},
    {"reference", listener_reference},
    {"serve", listener_serve},
    {"transfer", sender_transfer},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", listener_close},
    {"__gc", listener_close},
    {"__tostring", listener_text},
    {NULL, NULL},
};

int luaopen_atoll_listener(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        cargo_mark(L, &cargo);
        luaopen_atoll_socket(L);
        luaopen_atoll_reference(L);
        generation_lets_through(generation_of(L), serve_one);
    }
    lua_pop(L, 1);
    return 0;
}
