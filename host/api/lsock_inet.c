#include "api/lsock_inet.h"

#include "api/resolve_lua.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* What an operation knows from wait to wait; a userdata, right below the query. */
struct dial {
    int type;
    int family; /* that it had before */
    lsock_done *done;
    unsigned at;  /* the address to try next */
    bool fresh;   /* the descriptor was made here */
    bool pending; /* the kernel is connecting it */
    int err;      /* of the last address */
};

static struct dial *push_dial(lua_State *L, const struct lsock *s, int type,
                              lsock_done *done) {
    struct dial *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct dial){.type = type, .family = s->family, .done = done};
    return d;
}

int lsock_port(const char *text, int type) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end != text && *end == 0) return n >= 0 && n <= UINT16_MAX ? (int)n : -1;
    char room[1024];
    struct servent entry, *found = NULL;
    getservbyname_r(text, type == SOCK_STREAM ? "tcp" : "udp", &entry, room,
                    sizeof room, &found);
    return found ? ntohs((uint16_t)found->s_port) : -1;
}

/* The address for which the query has ended, or why it has none. */
static int query_error(lua_State *L, const struct resolve_query *q, int status) {
    switch (q->err) {
    case 0:
    case ERR_NOT_FOUND:
    case -ENOMEM: return q->err == -ENOMEM ? ERR_MEMORY : q->err;
    case -ETIMEDOUT: return lsock_late(L, status) ? -ETIMEDOUT : -EAGAIN;
    default: return -EAGAIN; /* the servers do not answer as they should */
    }
}

/* Connecting. */

static int finish(lua_State *L, struct lsock *s, struct dial *d, int err) {
    /* The next attempt is free to choose again, unless this one is still going on. */
    if (err && lsock_may_wait(s)) s->family = d->family;
    return d->done(L, err);
}

static int begin(struct lsock *s, struct dial *d, const struct addr *to) {
    int family = to->at.ss_family;
    if (s->wait.fd < 0 || s->family != family || d->fresh) {
        int err = lsock_open(s, family, d->type);
        if (err) return err;
        d->fresh = true;
    }
    if (connect(s->wait.fd, (const struct sockaddr *)&to->at, to->len) == 0) return 0;
    return errno == EINTR ? -EINPROGRESS : -errno;
}

static int outcome(const struct lsock *s) {
    int error = 0;
    socklen_t size = sizeof error;
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    struct pollfd p = {.fd = s->wait.fd, .events = POLLOUT};
    if (s->wait.fd < 0) return ERR_CLOSED;
    bool decided = poll(&p, 1, 0) > 0;
    if (getsockopt(s->wait.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
    if (error) return -error;
    if (getpeername(s->wait.fd, (struct sockaddr *)&peer, &len) == 0) return 0;
    /* Its error may have been told to another who asked, but once only. */
    return errno == ENOTCONN && !decided ? -EINPROGRESS : -errno;
}

static int dial(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    struct dial *d = lua_touserdata(L, -2);
    const struct resolve_query *q = resolve_result(L, -1, LUA_OK);
    bool late = lsock_late(L, status);
    for (;;) {
        if (!d->pending && d->at == q->count) return finish(L, s, d, d->err);
        d->err = d->pending ? outcome(s) : begin(s, d, &q->list[d->at++]);
        d->pending = d->err == -EINPROGRESS;
        if (d->pending) {
            if (!late && lsock_wait(L, s, EV_WRITE, start, dial)) continue;
            d->err = -ETIMEDOUT;
            d->pending = late = false;
            if (!d->fresh) return finish(L, s, d, d->err);
        }
        int64_t deadline;
        if (d->err == 0 || d->err == ERR_CLOSED || !lsock_deadline(s, start, &deadline))
            return finish(L, s, d, d->err);
    }
}

static int resolved(lua_State *L, int status, lua_KContext start) {
    const struct resolve_query *q = resolve_result(L, -1, status);
    if (!q->err) return dial(L, LUA_OK, start);
    struct dial *d = lua_touserdata(L, -2);
    return d->done(L, query_error(L, q, status));
}

static int64_t query_deadline(const struct lsock *s, int64_t start) {
    int64_t deadline;
    return lsock_deadline(s, start, &deadline) ? deadline : 0;
}

int lsock_connect(lua_State *L, const char *host, const char *port, int type,
                  lsock_done *done) {
    struct lsock *s = lsock_at(L, 1);
    lua_KContext start = lsock_begin(L, s, EV_WRITE);
    int number = lsock_port(port, type);
    if (number < 0) return done(L, -ESOCKTNOSUPPORT);
    push_dial(L, s, type, done);
    return resolve_wait(L, host, s->family, (uint16_t)number, query_deadline(s, start),
                        resolved, start);
}

/* Binding. */

static int bind_to(struct lsock *s, int type, const struct addr *to) {
    int family = to->at.ss_family;
    if (s->wait.fd < 0 || s->family != family) {
        int err = lsock_open(s, family, type);
        if (err) return err;
    }
    if (bind(s->wait.fd, (const struct sockaddr *)&to->at, to->len) == 0) return 0;
    return -errno;
}

static int bind_any(struct lsock *s, int type, int port) {
    struct addr v4 = {.len = sizeof(struct sockaddr_in)};
    struct addr v6 = {.len = sizeof(struct sockaddr_in6)};
    *(struct sockaddr_in *)&v4.at =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    *(struct sockaddr_in6 *)&v6.at = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int err = -EAFNOSUPPORT;
    if (s->family != AF_INET6) err = bind_to(s, type, &v4);
    if (err && s->family != AF_INET) err = bind_to(s, type, &v6);
    return err;
}

static int bind_resolved(lua_State *L, int status, lua_KContext start) {
    (void)start;
    struct lsock *s = lsock_at(L, 1);
    struct dial *d = lua_touserdata(L, -2);
    const struct resolve_query *q = resolve_result(L, -1, status);
    int err = query_error(L, q, status);
    for (unsigned i = 0; i < q->count; i++) {
        err = bind_to(s, d->type, &q->list[i]);
        if (!err) break;
    }
    return d->done(L, err);
}

int lsock_bind(lua_State *L, const char *host, const char *port, int type,
               lsock_done *done) {
    struct lsock *s = lsock_at(L, 1);
    lua_KContext start = lsock_begin(L, s, EV_READ);
    int number = lsock_port(port, type);
    if (number < 0) return done(L, -ESOCKTNOSUPPORT);
    if (strcmp(host, "*") == 0) return done(L, bind_any(s, type, number));
    push_dial(L, s, type, done);
    return resolve_wait(L, host, s->family, (uint16_t)number, query_deadline(s, start),
                        bind_resolved, start);
}

/* Addresses as text. */

int lsock_literal(const char *host, const char *port, int family,
                  struct sockaddr_storage *to, socklen_t *len) {
    struct addrinfo *found, hints = {.ai_family = family,
                                     .ai_socktype = SOCK_DGRAM,
                                     .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    int err = getaddrinfo(host, port, &hints, &found);
    if (err) return err == EAI_MEMORY ? ERR_MEMORY : ERR_NOT_FOUND;
    memcpy(to, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

bool lsock_push_address(lua_State *L, const struct sockaddr_storage *at, socklen_t len,
                        int *port) {
    char host[NI_MAXHOST];
    int err = getnameinfo((const struct sockaddr *)at, len, host, sizeof host, NULL, 0,
                          NI_NUMERICHOST);
    if (err) {
        lua_pushnil(L);
        lua_pushstring(L, gai_strerror(err));
        return false;
    }
    *port =
        ntohs(at->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)at)->sin6_port
                                        : ((const struct sockaddr_in *)at)->sin_port);
    lua_pushstring(L, host);
    return true;
}

void lsock_push_path(lua_State *L, const struct sockaddr_storage *at, socklen_t len) {
    const struct sockaddr_un *un = (const struct sockaddr_un *)at;
    size_t before = offsetof(struct sockaddr_un, sun_path);
    size_t room = len > before ? len - before : 0;
    lua_pushlstring(L, un->sun_path, strnlen(un->sun_path, room));
}

static const char *family_name(int family) {
    switch (family) {
    case AF_INET: return "inet";
    case AF_INET6: return "inet6";
    default: return "unspec";
    }
}

int lsock_getsockname(lua_State *L, struct lsock *s) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int port;
    if (getsockname(s->wait.fd, (struct sockaddr *)&at, &len) < 0)
        return lsock_fail(L, -errno);
    if (!lsock_push_address(L, &at, len, &port)) return 2;
    lua_pushfstring(L, "%d", port);
    lua_pushstring(L, family_name(s->family));
    return 3;
}

int lsock_getpeername(lua_State *L, struct lsock *s) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int port;
    if (getpeername(s->wait.fd, (struct sockaddr *)&at, &len) < 0)
        return lsock_fail(L, -errno);
    if (!lsock_push_address(L, &at, len, &port)) return 2;
    lua_pushinteger(L, port);
    lua_pushstring(L, family_name(s->family));
    return 3;
}

int lsock_getfamily(lua_State *L, struct lsock *s) {
    lua_pushstring(L, s->family == AF_INET6 ? "inet6" : "inet4");
    return 1;
}
