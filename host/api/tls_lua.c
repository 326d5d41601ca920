#include "api/tls_lua.h"

#include "api/socket_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "net/stream_tls.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

static const char CONTEXT[] = "atoll.tls", CONTEXTS[] = "atoll.tls.contexts";

enum { CONTEXTS_MAX = 64 };

/* ---- options ---- */

static void check_names(lua_State *L, int index, enum tls_side side) {
    static const char *const names[] = {"alpn",   "ca",   "cert",   "key",
                                        "verify", "name", "server", "timeout"};
    size_t count = sizeof names / sizeof *names;
    if (side != TLS_EITHER) count -= side == TLS_SERVER ? 3 : 2;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool known = false;
        for (size_t i = 0; i < count; i++) known = known || strcmp(names[i], name) == 0;
        if (!known) luaL_error(L, "unknown TLS option '%s'", name);
        lua_pop(L, 1);
    }
}

static bool flag_option(lua_State *L, int index, const char *name, bool otherwise) {
    bool flag =
        lua_getfield(L, index, name) == LUA_TNIL ? otherwise : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

/* A text that stays alive as long as the table does. */
static const char *text_option(lua_State *L, int index, const char *name) {
    int type = lua_getfield(L, index, name);
    size_t len = 0;
    const char *text = type == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (type != LUA_TNIL && (!text || strlen(text) != len || len == 0))
        luaL_error(L, "TLS option %s must be text", name);
    lua_pop(L, 1);
    return text;
}

static void add_protocol(lua_State *L, struct tls_options *o) {
    size_t len = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : "";
    if (len == 0) luaL_error(L, "TLS option alpn must be a text or a list of texts");
    if (len > 255 || o->alpn_len + len + 1 > sizeof o->alpn)
        luaL_error(L, "TLS option alpn is too long");
    o->alpn[o->alpn_len] = (unsigned char)len;
    memcpy(o->alpn + o->alpn_len + 1, text, len);
    o->alpn_len += len + 1;
}

static void read_protocols(lua_State *L, int index, struct tls_options *o) {
    int type = lua_getfield(L, index, "alpn");
    if (type == LUA_TTABLE) {
        lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= count; i++) {
            lua_rawgeti(L, -1, i);
            add_protocol(L, o);
            lua_pop(L, 1);
        }
    } else if (type != LUA_TNIL) {
        add_protocol(L, o);
    }
    lua_pop(L, 1);
}

static void read_options(lua_State *L, int index, enum tls_side side,
                         struct tls_options *o) {
    bool server = side == TLS_SERVER;
    *o = (struct tls_options){.server = server, .verify = !server};
    if (lua_isboolean(L, index) && lua_toboolean(L, index) && !server) return;
    if (!lua_istable(L, index))
        luaL_error(L, "tls must be %sa table of options", server ? "" : "true or ");
    check_names(L, index, side);
    if (side == TLS_EITHER) server = flag_option(L, index, "server", false);
    o->server = server;
    o->ca = text_option(L, index, "ca");
    o->cert = text_option(L, index, "cert");
    o->key = text_option(L, index, "key");
    o->verify = flag_option(L, index, "verify", !server || o->ca);
    read_protocols(L, index, o);
    if (server && !o->cert) luaL_error(L, "a TLS server needs the option cert");
    if (server && o->verify && !o->ca)
        luaL_error(L, "verifying clients needs the option ca");
    if (o->key && !o->cert) luaL_error(L, "TLS option key goes with cert");
}

const char *tls_push_name(lua_State *L, int index, const char *name) {
    const char *text = NULL;
    bool verify = true;
    if (lua_istable(L, index)) {
        text = text_option(L, index, "name");
        verify = flag_option(L, index, "verify", true);
    }
    if (!text) text = name;
    if (!text && verify) luaL_error(L, "TLS needs the option name, whom to verify");
    if (text && strlen(text) >= TLS_NAME) luaL_error(L, "TLS option name is too long");
    return lua_pushstring(L, text);
}

/* ---- contexts ---- */

static int context_gc(lua_State *L) {
    struct tls_ctx **box = luaL_checkudata(L, 1, CONTEXT);
    tls_ctx_unref(*box);
    *box = NULL;
    return 0;
}

static void push_file(lua_State *L, const char *path) {
    struct stat st;
    if (path && stat(path, &st) == 0)
        lua_pushfstring(L, "%s\n%I.%I", path, (LUAI_UACINT)st.st_mtim.tv_sec,
                        (LUAI_UACINT)st.st_mtim.tv_nsec);
    else
        lua_pushstring(L, path ? path : "");
}

/* What tells one context from another. */
static void push_key(lua_State *L, const struct tls_options *o) {
    lua_pushfstring(L, "%d%d", o->server, o->verify);
    push_file(L, o->ca);
    push_file(L, o->cert);
    push_file(L, o->key);
    lua_pushlstring(L, (const char *)o->alpn, o->alpn_len);
    for (int i = 0; i < 4; i++) {
        lua_pushliteral(L, "\n");
        lua_insert(L, -2 - 2 * i);
    }
    lua_concat(L, 9);
}

static struct tls_ctx **new_context(lua_State *L) {
    struct tls_ctx **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    if (luaL_newmetatable(L, CONTEXT)) {
        lua_pushcfunction(L, context_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return box;
}

/* The table of contexts; a new one when there are too many. */
static void push_contexts(lua_State *L) {
    int count = 0;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, CONTEXTS);
    lua_pushnil(L);
    for (; lua_next(L, -2); lua_pop(L, 1)) count++;
    if (count < CONTEXTS_MAX) return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, CONTEXTS);
}

struct tls_ctx *tls_push_ctx(lua_State *L, int index, enum tls_side side,
                             char why[TLS_WHY]) {
    struct tls_options o;
    read_options(L, index, side, &o);
    push_contexts(L);
    push_key(L, &o);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TUSERDATA) {
        lua_replace(L, -3);
        lua_pop(L, 1);
        return *(struct tls_ctx **)lua_touserdata(L, -1);
    }
    lua_pop(L, 1);
    struct tls_ctx **box = new_context(L);
    *box = tls_ctx_new(&o, why);
    if (!*box) {
        lua_pop(L, 3);
        return NULL;
    }
    lua_insert(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return *box;
}

/* ---- handshakes ---- */

/* At -3 the text in front of an error, -2 the result of success, -1 the socket. */
static int shake_failed(lua_State *L, int err, const char *why) {
    const char *before = lua_tostring(L, -3);
    struct sock *s = *(struct sock **)lua_touserdata(L, -1);
    lua_pushfstring(L, "%s%s", before ? before : "", why);
    if (s) sock_close(s);
    luaL_pushfail(L);
    lua_insert(L, -2);
    lua_pushstring(L, err_name(err));
    return 3;
}

static int shaking(lua_State *L, int status, lua_KContext deadline) {
    bool late = status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
    for (;;) {
        struct sock *s = *(struct sock **)lua_touserdata(L, -1);
        if (!s) return shake_failed(L, ERR_CLOSED, err_text(ERR_CLOSED));
        enum io io = stream_tls_handshake(&s->stream);
        int err = errno;
        if (io == IO_FAIL) return shake_failed(L, -err, stream_tls_why(&s->stream));
        if (io == IO_OK) {
            lua_pop(L, 1);
            return 1;
        }
        if (late) return shake_failed(L, ETIMEDOUT, "timed out");
        if (!fd_wait_must_block(L)) {
            stream_want_read(&s->stream, true);
            return sched_park(L, &s->reader, deadline, shaking, deadline);
        }
        struct fd_wait wait;
        fd_wait_init(&wait, stream_fd(&s->stream));
        int events = s->stream.read_needs_write ? EV_WRITE : EV_READ;
        late = !fd_wait_block(L, &wait, events, deadline);
    }
}

int tls_begin(lua_State *L, struct tls_ctx *c, const char *name, int64_t deadline) {
    struct sock *s = *(struct sock **)lua_touserdata(L, -1);
    if (!s) return shake_failed(L, ERR_CLOSED, err_text(ERR_CLOSED));
    if (!fd_wait_must_block(L)) sched_check_waitable(L);
    if (stream_tls_start(&s->stream, c, name) != 0)
        return shake_failed(L, ENOMEM, err_text(ENOMEM));
    return shaking(L, LUA_OK, (lua_KContext)deadline);
}

/* ---- starttls ---- */

/* On the stack of starttls. */
enum { SOCKET = 1, OPTIONS, CTX, PEER };

static int start_failed(lua_State *L, const char *why, int err) {
    luaL_pushfail(L);
    lua_pushstring(L, why);
    lua_pushstring(L, err_name(err));
    return 3;
}

/* What was written in clear has been sent, or not: with the results of flush. */
static int flushed(lua_State *L, int status, lua_KContext deadline) {
    (void)status;
    if (lua_isnil(L, PEER + 1)) return 3;
    struct sock *s = socket_check(L, SOCKET);
    if (!s) return socket_failure(L, ERR_CLOSED);
    if (waiter_is_set(&s->reader))
        return luaL_error(L, "another fiber is already reading from this socket");
    /* Bytes sent in clear would count as if they had come through TLS: the hole of many
       an implementation of STARTTLS (CVE-2011-0411). */
    if (buf_len(&s->in)) {
        sock_close(s);
        return start_failed(L, "bytes have come in clear before TLS", ERR_TLS);
    }
    if (stream_unsent(&s->stream)) return socket_failure(L, ERR_CLOSED);
    struct tls_ctx *c = *(struct tls_ctx **)lua_touserdata(L, CTX);
    lua_settop(L, PEER);
    lua_pushliteral(L, "");
    lua_pushboolean(L, 1);
    lua_pushvalue(L, SOCKET);
    return tls_begin(L, c, lua_tostring(L, PEER), deadline);
}

static int64_t read_deadline(lua_State *L, const struct sock *s) {
    int64_t deadline;
    if (!lua_istable(L, OPTIONS)) return socket_deadline(L, s, OPTIONS + 1);
    lua_getfield(L, OPTIONS, "timeout");
    deadline = socket_deadline(L, s, OPTIONS + 1);
    lua_pop(L, 1);
    return deadline;
}

int tls_starttls(lua_State *L) {
    char why[TLS_WHY];
    lua_settop(L, OPTIONS);
    struct sock *s = socket_check(L, SOCKET);
    if (lua_isnil(L, OPTIONS)) {
        lua_pushboolean(L, 1);
        lua_replace(L, OPTIONS);
    }
    int64_t deadline = read_deadline(L, s);
    if (s && stream_is_tls(&s->stream))
        return luaL_error(L, "this socket speaks TLS already");
    struct tls_ctx *c = tls_push_ctx(L, OPTIONS, TLS_EITHER, why);
    if (!c) return start_failed(L, why, ERR_TLS);
    if (!s) return socket_failure(L, ERR_CLOSED);
    lua_pushstring(L, s->peer);
    if (tls_ctx_is_server(c)) {
        lua_pushnil(L);
    } else {
        tls_push_name(L, OPTIONS, lua_tostring(L, PEER));
    }
    lua_replace(L, PEER);
    lua_getfield(L, SOCKET, "flush");
    lua_pushvalue(L, SOCKET);
    int arguments = 1;
    if (deadline) {
        int64_t left = deadline - clock_ns();
        lua_pushnumber(L, left > 0 ? (lua_Number)left / (lua_Number)CLOCK_SECOND : 0);
        arguments++;
    }
    lua_callk(L, arguments, 3, (lua_KContext)deadline, flushed);
    return flushed(L, LUA_OK, (lua_KContext)deadline);
}

/* ---- what it came to ---- */

int tls_facts(lua_State *L) {
    struct sock *s = socket_check(L, 1);
    if (!s) return socket_failure(L, ERR_CLOSED);
    luaL_pushfail(L);
    if (!stream_is_tls(&s->stream)) return 1;
    struct tls_facts facts = stream_tls_facts(&s->stream);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, facts.version);
    lua_setfield(L, -2, "version");
    lua_pushstring(L, facts.cipher);
    lua_setfield(L, -2, "cipher");
    lua_pushstring(L, facts.name);
    lua_setfield(L, -2, "name");
    if (facts.alpn) lua_pushlstring(L, facts.alpn, facts.alpn_len);
    if (facts.alpn) lua_setfield(L, -2, "alpn");
    lua_pushboolean(L, facts.resumed);
    lua_setfield(L, -2, "resumed");
    return 1;
}
