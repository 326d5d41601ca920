#include "api/answer_lua.h"

#include "api/fields_lua.h"
#include "api/socket_lua.h"
#include "base/check.h"
#include "codec/http1_answer.h"
#include "codec/inflate.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "net/stream_tls.h"

#include <lauxlib.h>

enum { MAGIC = 0x616e7377, KEPT = 4096, CHUNK = 64 * 1024 };

static const char NAME[] = "atoll.http.reader";

enum want { WANT_HEAD, WANT_INTERIM, WANT_TEXT, WANT_SOME };

struct reader {
    uint32_t magic;
    struct sock **socket; /* of the userdata at the user value; NULL when closed */
    struct answer_reader answer;
    struct buf head, trailers;
    struct buf packed; /* body as it came, when it is compressed */
    struct buf body;   /* has come and is not taken */
    size_t charged;    /* to the state, of these two */
    struct inflater inflater;
    bool decode;      /* compressed bodies are to be unpacked */
    bool packs;       /* this one is compressed */
    bool unpacked;    /* down to its end */
    bool touched;     /* something has come */
    bool headed;      /* the head is there */
    bool interim;     /* a 1xx is there */
    bool ended;       /* the whole answer is there */
    int error;        /* negative: the answer cannot be had */
    const char *why;  /* static, or NULL */
    uint64_t max;     /* bytes of the body that text may give */
    size_t some;      /* that read may give */
    int64_t pause;    /* ns that a wait may take; 0 any time */
    int64_t until;    /* when the request has to be over; 0 never */
    int64_t deadline; /* of the wait at hand */
    struct timer idle;
    struct loop *loop; /* that the timer was set on */
    int64_t idle_until;
    bool resting;
};

/* ---- what came ---- */

static void spoil(struct reader *r, int error, const char *why) {
    if (r->error) return;
    r->error = error;
    r->why = why;
}

static void add(struct reader *r, struct buf *to, struct span piece) {
    if (buf_append(to, piece.at, piece.len) != 0) spoil(r, ERR_MEMORY, NULL);
}

static void head_complete(struct reader *r, struct span head) {
    enum answer_coding coding = r->answer.head.coding;
    add(r, &r->head, head);
    r->headed = !r->error; /* without memory there is nothing to give */
    r->packs = r->decode && (coding == ANSWER_GZIP || coding == ANSWER_DEFLATE) &&
               r->answer.head.framing != ANSWER_NO_BODY;
    if (r->packs)
        inflate_init(&r->inflater,
                     coding == ANSWER_GZIP ? INFLATE_GZIP : INFLATE_DEFLATE);
}

/* Takes from *in what belongs to the answer. Behind a granted CONNECT nothing does. */
static void advance(struct reader *r, struct span *in) {
    if (in->len) r->touched = true;
    while (!r->ended && !r->error) {
        struct span piece, before = *in;
        size_t used = 0;
        enum answer_event event =
            answer_read(&r->answer, in->at, in->len, &used, &piece);
        *in = span_of(in->at + used, in->len - used);
        switch (event) {
        case ANSWER_MORE: return;
        case ANSWER_INTERIM: r->interim = true; break;
        case ANSWER_HEAD: head_complete(r, span_of(before.at, used)); break;
        case ANSWER_BODY: add(r, r->packs ? &r->packed : &r->body, piece); break;
        case ANSWER_TRAILERS: add(r, &r->trailers, piece); break;
        case ANSWER_END: r->ended = true; break;
        case ANSWER_BAD: spoil(r, -EPROTO, r->answer.why); break;
        }
    }
}

static void take_kept(struct reader *r, struct sock *s) {
    struct span in = buf_span(&s->in);
    advance(r, &in);
    size_t used = buf_len(&s->in) - in.len;
    if (used) sock_consume(s, used);
}

static void take_fresh(struct reader *r, struct sock *s, struct span fresh) {
    if (buf_len(&s->in) == 0) advance(r, &fresh);
    if (fresh.len && !sock_keep(s, fresh)) spoil(r, ERR_MEMORY, NULL);
}

static void take_end(struct reader *r) {
    enum answer_event event = answer_end(&r->answer);
    if (event == ANSWER_END)
        r->ended = true;
    else
        spoil(r, ERR_CLOSED, r->answer.why);
}

/* What it holds is on the account of its state, but the little that it may keep. */
static void account(lua_State *L, struct reader *r) {
    size_t held = (size_t)r->packed.capacity + r->body.capacity;
    budget_adjust(L, &r->charged, held > KEPT ? held : 0);
}

/* Unpacks until `want` bytes wait to be taken, or all that has come is. */
static void unpack(struct reader *r, uint64_t want) {
    size_t n, room;
    do {
        if (r->error || r->unpacked || buf_len(&r->body) >= want) return;
        char *to = buf_reserve(&r->body, KEPT);
        if (!to) spoil(r, ERR_MEMORY, NULL);
        if (!to) return;
        room = buf_room(&r->body);
        if (room > want - buf_len(&r->body)) room = (size_t)(want - buf_len(&r->body));
        struct span in = buf_len(&r->packed) ? buf_span(&r->packed) : SPAN("");
        size_t before = in.len;
        enum inflate_result result = inflate_step(&r->inflater, &in, to, room, &n);
        buf_consume(&r->packed, before - in.len);
        buf_commit(&r->body, n);
        if (result == INFLATE_FULL) spoil(r, ERR_MEMORY, NULL);
        if (result == INFLATE_BAD)
            spoil(r, -EPROTO, "the compressed body is malformed");
    } while (n == room);
    if (r->error || !r->ended) return;
    if (buf_len(&r->packed) || !inflate_complete(&r->inflater))
        spoil(r, -EPROTO, "the compressed body is incomplete");
    r->unpacked = true;
}

/* ---- giving it to Lua ---- */

static int fail(lua_State *L, int error, const char *why) {
    luaL_pushfail(L);
    lua_pushstring(L, why ? why : err_text(error));
    lua_pushstring(L, err_name(error));
    return 3;
}

static int fail_spoilt(lua_State *L, const struct reader *r) {
    const struct sock *s = *r->socket;
    return s && !r->why ? socket_broken(L, s, r->error) : fail(L, r->error, r->why);
}

static int fail_late(lua_State *L, enum want want) {
    return fail(L, -ETIMEDOUT,
                want <= WANT_INTERIM ? "timed out waiting for the answer"
                                     : "timed out reading the body");
}

/* status, reason, version, fields, whether the answer is whole, framing of its body */
static int give_head(lua_State *L, struct reader *r) {
    static const char *const framings[] = {"none", "length", "chunked", "close",
                                           "tunnel"};
    const struct answer_head *h = &r->answer.head;
    const char *at = buf_data(&r->head);
    lua_pushinteger(L, h->status);
    lua_pushlstring(L, at + h->reason, h->reason_len);
    lua_pushstring(L, h->minor ? "1.1" : "1.0");
    fields_push(L, span_of(at + h->fields, h->len - 2 - h->fields));
    lua_pushboolean(L, r->ended);
    lua_pushstring(L, framings[h->framing]);
    return 6;
}

static int give_body(lua_State *L, struct reader *r, size_t most) {
    size_t n = buf_len(&r->body) < most ? buf_len(&r->body) : most;
    lua_pushlstring(L, n ? buf_data(&r->body) : "", n);
    buf_consume(&r->body, n);
    if (buf_len(&r->body) == 0 && r->body.capacity > KEPT) buf_reset(&r->body);
    account(L, r);
    return 1;
}

/* All that has come, in pieces that there is room for. */
static void unpack_all(lua_State *L, struct reader *r) {
    size_t before;
    do {
        before = buf_len(&r->body);
        uint64_t want = before + CHUNK < r->max ? before + CHUNK : r->max + 1;
        unpack(r, want);
        account(L, r);
    } while (buf_len(&r->body) == before + CHUNK);
}

static int give_text(lua_State *L, struct reader *r) {
    if (r->packs) unpack_all(L, r);
    uint64_t size = buf_len(&r->body);
    if (r->answer.head.framing == ANSWER_LENGTH && !r->packs) size += r->answer.left;
    if (size > r->max) spoil(r, ERR_TOO_LARGE, "the body is larger than body_max");
    if (r->error) return fail_spoilt(L, r);
    if (!r->ended || (r->packs && !r->unpacked)) return 0;
    return give_body(L, r, SIZE_MAX);
}

static int give_some(lua_State *L, struct reader *r) {
    if (r->packs && !buf_len(&r->body)) unpack(r, CHUNK);
    account(L, r); /* before anything is taken out */
    if (buf_len(&r->body)) return give_body(L, r, r->some);
    if (r->error) return fail_spoilt(L, r);
    if (!r->ended) return 0;
    luaL_pushfail(L);
    return 1;
}

/* Pushes what is wanted when it is there: how many values, or 0. */
static int give(lua_State *L, struct reader *r, enum want want) {
    switch (want) {
    case WANT_INTERIM:
        if (r->interim && !r->headed) {
            lua_pushinteger(L, r->answer.head.status);
            return 1;
        }
        /* fallthrough */
    case WANT_HEAD:
        if (r->headed) return give_head(L, r);
        if (!r->error) return 0;
        fail_spoilt(L, r);
        lua_pushboolean(L, !r->touched && r->error != ERR_MEMORY);
        return 4;
    case WANT_TEXT: return give_text(L, r);
    case WANT_SOME: return give_some(L, r);
    }
    return 0;
}

/* ---- waiting ---- */

/* By size and magic, which Lua cannot make, as each request asks for it five times. */
static struct reader *check(lua_State *L) {
    struct reader *r = lua_touserdata(L, 1);
    if (!r || lua_rawlen(L, 1) != sizeof *r || r->magic != MAGIC)
        luaL_checkudata(L, 1, NAME); /* raises */
    return r;
}

/* On the isolate's loop, if there is one. */
static struct sock *here(lua_State *L, struct reader *r) {
    struct sched *sched = sched_of(L);
    if (*r->socket && sched) sock_attach(*r->socket, sched->loop);
    return *r->socket;
}

static void set_deadline(struct reader *r) {
    r->deadline = r->until;
    if (!r->pause) return;
    int64_t at = r->pause == INT64_MAX ? INT64_MAX : clock_ns() + r->pause;
    if (!r->deadline || at < r->deadline) r->deadline = at;
}

static int reading(lua_State *L, int status, lua_KContext context) {
    enum want want = (enum want)context;
    struct reader *r = lua_touserdata(L, 1);
    bool late = sched_is_late(L, status, r->deadline), ready = status == LUA_YIELD;
    bool last = false; /* there is no time for more than what has come */
    for (;;) {
        struct sock *s = *r->socket;
        if (s && buf_len(&s->in) && !r->error) take_kept(r, s);
        int n = give(L, r, want);
        if (n) return n;
        if (!s) return fail(L, ERR_CLOSED, NULL);
        bool block = fd_wait_must_block(L);
        bool more = s->eager || s->stream.ahead || s->eof || s->error;
        if (!last && (ready || more || block)) {
            struct span fresh;
            ready = false;
            enum io io = sock_fill(s, 0, &fresh);
            if (io == IO_EOF) take_end(r);
            if (io == IO_FAIL) spoil(r, s->error, NULL);
            if (io == IO_OK) {
                more = s->eager;
                take_fresh(r, s, fresh);
                account(L, r); /* finalizers may close the socket */
                if (want >= WANT_TEXT) set_deadline(r);
                if (late || more)
                    last = late = r->deadline && r->deadline <= clock_ns();
                if (!late && more && sched_overstays(L))
                    return sched_park(L, NULL, 1, reading, context);
            }
            if (io != IO_AGAIN) continue;
        }
        if (late) return fail_late(L, want);
        if (!block) {
            if (waiter_is_set(&s->reader))
                return luaL_error(L, "another fiber is already reading this answer");
            stream_want_read(&s->stream, true);
            return sched_park(L, &s->reader, r->deadline, reading, context);
        }
        struct fd_wait wait;
        fd_wait_init(&wait, stream_fd(&s->stream));
        int events = s->stream.read_needs_write ? EV_WRITE : EV_READ;
        late = !fd_wait_block(L, &wait, events, r->deadline);
    }
}

static int begin_wait(lua_State *L, struct reader *r, enum want want) {
    here(L, r);
    lua_settop(L, 1);
    set_deadline(r);
    return reading(L, LUA_OK, (lua_KContext)want);
}

static int64_t ns_of(lua_State *L, int argument) {
    lua_Number seconds = luaL_optnumber(L, argument, 0);
    if (!(seconds > 0)) return 0;
    return seconds > 1e9 ? INT64_MAX : (int64_t)(seconds * 1e9) + 1;
}

/* begin("GET", decode, until[, upgrade]): the request is written; forgets the answer
 * before. until is as of atoll.now; with upgrade a 101 is an answer. */
static int begin(lua_State *L) {
    struct reader *r = check(L);
    struct span method;
    method.at = luaL_checklstring(L, 2, &method.len);
    enum answer_to to = span_eq(method, SPAN("HEAD"))      ? ANSWER_TO_HEAD
                        : span_eq(method, SPAN("CONNECT")) ? ANSWER_TO_CONNECT
                        : lua_toboolean(L, 5)              ? ANSWER_TO_UPGRADE
                                                           : ANSWER_TO_ANY;
    answer_begin(&r->answer, to);
    r->decode = lua_toboolean(L, 3);
    r->until = ns_of(L, 4);
    r->headed = r->interim = r->ended = r->touched = r->packs = r->unpacked = false;
    r->error = 0;
    r->why = NULL;
    r->some = 0;
    buf_consume(&r->head, buf_len(&r->head));
    buf_consume(&r->body, buf_len(&r->body));
    buf_reset(&r->packed);
    buf_reset(&r->trailers);
    inflate_done(&r->inflater);
    account(L, r);
    return 0;
}

/* head(pause[, interim]): what give_head gives; or with interim the status of a 1xx.
 * Fails with a fourth value that is true when nothing at all has come. */
static int head(lua_State *L) {
    struct reader *r = check(L);
    r->pause = ns_of(L, 2);
    return begin_wait(L, r, lua_toboolean(L, 3) ? WANT_INTERIM : WANT_HEAD);
}

/* text(max, pause): all that is left of the body. */
static int text(lua_State *L) {
    struct reader *r = check(L);
    lua_Integer max = luaL_checkinteger(L, 2);
    luaL_argcheck(L, max >= 0, 2, "negative");
    r->max = max > (lua_Integer)BUF_MAX / 2 ? BUF_MAX / 2 : (uint64_t)max;
    r->pause = ns_of(L, 3);
    return begin_wait(L, r, WANT_TEXT);
}

/* read(n, pause): at most n bytes of the body, nil at its end. */
static int read_some(lua_State *L) {
    struct reader *r = check(L);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n > 0, 2, "a number of bytes above 0");
    r->some = (size_t)n;
    r->pause = ns_of(L, 3);
    return begin_wait(L, r, WANT_SOME);
}

/* Whether something, or the end, has come before the request was all sent. No wait. */
static int arrived(lua_State *L) {
    struct reader *r = check(L);
    struct sock *s = here(L, r);
    struct span fresh;
    bool has = !s || buf_len(&s->in) > 0 || s->eof || s->error;
    if (!has && !fd_wait_must_block(L)) {
        enum io io = sock_fill(s, 0, &fresh);
        if (io == IO_OK && !sock_keep(s, fresh)) spoil(r, ERR_MEMORY, NULL);
        has = io != IO_AGAIN;
    }
    lua_pushboolean(L, has);
    return 1;
}

/* The fields behind a chunked body, or nil. */
static int trailers(lua_State *L) {
    struct reader *r = check(L);
    if (!buf_len(&r->trailers)) return 0;
    fields_push(L, buf_span(&r->trailers));
    return 1;
}

/* True when all of the answer has come and was right. */
static int ended(lua_State *L) {
    struct reader *r = check(L);
    lua_pushboolean(L, r->ended && !r->error);
    return 1;
}

/* ---- between requests ---- */

static void idled(struct timer *t) {
    struct reader *r = LIST_OF(t, struct reader, idle);
    struct sock *s = *r->socket;
    struct loop *l = r->loop;
    if (!r->resting || !s) return;
    if (r->idle_until <= l->now || timer_set(l, t, r->idle_until) != 0) sock_close(s);
}

static void forget(struct reader *r) {
    if (r->head.capacity > KEPT) buf_reset(&r->head);
    if (r->body.capacity > KEPT) buf_reset(&r->body);
    buf_reset(&r->packed);
    buf_reset(&r->trailers);
    inflate_done(&r->inflater);
}

/* rest(seconds): true when another request can follow on the connection, which is then
 * closed unless that comes in time. */
static int rest(lua_State *L) {
    struct reader *r = check(L);
    int64_t patience = ns_of(L, 2);
    struct sock *s = *r->socket;
    struct span fresh;
    bool fit = s && s->stream.loop && r->ended && !r->error &&
               r->answer.head.keep_alive && !buf_len(&s->in) && !s->eof && !s->error &&
               !s->half && !s->stream.broken && !stream_unsent(&s->stream) && patience;
    if (fit && s->stream.ahead) fit = sock_fill(s, 0, &fresh) == IO_AGAIN;
    forget(r);
    account(L, r);
    if (fit) {
        struct loop *l = s->stream.loop;
        int64_t limit = INT64_MAX - l->now;
        r->idle_until = l->now + (patience < limit ? patience : limit);
        r->resting = true;
        r->loop = l;
        stream_want_read(&s->stream, true);
        if ((!timer_is_set(&r->idle) || r->idle_until < r->idle.at) &&
            timer_set(l, &r->idle, r->idle_until) != 0)
            fit = r->resting = false;
        s->resting = fit;
    }
    lua_pushboolean(L, fit);
    return 1;
}

/* wake(): true when the connection is as it was put aside. A server that has closed it,
 * or has said anything, made it readable: so it was closed here, too (sock.c). */
static int wake(lua_State *L) {
    struct reader *r = check(L);
    struct sock *s = *r->socket;
    r->resting = false;
    if (s) s->resting = false;
    lua_pushboolean(L, s && !s->stream.broken && !s->error && s->stream.reading);
    return 1;
}

static int reader_gc(lua_State *L) {
    struct reader *r = check(L);
    buf_reset(&r->head);
    forget(r);
    buf_reset(&r->body);
    account(L, r);
    if (r->loop) timer_clear(r->loop, &r->idle);
    return 0;
}

static int new_reader(lua_State *L) {
    struct sock **box = socket_box(L, 1);
    struct reader *r = lua_newuserdatauv(L, sizeof *r, 1);
    *r = (struct reader){.magic = MAGIC, .socket = box};
    timer_init(&r->idle, idled);
    luaL_setmetatable(L, NAME);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static const luaL_Reg methods[] = {
    {"arrived", arrived}, {"begin", begin}, {"ended", ended}, {"head", head},
    {"read", read_some},  {"rest", rest},   {"text", text},   {"trailers", trailers},
    {"wake", wake},       {NULL, NULL},
};

void answer_push_maker(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, reader_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, new_reader);
}
