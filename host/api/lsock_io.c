#include "api/lsock_io.h"

#include "base/err.h"
#include "isolate/budget.h"
#include "isolate/gathering.h"

#include <string.h>
#include <sys/socket.h>

enum {
    AHEAD = 8192,       /* bytes that are read before anybody asks for them */
    PIECE = 256 * 1024, /* the most in one system call */
    TURN = 4 * PIECE,   /* the most before others have their turn */
    ONCE = 16 * TURN,   /* and where nobody may wait: more than kernels keep */
    FEW = 64 * 1024,    /* bytes that are not accounted for */
    BACKLOG = 32
};

/* Receiving. The stack: the socket, the pattern, the prefix, and once much has come
 * what is gathered of it. */
enum { GATHERED = 4 };

enum pattern { LINE, ALL, COUNT };

struct wanted {
    enum pattern pattern;
    size_t count; /* of COUNT, without the prefix */
    size_t end;   /* where it ends in the buffer, once it is there */
};

static struct wanted check_wanted(lua_State *L) {
    struct wanted w = {.pattern = COUNT};
    if (lua_isnumber(L, 2)) {
        size_t prefix;
        lua_Number n = lua_tonumber(L, 2);
        luaL_argcheck(L, n >= 0, 2, "invalid receive pattern");
        luaL_checklstring(L, 3, &prefix);
        if (n > (lua_Number)prefix)
            w.count = (n < BUF_MAX ? (size_t)n : BUF_MAX) - prefix;
        return w;
    }
    const char *text = luaL_optstring(L, 2, "*l");
    w.pattern = strncmp(text, "*a", 2) == 0 ? ALL : LINE;
    luaL_argcheck(L, w.pattern == ALL || strncmp(text, "*l", 2) == 0, 2,
                  "invalid receive pattern");
    return w;
}

static bool is_there(struct lsock *s, struct wanted *w) {
    size_t len = buf_len(&s->in);
    if (w->pattern == COUNT) {
        w->end = w->count;
        return len > 0 && len >= w->count; /* receive(0) asks whether anything is */
    }
    if (w->pattern == ALL || len == s->scanned) return false;
    const char *data = buf_data(&s->in);
    const char *found = memchr(data + s->scanned, '\n', len - s->scanned);
    s->scanned = len;
    if (found) w->end = (size_t)(found - data) + 1;
    return found != NULL;
}

/* Reads until what is wanted is there: 0, or why it is not. */
static int gather(struct lsock *s, struct wanted *w) {
    size_t left = lsock_may_wait(s) ? TURN : ONCE;
    while (!is_there(s, w)) {
        if (s->wait.fd < 0) return ERR_CLOSED;
        if (left == 0) return -EAGAIN;
        size_t len = buf_len(&s->in), n = w->pattern == COUNT ? w->count - len : len;
        if (w->pattern == COUNT && w->count <= len) n = 0;
        n = n < AHEAD ? AHEAD : n > PIECE ? PIECE : n;
        char *to = buf_reserve(&s->in, n);
        if (!to) return ERR_MEMORY;
        ssize_t got = recv(s->wait.fd, to, n, 0);
        if (got > 0) {
            buf_commit(&s->in, (size_t)got);
            left -= (size_t)got < left ? (size_t)got : left;
            continue;
        }
        if (got < 0 && errno == EINTR) continue;
        int err = got == 0 ? ERR_CLOSED : lsock_error(errno);
        if (buf_len(&s->in) == 0) buf_reset(&s->in);
        return err;
    }
    return 0;
}

/* Pushes the prefix and n bytes of the buffer; of a line without any CR, as LuaSocket
 * does. */
static void push_joined(lua_State *L, struct lsock *s, size_t n, bool line) {
    size_t prefix;
    const char *before = luaL_checklstring(L, 3, &prefix);
    const char *data = n ? buf_data(&s->in) : "";
    const char *cr = line && n ? memchr(data, '\r', n) : NULL;
    if (cr == data + n - 1 && cr) {
        n--;
        cr = NULL;
    }
    if (prefix == 0 && !cr) {
        lua_pushlstring(L, data, n);
        return;
    }
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, prefix + n);
    memcpy(to, before, prefix);
    size_t len = prefix;
    for (const char *end = data + n; data < end;) {
        size_t piece = cr ? (size_t)(cr - data) : (size_t)(end - data);
        memcpy(to + len, data, piece);
        len += piece;
        data += piece + (cr != NULL);
        cr = cr && data < end ? memchr(data, '\r', (size_t)(end - data)) : NULL;
    }
    luaL_pushresultsize(&b, len);
}

static void consume(struct lsock *s, size_t n) {
    s->received += n;
    buf_consume(&s->in, n);
    s->scanned = 0;
    if (buf_len(&s->in) == 0) buf_reset(&s->in);
}

static int received(lua_State *L, struct lsock *s, const struct wanted *w, int err) {
    size_t all = buf_len(&s->in);
    if (err == ERR_CLOSED && w->pattern == ALL && all > 0) err = 0;
    if (err == ERR_MEMORY) return budget_raise(L);
    if (err) {
        lsock_fail(L, err);
        push_joined(L, s, all, w->pattern == LINE);
        consume(s, all);
        return 3;
    }
    size_t n = w->pattern == ALL ? all : w->end;
    push_joined(L, s, w->pattern == LINE ? n - 1 : n, w->pattern == LINE);
    consume(s, n);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

static int receive(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    struct wanted w = check_wanted(L);
    bool late = lsock_late(L, status);
    for (;;) {
        int err = gather(s, &w);
        if (err != -EAGAIN) return received(L, s, &w, err);
        if (s->in.capacity > FEW) {
            if (lua_gettop(L) < GATHERED) gathering_push(L);
            gathering_charge(L, GATHERED, s->in.capacity);
        }
        if (late || !lsock_wait(L, s, EV_READ, start, receive))
            return received(L, s, &w, -ETIMEDOUT);
    }
}

int lsock_receive(lua_State *L, struct lsock *s) {
    size_t prefix;
    lua_settop(L, 3);
    luaL_optlstring(L, 3, "", &prefix);
    if (prefix == 0) {
        lua_pushliteral(L, "");
        lua_replace(L, 3);
    }
    struct wanted w = check_wanted(L);
    if (w.pattern == COUNT && w.count == 0 && prefix > 0) {
        lua_pushnil(L);
        lua_pushnil(L);
        return 3;
    }
    lua_KContext start = lsock_begin(L, s, EV_READ);
    s->scanned = 0;
    return receive(L, LUA_OK, start);
}

/* Sending. The stack: the socket, the data, the index of the next byte, of the last. */

static int send_some(struct lsock *s, const char *data, lua_Integer *next,
                     lua_Integer last) {
    size_t left = lsock_may_wait(s) ? TURN : SIZE_MAX;
    while (*next <= last) {
        if (s->wait.fd < 0) return ERR_CLOSED;
        if (left == 0) return -EAGAIN;
        size_t n = (size_t)(last - *next) + 1;
        ssize_t put =
            send(s->wait.fd, data + *next - 1, n < PIECE ? n : PIECE, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return lsock_error(errno);
        *next += put;
        s->sent += (uint64_t)put;
        left -= (size_t)put < left ? (size_t)put : left;
    }
    return 0;
}

static int sent(lua_State *L, lua_Integer next, int err) {
    if (err) {
        lsock_fail(L, err);
        lua_pushinteger(L, next - 1);
    } else {
        lua_pushinteger(L, next - 1);
        lua_pushnil(L);
        lua_pushnil(L);
    }
    return 3;
}

static int send_on(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    const char *data = lua_tostring(L, 2);
    lua_Integer next = lua_tointeger(L, 3), last = lua_tointeger(L, 4);
    bool late = lsock_late(L, status);
    for (;;) {
        int err = send_some(s, data, &next, last);
        if (err != -EAGAIN) return sent(L, next, err);
        lua_pushinteger(L, next);
        lua_replace(L, 3);
        if (late || !lsock_wait(L, s, EV_WRITE, start, send_on))
            return sent(L, next, -ETIMEDOUT);
    }
}

/* A float as an integer within what a string's index can be. */
static lua_Integer opt_index(lua_State *L, int argument, lua_Integer standard) {
    lua_Number n = luaL_optnumber(L, argument, (lua_Number)standard);
    luaL_argcheck(L, n == n, argument, "number has no integer representation");
    return n < -1e15  ? -(lua_Integer)1e15
           : n > 1e15 ? (lua_Integer)1e15
                      : (lua_Integer)n;
}

int lsock_send(lua_State *L, struct lsock *s) {
    size_t size;
    luaL_checklstring(L, 2, &size);
    lua_Integer first = opt_index(L, 3, 1), last = opt_index(L, 4, -1);
    if (first < 0) first += (lua_Integer)size + 1;
    if (last < 0) last += (lua_Integer)size + 1;
    if (first < 1) first = 1;
    if (last > (lua_Integer)size) last = (lua_Integer)size;
    lua_KContext start = lsock_begin(L, s, EV_WRITE);
    lua_settop(L, 2);
    lua_pushinteger(L, first);
    lua_pushinteger(L, last);
    return send_on(L, LUA_OK, start);
}

/* Statistics. */

int lsock_getstats(lua_State *L, struct lsock *s) {
    lua_pushinteger(L, (lua_Integer)s->received);
    lua_pushinteger(L, (lua_Integer)s->sent);
    lua_pushnumber(L, (lua_Number)(clock_ns() - s->birthday) / 1e9);
    return 3;
}

int lsock_setstats(lua_State *L, struct lsock *s) {
    lua_Integer in = opt_index(L, 2, (lua_Integer)s->received);
    lua_Integer out = opt_index(L, 3, (lua_Integer)s->sent);
    lua_Number age = luaL_optnumber(L, 4, -1);
    s->received = (uint64_t)in;
    s->sent = (uint64_t)out;
    if (age >= 0 && age < 1e9) s->birthday = clock_ns() - (int64_t)(age * 1e9);
    return lsock_ok(L);
}

/* Connections. */

int lsock_shutdown(lua_State *L, struct lsock *s) {
    static const char *const names[] = {"receive", "send", "both", NULL};
    static const int how[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    int which = luaL_checkoption(L, 2, "both", names);
    shutdown(s->wait.fd, how[which]);
    return lsock_ok(L);
}

/* The stack: the server, the new socket, which is there before the descriptor. */
static int accept_on(lua_State *L, int status, lua_KContext start) {
    struct lsock *s = lsock_at(L, 1);
    bool late = lsock_late(L, status);
    for (;;) {
        int fd = -1, err = ERR_CLOSED;
        if (s->wait.fd >= 0) {
            fd = accept4(s->wait.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                lsock_adopt(lsock_at(L, 2), fd);
                lua_settop(L, 2);
                return 1;
            }
            if (errno == EINTR || errno == ECONNABORTED) continue; /* to the next one */
            err = lsock_error(errno);
        }
        if (err != -EAGAIN) return lsock_fail(L, err);
        if (late || !lsock_wait(L, s, EV_READ, start, accept_on))
            return lsock_fail(L, -ETIMEDOUT);
    }
}

int lsock_accept(lua_State *L, struct lsock *s, enum lsock_class class) {
    lua_KContext start = lsock_begin(L, s, EV_READ);
    lua_settop(L, 1);
    lsock_new(L, class, s->family);
    return accept_on(L, LUA_OK, start);
}

int lsock_listen(lua_State *L, struct lsock *s, enum lsock_class class) {
    lua_Number backlog = luaL_optnumber(L, 2, BACKLOG);
    int n = backlog >= 0 && backlog < INT32_MAX ? (int)backlog : BACKLOG;
    if (listen(s->wait.fd, n) < 0) return lsock_fail(L, lsock_error(errno));
    lsock_set_class(L, 1, class);
    return lsock_ok(L);
}
