#include "api/lsock_dgram.h"

#include "api/lsock_inet.h"
#include "base/err.h"

enum { ROOM = 64 * 1024 }; /* the largest of the internet's */

/* Sending. */

int lsock_try_sendto(lua_State *L, struct lsock *s, const struct sockaddr_storage *to,
                     socklen_t len) {
    size_t size;
    const char *data = lua_tolstring(L, 2, &size);
    if (s->wait.fd < 0) return ERR_CLOSED;
    ssize_t n;
    do
        n = sendto(s->wait.fd, data, size, MSG_NOSIGNAL, (const struct sockaddr *)to,
                   len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? lsock_error(errno) : 0;
}

int lsock_datagram_sent(lua_State *L, int err) {
    if (err) return lsock_fail(L, err);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 2));
    return 1;
}

static int send_on(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    bool late = lsock_late(L, status);
    for (;;) {
        int err = lsock_try_sendto(L, s, NULL, 0);
        if (err != -EAGAIN) return lsock_datagram_sent(L, err);
        if (late || !lsock_wait(L, s, EV_WRITE, start, send_on))
            return lsock_fail(L, -ETIMEDOUT);
    }
}

int lsock_send_datagram(lua_State *L, struct lsock *s) {
    luaL_checkstring(L, 2);
    return send_on(L, LUA_OK, lsock_begin(L, s, EV_WRITE));
}

/* Receiving. The stack: the socket, the size. */

struct origin {
    struct sockaddr_storage at;
    socklen_t len;
};

static int take(struct lsock *s, void *to, size_t size, size_t *got,
                struct origin *from) {
    ssize_t n;
    do {
        from->len = sizeof from->at;
        n = recvfrom(s->wait.fd, to, size, 0, (struct sockaddr *)&from->at, &from->len);
    } while (n < 0 && errno == EINTR);
    *got = n < 0 ? 0 : (size_t)n;
    return n < 0 ? lsock_error(errno) : 0;
}

static int push_small(lua_State *L, struct lsock *s, size_t size, struct origin *from) {
    char room[ROOM];
    size_t got;
    int err = take(s, room, size, &got, from);
    if (!err) lua_pushlstring(L, room, got);
    return err;
}

static int push_large(lua_State *L, struct lsock *s, size_t size, struct origin *from) {
    luaL_Buffer b;
    size_t got;
    char *room = luaL_buffinitsize(L, &b, size);
    int err = take(s, room, size, &got, from);
    luaL_pushresultsize(&b, got);
    if (err) lua_pop(L, 1);
    return err;
}

/* Pushes a datagram, after waiting for it: 0, or why there is none. */
static int receive_on(lua_State *L, int status, lua_KContext start, lua_KFunction k,
                      struct origin *from) {
    struct lsock *s = lsock_at(L, 1);
    size_t size = (size_t)lua_tointeger(L, 2);
    bool late = lsock_late(L, status);
    for (;;) {
        if (s->wait.fd < 0) return ERR_CLOSED;
        int err =
            size > ROOM ? push_large(L, s, size, from) : push_small(L, s, size, from);
        if (err != -EAGAIN) return err;
        if (late || !lsock_wait(L, s, EV_READ, start, k)) return -ETIMEDOUT;
    }
}

static lua_KContext check_size(lua_State *L, struct lsock *s) {
    lua_Number n = luaL_optnumber(L, 2, LSOCK_DATAGRAM);
    luaL_argcheck(L, n >= 0 && n <= INT32_MAX, 2, "size out of range");
    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)n);
    return lsock_begin(L, s, EV_READ);
}

static int receive(lua_State *L, int status, lua_KContext start) {
    struct origin from;
    int err = receive_on(L, status, start, receive, &from);
    return err ? lsock_fail(L, err) : 1;
}

int lsock_receive_datagram(lua_State *L, struct lsock *s) {
    return receive(L, LUA_OK, check_size(L, s));
}

static int receivefrom_inet(lua_State *L, int status, lua_KContext start) {
    struct origin from;
    int port, err = receive_on(L, status, start, receivefrom_inet, &from);
    if (err) return lsock_fail(L, err);
    if (!lsock_push_address(L, &from.at, from.len, &port)) return 2;
    lua_pushinteger(L, port);
    return 3;
}

int lsock_receivefrom_inet(lua_State *L, struct lsock *s) {
    return receivefrom_inet(L, LUA_OK, check_size(L, s));
}

/* The path is empty when the sender is not bound. */
static int receivefrom_unix(lua_State *L, int status, lua_KContext start) {
    struct origin from;
    int err = receive_on(L, status, start, receivefrom_unix, &from);
    if (err) return lsock_fail(L, err);
    lsock_push_path(L, &from.at, from.len);
    return 2;
}

int lsock_receivefrom_unix(lua_State *L, struct lsock *s) {
    return receivefrom_unix(L, LUA_OK, check_size(L, s));
}
