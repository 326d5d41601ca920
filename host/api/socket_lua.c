#include "api/socket_lua.h"

#include "api/buffer_lua.h"
#include "api/sender_lua.h"
#include "api/socket_read_lua.h"
#include "api/timer_lua.h"
#include "api/tls_lua.h"
#include "isolate/fd_wait.h"
#include "isolate/isolate.h"
#include "net/addr.h"
#include "net/bind.h"
#include "net/stream_tls.h"

#include <lauxlib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "atoll.socket", WAIT[] = "atoll.socket.wait";

struct box {
    struct sock *sock; /* NULL when it is closed or away */
    bool away;         /* transferred, or not yet filled */
};

static const char AWAY[] = "the socket was transferred";

static struct box *push_box(lua_State *L, bool away) {
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (struct box){.away = away};
    luaL_setmetatable(L, NAME);
    return b;
}

struct sock **socket_push(lua_State *L) {
    return &push_box(L, false)->sock;
}

int socket_open(lua_State *L, struct sock **box, int fd) {
    struct sched *sched = sched_of(L);
    *box = sock_new(sched ? sched->loop : NULL, fd);
    if (!*box) return ERR_MEMORY;
    (*box)->handle = box;
    return 0;
}

struct sock *socket_check(lua_State *L, int index) {
    struct box *b = luaL_checkudata(L, index, NAME);
    if (b->away) luaL_error(L, "%s", AWAY);
    struct sock *s = b->sock;
    struct sched *sched = sched_of(L);
    if (s && sched) sock_attach(s, sched->loop);
    return s;
}

struct sock **socket_box(lua_State *L, int index) {
    return &((struct box *)luaL_checkudata(L, index, NAME))->sock;
}

int socket_gone(lua_State *L, int index) {
    const struct box *b = lua_touserdata(L, index);
    return b->away ? luaL_error(L, "%s", AWAY) : socket_failure(L, ERR_CLOSED);
}

int socket_failure(lua_State *L, int err) {
    luaL_pushfail(L);
    lua_pushstring(L, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

int socket_broken(lua_State *L, const struct sock *s, int err) {
    bool told = stream_is_tls(&s->stream) && (err == ERR_TLS || err == ERR_TRUNCATED);
    if (!told) return socket_failure(L, err);
    luaL_pushfail(L);
    lua_pushstring(L, stream_tls_why(&s->stream));
    lua_pushstring(L, err_name(err));
    return 3;
}

int socket_timed_out(lua_State *L) {
    luaL_pushfail(L);
    lua_pushliteral(L, "timed out");
    lua_pushstring(L, err_name(ETIMEDOUT));
    return 3;
}

int64_t socket_deadline(lua_State *L, const struct sock *s, int argument) {
    if (!lua_isnoneornil(L, argument)) return timer_check_deadline(L, argument);
    if (!s || s->timeout == SOCK_FOREVER) return 0;
    return s->timeout == 0 ? 1 : clock_ns() + s->timeout;
}

/* ---- options ---- */

static const char *const option_names[] = {"keepalive", "line_max", "nodelay", NULL};

static bool among(const char *const *names, const char *name) {
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0) return true;
    return false;
}

static int keepalive_of(lua_State *L, int index) {
    if (!lua_isnumber(L, index)) return lua_toboolean(L, index) ? SOCKET_KEEPALIVE : 0;
    lua_Number seconds = lua_tonumber(L, index);
    if (!(seconds >= 1 && seconds <= 32767))
        luaL_error(L, "keepalive is a boolean, or from 1 to 32767 seconds");
    return (int)seconds;
}

void socket_read_options(lua_State *L, int index, struct socket_options *o,
                         const char *const *own) {
    *o = (struct socket_options){.line_max = SOCK_LINE_MAX, .nodelay = true};
    if (lua_isnoneornil(L, index)) return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (!among(option_names, name) && !among(own, name))
            luaL_error(L, "unknown option '%s'", name);
        lua_pop(L, 1);
    }
    if (lua_getfield(L, index, "nodelay") != LUA_TNIL)
        o->nodelay = lua_toboolean(L, -1);
    lua_getfield(L, index, "keepalive");
    o->keepalive = keepalive_of(L, -1);
    if (lua_getfield(L, index, "line_max") != LUA_TNIL) {
        lua_Integer n = luaL_checkinteger(L, -1);
        if (n < 1 || n > (lua_Integer)BUF_MAX / 2)
            luaL_error(L, "line_max is a number of bytes");
        o->line_max = (uint32_t)n;
    }
    lua_pop(L, 3);
}

static int set_keepalive(int fd, int seconds) {
    int err = bind_option(fd, SOL_SOCKET, SO_KEEPALIVE, seconds != 0);
    if (err || seconds <= 0) return err;
    err = bind_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    return err ? err : bind_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
}

void socket_keepalive(int fd, int seconds) {
    set_keepalive(fd, seconds);
}

static int socket_setoption(lua_State *L) {
    static const char *const names[] = {"keepalive", "nodelay", "rcvbuf", "sndbuf",
                                        NULL};
    struct sock *s = socket_check(L, 1);
    int which = luaL_checkoption(L, 2, NULL, names), err;
    luaL_checkany(L, 3);
    int value = which >= 2 ? (int)luaL_checkinteger(L, 3) : lua_toboolean(L, 3);
    int seconds = which == 0 ? keepalive_of(L, 3) : 0;
    if (!s) return socket_failure(L, ERR_CLOSED);
    int fd = stream_fd(&s->stream);
    switch (which) {
    case 0: err = set_keepalive(fd, seconds); break;
    case 1: err = bind_option(fd, IPPROTO_TCP, TCP_NODELAY, value); break;
    case 2: err = bind_option(fd, SOL_SOCKET, SO_RCVBUF, value); break;
    default: err = bind_option(fd, SOL_SOCKET, SO_SNDBUF, value); break;
    }
    if (err) return socket_failure(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

int64_t socket_check_timeout(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return SOCK_FOREVER;
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0, index, "seconds must not be negative or NaN");
    return seconds < 1e9 ? (int64_t)(seconds * (double)CLOCK_SECOND) : SOCK_FOREVER;
}

static int socket_settimeout(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    int64_t timeout = socket_check_timeout(L, 2);
    if (s) s->timeout = timeout;
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- writing ---- */

/* At index 1 the socket, at 2 how many bytes may stay unsent. */
static int sent(lua_State *L, int status, lua_KContext deadline) {
    bool late = status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
    size_t mark = (size_t)lua_tointeger(L, 2);
    for (;;) {
        struct sock *s = *(struct sock **)lua_touserdata(L, 1);
        if (!s) return socket_gone(L, 1);
        if (s->stream.broken) return socket_broken(L, s, -s->stream.error);
        if (stream_unsent(&s->stream) <= mark) {
            lua_pushboolean(L, 1);
            return 1;
        }
        if (late) return socket_timed_out(L);
        if (!fd_wait_must_block(L)) {
            sched_check_waitable(L);
            lua_settop(L, 2);
            struct sock_wait *w = lua_newuserdatauv(L, sizeof *w, 0);
            *w = (struct sock_wait){.mark = mark};
            list_init(&w->link);
            luaL_setmetatable(L, WAIT);
            stream_full(&s->stream);
            list_append(&s->writers, &w->link);
            return sched_park(L, &w->waiter, deadline, sent, deadline);
        }
        struct fd_wait wait;
        fd_wait_init(&wait, stream_fd(&s->stream));
        int events = s->stream.write_needs_read ? EV_READ : EV_WRITE;
        late = !fd_wait_block(L, &wait, events, deadline);
        sock_flush(s);
    }
}

static int wait_gc(lua_State *L) {
    struct sock_wait *w = luaL_checkudata(L, 1, WAIT);
    list_unlink(&w->link);
    return 0;
}

static int wait_sent(lua_State *L, size_t mark, int64_t deadline) {
    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)mark);
    return sent(L, LUA_OK, (lua_KContext)deadline);
}

static enum io write_all(lua_State *L, struct sock *s, int top) {
    for (int next = 2; next <= top;) {
        struct iovec pieces[STREAM_PIECES];
        size_t total = 0;
        int count = 0;
        for (; count < STREAM_PIECES && next <= top; next++) {
            struct span piece = SPAN("");
            buffer_bytes(L, next, &piece);
            if (piece.len)
                pieces[count++] =
                    (struct iovec){(void *)(uintptr_t)piece.at, piece.len};
            total += piece.len;
        }
        if (count && sock_write(s, pieces, count, total) == IO_FAIL) return IO_FAIL;
    }
    return IO_OK;
}

static int written(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_pushboolean(L, 1);
    return 1;
}

/* Numbers become texts. */
static size_t check_pieces(lua_State *L, int top) {
    size_t all = 0;
    for (int i = 2; i <= top; i++) all += buffer_check_bytes(L, i).len;
    return all;
}

static int socket_write(lua_State *L) {
    struct sock **box = lua_touserdata(L, 1), *s = socket_check(L, 1);
    int top = lua_gettop(L);
    size_t all = check_pieces(L, top);
    /* Behind so much nothing is sent at once. */
    if (s && stream_unsent(&s->stream) >= STREAM_HIGH) s = sock_account(L, box, all);
    if (!s || s->half) return socket_failure(L, ERR_CLOSED);
    if (write_all(L, s, top) == IO_FAIL) return socket_broken(L, s, -s->stream.error);
    s = sock_account(L, box, 0);
    if (!s) return socket_gone(L, 1);
    if (stream_unsent(&s->stream) >= STREAM_HIGH || !s->stream.loop)
        return wait_sent(L, s->stream.loop ? STREAM_LOW : 0,
                         socket_deadline(L, s, top + 1));
    if (sched_overstays(L)) return sched_park(L, NULL, 1, written, 0);
    return written(L, LUA_OK, 0);
}

static int socket_flush(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    int64_t deadline = socket_deadline(L, s, 2);
    if (s) sock_flush(s);
    return wait_sent(L, 0, deadline);
}

/* ---- the end ---- */

static int socket_shutdown(lua_State *L) {
    static const char *const names[] = {"both", "read", "write", NULL};
    struct sock *s = socket_check(L, 1);
    int which = luaL_checkoption(L, 2, "both", names);
    if (!s) return socket_failure(L, ERR_CLOSED);
    if (which != 2) {
        s->eof = true;
        sched_wake(&s->reader, WAKE_EVENT);
    }
    if (which != 1) sock_half_close(s);
    lua_pushboolean(L, 1);
    return 1;
}

void socket_shut(lua_State *L, int index) {
    struct box *b = luaL_checkudata(L, index, NAME);
    struct sock *s = b->away ? NULL : socket_check(L, index);
    b->away = false;
    if (s) sock_close(s);
}

static int socket_close(lua_State *L) {
    socket_shut(L, 1);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- another isolate's ---- */

static bool over(void *userdata) {
    const struct box *b = userdata;
    return !b->away && !b->sock;
}

static const char *refuse(void *userdata) {
    const struct box *b = userdata;
    const struct sock *s = b->sock;
    if (b->away) return AWAY;
    if (sock_is_awaited(s)) return "a fiber waits to write to the socket";
    if (!waiter_is_set(&s->reader)) return NULL;
    return stream_is_tls(&s->stream) && !stream_tls_is_made(&s->stream)
               ? "the socket is in the middle of its TLS handshake"
               : "a fiber reads from the socket";
}

static void *take(void *userdata) {
    struct box *b = userdata;
    struct sock *s = b->sock;
    sock_leave(s);
    b->away = true;
    return s;
}

static void make(lua_State *L, void *core) {
    (void)core;
    luaopen_atoll_socket(L);
    push_box(L, true);
}

static void put(void *userdata, void *core, struct loop *l) {
    struct box *b = userdata;
    if (!b->away) {
        sock_drop(core);
        return;
    }
    *b = (struct box){core, false};
    b->sock->handle = &b->sock;
    if (l) sock_attach(b->sock, l);
}

static void drop(void *core) {
    sock_drop(core);
}

static const struct cargo_kind cargo = {.name = "socket",
                                        .refuse = refuse,
                                        .over = over,
                                        .take = take,
                                        .make = make,
                                        .put = put,
                                        .drop = drop};

/* ---- what it is ---- */

static int push_name(lua_State *L, int (*get)(int fd, struct addr *out)) {
    struct sock *s = socket_check(L, 1);
    struct addr a;
    char text[ADDR_TEXT];
    if (!s) return socket_failure(L, ERR_CLOSED);
    int err = get(stream_fd(&s->stream), &a);
    if (err) return socket_failure(L, err);
    lua_pushstring(L, addr_text(&a, text));
    return 1;
}

static int socket_name(lua_State *L) {
    return push_name(L, addr_of_socket);
}

static int socket_peer(lua_State *L) {
    return push_name(L, addr_of_peer);
}

static int socket_buffered(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    lua_pushinteger(L, s ? (lua_Integer)buf_len(&s->in) : 0);
    return 1;
}

static int socket_fd(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    if (!s) return socket_failure(L, ERR_CLOSED);
    lua_pushinteger(L, stream_fd(&s->stream));
    return 1;
}

static int socket_text(lua_State *L) {
    const struct box *b = luaL_checkudata(L, 1, NAME);
    const struct sock *s = b->sock;
    if (b->away)
        lua_pushliteral(L, "socket (transferred)");
    else if (s)
        lua_pushfstring(L, "socket (%d): %p", stream_fd(&s->stream), (const void *)s);
    else
        lua_pushliteral(L, "socket (closed)");
    return 1;
}

static const luaL_Reg methods[] = {
    {"buffered", socket_buffered},
    {"close", socket_close},
    {"fd", socket_fd},
    {"flush", socket_flush},
    {"lines", socket_lines},
    {"name", socket_name},
    {"peer", socket_peer},
    {"read", socket_read},
    {"read_until", socket_read_until},
    {"setoption", socket_setoption},
    {"settimeout", socket_settimeout},
    {"shutdown", socket_shutdown},
    {"starttls", tls_starttls},
    {"tls", tls_facts},
    {"transfer", sender_transfer},
    {"write", socket_write},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", socket_close},
    {"__gc", socket_close},
    {"__tostring", socket_text},
    {NULL, NULL},
};

int luaopen_atoll_socket(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        generation_lets_through(generation_of(L), tls_starttls);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        cargo_mark(L, &cargo);
        luaL_newmetatable(L, WAIT);
        lua_pushcfunction(L, wait_gc);
        lua_setfield(L, -2, "__gc");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return 0;
}
