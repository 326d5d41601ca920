#include "api/socket_read_lua.h"

#include "api/socket_lua.h"
#include "isolate/fd_wait.h"
#include "isolate/landing.h"

#include <lauxlib.h>

enum kind { LINE, ALL, SOME, BYTES, UNTIL };

static const char *const names[] = {"line", "all", "some", NULL};

/* On the stack of a read: the socket, the kind, a limit in bytes, the text. */
enum { SOCKET = 1, KIND, LIMIT, TEXT };

struct want {
    enum kind kind;
    size_t limit;
    struct span text; /* UNTIL */
};

/* What is taken: bytes for the program, and the mark behind them. */
struct cut {
    size_t take, skip;
};

enum found { NOT_YET, FOUND, TOO_LONG };

static struct want want_of(lua_State *L) {
    struct want w = {.kind = (enum kind)lua_tointeger(L, KIND),
                     .limit = (size_t)lua_tointeger(L, LIMIT)};
    if (w.kind == UNTIL) w.text.at = lua_tolstring(L, TEXT, &w.text.len);
    return w;
}

static enum found match_line(struct sock *s, const struct want *w, struct span got,
                             struct cut *c) {
    const char *end = got.len > s->scanned
                          ? memchr(got.at + s->scanned, '\n', got.len - s->scanned)
                          : NULL;
    s->scanned = got.len;
    if (!end) return got.len > w->limit + 1 ? TOO_LONG : NOT_YET;
    c->take = (size_t)(end - got.at);
    c->skip = 1;
    if (c->take && end[-1] == '\r') c->take--, c->skip++;
    return c->take > w->limit ? TOO_LONG : FOUND;
}

static enum found match_text(struct sock *s, const struct want *w, struct span got,
                             struct cut *c) {
    size_t from = s->scanned < w->text.len ? 0 : s->scanned - (w->text.len - 1);
    const char *end = memmem(got.at + from, got.len - from, w->text.at, w->text.len);
    s->scanned = got.len;
    if (!end) return got.len >= w->limit + w->text.len ? TOO_LONG : NOT_YET;
    c->take = (size_t)(end - got.at);
    c->skip = w->text.len;
    return c->take > w->limit ? TOO_LONG : FOUND;
}

/* Whether what has come is enough. */
static enum found match(struct sock *s, const struct want *w, struct span got,
                        struct cut *c) {
    if (got.len == 0 && w->kind != BYTES) return NOT_YET;
    switch (w->kind) {
    case BYTES: c->take = w->limit; return got.len >= w->limit ? FOUND : NOT_YET;
    case SOME: c->take = got.len < w->limit ? got.len : w->limit; return FOUND;
    case LINE: return match_line(s, w, got, c);
    case UNTIL: return match_text(s, w, got, c);
    case ALL: break;
    }
    return NOT_YET;
}

static size_t missing(const struct sock *s, const struct want *w) {
    switch (w->kind) {
    case BYTES: return w->limit - buf_len(&s->in);
    case ALL: return buf_len(&s->in); /* the more there was the more may come */
    default: return 0;
    }
}

static int too_long(lua_State *L, const struct want *w) {
    luaL_pushfail(L);
    if (w->kind == LINE)
        lua_pushfstring(L, "the line is longer than %I bytes", (LUAI_UACINT)w->limit);
    else
        lua_pushfstring(L, "not found in %I bytes", (LUAI_UACINT)w->limit);
    lua_pushstring(L, err_name(ERR_TOO_LARGE));
    return 3;
}

/* From in. Making a string may call a finalizer, which may close anything. */
static int give(lua_State *L, struct sock *s, struct cut c) {
    struct sock **box = lua_touserdata(L, SOCKET);
    lua_pushlstring(L, buf_len(&s->in) ? buf_data(&s->in) : "", c.take);
    if (*box) sock_consume(*box, c.take + c.skip);
    return 1;
}

/* Straight from where it was read to. */
static int give_fresh(lua_State *L, struct sock *s, struct span fresh, struct cut c) {
    struct sock **box = lua_touserdata(L, SOCKET);
    size_t used = c.take + c.skip;
    struct span rest = span_of(fresh.at + used, fresh.len - used);
    if (rest.len && !sock_keep(s, rest)) return socket_broken(L, s, s->error);
    s->error = ERR_MEMORY; /* if the next line raises, bytes are lost */
    landing_push(L, s->stream.loop, span_of(fresh.at, c.take));
    if (*box) (*box)->error = 0;
    return 1;
}

static int at_end(lua_State *L, struct sock *s, const struct want *w) {
    size_t n = buf_len(&s->in);
    if (w->kind == ALL || (n && (w->kind == BYTES || w->kind == LINE)))
        return give(L, s, (struct cut){n, 0});
    luaL_pushfail(L);
    return 1;
}

static int reading(lua_State *L, int status, lua_KContext deadline) {
    bool late = sched_is_late(L, status, deadline), ready = status == LUA_YIELD;
    bool last = false; /* there is no time for more than what has come */
    struct want w = want_of(L);
    for (;;) {
        struct sock *s = sock_account(L, lua_touserdata(L, SOCKET), 0);
        struct cut c = {0, 0};
        if (!s) return socket_gone(L, SOCKET);
        bool block = fd_wait_must_block(L);
        enum found found = match(s, &w, buf_span(&s->in), &c);
        if (found == FOUND) return give(L, s, c);
        if (found == TOO_LONG) return too_long(L, &w);
        /* A read that did not fill its room has found the end of what was there: the
           next one would be for nothing until the socket is readable again. */
        bool more = s->eager || s->stream.ahead || s->eof || s->error;
        if (!last && (ready || more || block || deadline == 1)) {
            struct span fresh;
            bool empty = buf_len(&s->in) == 0;
            enum io io = sock_fill(s, missing(s, &w), &fresh);
            ready = false;
            if (io == IO_EOF) return at_end(L, s, &w);
            if (io == IO_FAIL) return socket_broken(L, s, s->error);
            if (io == IO_OK && empty && fresh.len) {
                found = match(s, &w, fresh, &c);
                if (found == FOUND) return give_fresh(L, s, fresh, c);
            }
            if (fresh.len && !sock_keep(s, fresh)) return socket_broken(L, s, s->error);
            if (found == TOO_LONG) return too_long(L, &w);
            if (io == IO_OK) {
                if (sched_overstays(L))
                    return sched_park(L, NULL, 1, reading, deadline);
                last = late;
                continue;
            }
        }
        if (late || deadline == 1) return socket_timed_out(L);
        if (!block) {
            if (sock_is_to_flush(s)) sock_flush(s); /* most often this was a question */
            stream_want_read(&s->stream, true);
            return sched_park(L, &s->reader, deadline, reading, deadline);
        }
        struct fd_wait wait;
        fd_wait_init(&wait, stream_fd(&s->stream));
        int events = s->stream.read_needs_write ? EV_WRITE : EV_READ;
        if (!fd_wait_block(L, &wait, events, deadline)) late = true;
    }
}

/* The socket, kind and limit are on the stack. */
static int begin(lua_State *L, struct sock *s, int64_t deadline) {
    if (!s) return socket_failure(L, ERR_CLOSED);
    if (waiter_is_set(&s->reader))
        return luaL_error(L, "another fiber is already reading from this socket");
    s->scanned = 0;
    if (sched_overstays(L))
        return sched_park(L, NULL, 1, reading, (lua_KContext)deadline);
    return reading(L, LUA_OK, (lua_KContext)deadline);
}

static int begin_kind(lua_State *L, struct sock *s, enum kind kind, size_t limit,
                      int64_t deadline) {
    lua_settop(L, SOCKET);
    lua_pushinteger(L, kind);
    lua_pushinteger(L, (lua_Integer)limit);
    return begin(L, s, deadline);
}

static size_t check_limit(lua_State *L, int argument, lua_Integer least) {
    lua_Integer n = luaL_checkinteger(L, argument);
    luaL_argcheck(L, n >= least, argument, least ? "must be positive" : "negative");
    return n > (lua_Integer)BUF_MAX ? BUF_MAX : (size_t)n;
}

int socket_read(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    if (lua_type(L, 2) == LUA_TNUMBER) {
        size_t n = check_limit(L, 2, 0);
        return begin_kind(L, s, BYTES, n, socket_deadline(L, s, 3));
    }
    enum kind kind = (enum kind)luaL_checkoption(L, 2, "line", names);
    size_t limit = kind == LINE && s ? s->line_max : BUF_MAX;
    if (kind == SOME && !lua_isnoneornil(L, 3)) limit = check_limit(L, 3, 1);
    return begin_kind(L, s, kind, limit, socket_deadline(L, s, kind == SOME ? 4 : 3));
}

int socket_read_until(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    size_t len, limit = s ? s->line_max : SOCK_LINE_MAX;
    luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, len > 0, 2, "empty");
    if (!lua_isnoneornil(L, 3)) limit = check_limit(L, 3, 1);
    int64_t deadline = socket_deadline(L, s, 4);
    lua_settop(L, 2);
    lua_pushinteger(L, UNTIL);
    lua_pushinteger(L, (lua_Integer)limit);
    lua_rotate(L, 2, 2); /* the text comes last */
    return begin(L, s, deadline);
}

static int next_line(lua_State *L) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct sock *s = socket_check(L, SOCKET);
    return begin_kind(L, s, LINE, s ? s->line_max : 0, socket_deadline(L, s, LIMIT));
}

int socket_lines(lua_State *L) {
    socket_check(L, 1);
    lua_settop(L, 1);
    lua_pushcclosure(L, next_line, 1);
    return 1;
}
