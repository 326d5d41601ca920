#include "api/json_write.h"
#include "api/topic_lua.h"
#include "api/websocket_lua.h"
#include "base/log.h"
#include "codec/ws_deflate.h"
#include "isolate/gate.h"
#include "isolate/isolate.h"
#include "isolate/pack.h"
#include "isolate/topic.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* What is published to a topic goes to WebSockets, without their state being asked: the
 * first who needs a bulletin as a frame makes it, and all others, in whatever isolate,
 * send the same bytes. A client who reads slowly leaves what follows on the board. */

enum { CAPACITY = 1000, CAPACITY_MAX = 1 << 24 };

/* The forms of a bulletin. */
enum { AS_BINARY = 1, AS_PACKED = 2 };

struct source {
    struct websocket_source base;
    struct websocket *w;
    struct topic *topic; /* a reference */
    struct subscriber reader;
    struct isolate *isolate;
    struct deferred begin; /* looks for what is there already */
    struct grave grave;
    uint64_t missed;
    bool binary; /* strings go as binary messages */
    bool skips;  /* what it could not keep up with; else it is closed */
};

/* ---- bulletins as frames ---- */

/* The value that the bytes of the light userdata hold, as JSON into the buffer. */
static int write_json(lua_State *L) {
    const struct bulletin *b = lua_touserdata(L, 1);
    struct buf *out = lua_touserdata(L, 2);
    if (b->cargo_count) return luaL_error(L, "references cannot be JSON");
    pack_read(L, span_of(b->bytes, b->len));
    if (!json_write(L, -1, out, &json_write_strict)) return lua_error(L);
    return 0;
}

static bool json_of(struct source *s, struct bulletin *b, struct buf *out) {
    lua_State *L = s->isolate->current->L;
    struct buf error;
    buf_init(&error);
    lua_pushcfunction(L, write_json);
    lua_pushlightuserdata(L, b);
    lua_pushlightuserdata(L, out);
    int err = gate_call(L, 2, 0, &error);
    if (err) {
        struct span name = topic_name(s->topic), why = buf_span(&error);
        const char *end = memchr(why.at, '\n', why.len);
        if (end) why.len = (size_t)(end - why.at);
        log_error("topic %.*s: a value did not go to WebSockets: %.*s", (int)name.len,
                  name.at, (int)why.len, why.at);
    }
    buf_reset(&error);
    return err == 0;
}

static bool is_utf8(struct span s) {
    struct utf8_check check = {0};
    return utf8_feed(&check, s.at, s.len) && !check.left;
}

/* Appends the frame, or nothing when there is no such. 0 or ERR_MEMORY. */
static int make_frame(struct source *s, struct bulletin *b, unsigned which,
                      struct buf *out) {
    struct span payload;
    struct buf json, packed;
    enum ws_kind kind = which & AS_BINARY ? WS_BINARY : WS_TEXT;
    bool small = false, good = true;
    int err = 0;
    buf_init(&json);
    buf_init(&packed);
    if (pack_is_string(span_of(b->bytes, b->len), &payload)) {
        if (!is_utf8(payload)) kind = WS_BINARY;
    } else if (!buf_reserve(&json, 1)) {
        return ERR_MEMORY;
    } else {
        good = json_of(s, b, &json);
        payload = good ? buf_span(&json) : SPAN("");
    }
    if (good && which & AS_PACKED) {
        struct ws_packer packer;
        struct ws_pool pool = {0};
        ws_packer_init(&packer, false, WS_BITS_MOST);
        small = ws_pack(&packer, &pool, payload, &packed) == WS_PACKED_OK;
        ws_packer_done(&packer);
        ws_pool_drain(&pool);
        if (small) payload = buf_span(&packed);
    }
    if (good) err = ws_append(NULL, out, kind, true, small, false, payload);
    buf_reset(&json);
    buf_reset(&packed);
    return err;
}

/* The frame of that form, which may be empty; NULL without memory. */
static struct bulletin_form *form_of(struct source *s, struct bulletin *b,
                                     unsigned which) {
    struct bulletin_form *form = bulletin_form(b, which);
    struct buf frame;
    if (form) return form;
    buf_init(&frame);
    if (make_frame(s, b, which, &frame) == 0) {
        size_t len = buf_len(&frame);
        form = bulletin_form_new(len);
        if (form && len) memcpy(form->bytes, buf_data(&frame), len);
    }
    buf_reset(&frame);
    return form ? bulletin_form_set(b, which, form) : NULL;
}

/* A client masks, and so has frames of its own. */
static int send_payload(struct websocket *w, struct span frame) {
    unsigned length = (unsigned char)frame.at[1];
    size_t head = length == 127 ? 10 : length == 126 ? 4 : 2;
    enum ws_kind kind = (enum ws_kind)(frame.at[0] & 0x0f);
    return websocket_send(w, kind, span_of(frame.at + head, frame.len - head));
}

/* Whether it could be sent, if only there is memory for it. */
static bool send_bulletin(struct source *s, struct bulletin *b) {
    struct websocket *w = s->w;
    unsigned which = s->binary ? AS_BINARY : 0;
    if (!w->client && websocket_takes_packed(w)) which |= AS_PACKED;
    struct bulletin_form *form = form_of(s, b, which);
    if (!form) return false;
    if (!form->len) return true;
    struct span frame = span_of(form->bytes, form->len);
    int err = w->client ? send_payload(w, frame) : websocket_send_frame(w, frame);
    return err != ERR_MEMORY;
}

/* ---- sources ---- */

static struct source *source_of(struct websocket_source *base) {
    return LIST_OF(base, struct source, base);
}

/* Who is to miss nothing, but has. */
static void close_missing(struct source *s, const char *why) {
    struct span name = topic_name(s->topic);
    log_warn("a WebSocket was closed: %s, and %llu messages of topic %.*s went by", why,
             (unsigned long long)s->missed, (int)name.len, name.at);
    websocket_close(s->w, WS_TRY_LATER, span_str(why), false);
}

/* Sends what there is, until the client has enough. */
static void pump(struct source *s) {
    while (s->reader.board && !websocket_is_full(s->w)) {
        uint64_t missed;
        bool last;
        struct bulletin *b = subscriber_take(&s->reader, &missed, &last);
        s->missed += missed;
        if (missed && !s->skips) {
            bulletin_unref(b);
            close_missing(s, "it reads too slowly");
            return;
        }
        if (!b) return;
        bool sent = send_bulletin(s, b);
        bulletin_unref(b);
        if (sent) continue;
        s->missed++;
        if (!s->skips) {
            close_missing(s, "there is not enough memory");
            return;
        }
    }
}

static void arrived(struct subscriber *r) {
    pump(r->user);
}

static void begin(struct deferred *d) {
    pump(LIST_OF(d, struct source, begin));
}

static void free_buried(struct grave *g) {
    struct source *s = LIST_OF(g, struct source, grave);
    topic_unref(s->topic);
    free(s);
}

static void end(struct source *s, struct loop *l) {
    subscriber_end(&s->reader);
    list_unlink(&s->base.link);
    list_unlink(&s->begin.link);
    if (l)
        loop_bury(l, &s->grave);
    else
        free_buried(&s->grave);
}

static void drained(struct websocket_source *base) {
    pump(source_of(base));
}

/* Without memory it stays behind, as if it had ended. */
static void left(struct websocket_source *base) {
    struct source *s = source_of(base);
    list_unlink(&s->begin.link);
    if (subscriber_leave(&s->reader) != 0) subscriber_end(&s->reader);
}

static void entered(struct websocket_source *base, struct loop *l) {
    struct source *s = source_of(base);
    s->isolate = LIST_OF(l, struct isolate, loop);
    if (s->reader.board && subscriber_enter(&s->reader, l) != 0)
        subscriber_end(&s->reader);
    loop_defer(l, &s->begin);
}

static void ended(struct websocket_source *base, struct loop *l) {
    end(source_of(base), l);
}

static const struct websocket_source_ops ops = {drained, left, entered, ended};

/* ---- Lua ---- */

static struct source *find(struct websocket *w, const struct topic *t) {
    for (struct link *l = w->sources.next; l != &w->sources; l = l->next) {
        struct source *s = source_of(LIST_OF(l, struct websocket_source, link));
        if (s->topic == t) return s;
    }
    return NULL;
}

struct options {
    bool binary, skips;
    unsigned capacity;
};

static void read_options(lua_State *L, int index, struct options *o) {
    static const char *const whats[] = {"close", "skip", NULL};
    *o = (struct options){.capacity = CAPACITY};
    if (lua_isnoneornil(L, index)) return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name =
            lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "(no name)";
        if (strcmp(name, "binary") == 0) {
            o->binary = lua_toboolean(L, -1);
        } else if (strcmp(name, "lagging") == 0) {
            o->skips = luaL_checkoption(L, lua_gettop(L), NULL, whats) == 1;
        } else if (strcmp(name, "capacity") == 0) {
            lua_Integer n = luaL_checkinteger(L, -1);
            luaL_argcheck(L, n >= 1 && n <= CAPACITY_MAX, index,
                          "the capacity is a number of messages, at least 1");
            o->capacity = (unsigned)n;
        } else {
            luaL_argerror(
                L, index,
                lua_pushfstring(L,
                                "there is no option %s; there are binary, capacity "
                                "and lagging",
                                name));
        }
        lua_pop(L, 1);
    }
}

static int add(struct websocket *w, struct isolate *i, struct topic *t,
               const struct options *o) {
    struct source *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    *s = (struct source){.base.ops = &ops,
                         .w = w,
                         .topic = t,
                         .reader = {.arrived = arrived, .user = s},
                         .isolate = i,
                         .begin.run = begin,
                         .grave.done = free_buried,
                         .binary = o->binary,
                         .skips = o->skips};
    list_init(&s->begin.link);
    if (topic_subscribe(t, &i->loop, o->capacity, &s->reader) != 0) {
        free(s);
        return ERR_MEMORY;
    }
    list_append(&w->sources, &s->base.link);
    loop_defer(&i->loop, &s->begin);
    return 0;
}

int websocket_subscribe(lua_State *L) {
    struct options o;
    struct websocket_handle *h = websocket_check(L, 1);
    read_options(L, 3, &o);
    struct topic *t = topic_of_argument(L, 2);
    struct websocket *w = h->w;
    int err = 0;
    if (!w || w->state != WEBSOCKET_OPEN) err = ERR_CLOSED;
    if (err || find(w, t) || (err = add(w, generation_of(L)->isolate, t, &o)))
        topic_unref(t);
    if (err == ERR_MEMORY) return luaL_error(L, "not enough memory");
    if (err) {
        luaL_pushfail(L);
        lua_pushstring(L, err_text(err));
        lua_pushstring(L, err_name(err));
        return 3;
    }
    lua_pushboolean(L, true);
    return 1;
}

int websocket_unsubscribe(lua_State *L) {
    struct websocket_handle *h = websocket_check(L, 1);
    struct topic *t = topic_of_argument(L, 2);
    struct source *s = h->w ? find(h->w, t) : NULL;
    topic_unref(t);
    if (s) end(s, &s->isolate->loop);
    lua_pushboolean(L, s != NULL);
    return 1;
}

uint64_t websocket_missed(const struct websocket *w) {
    uint64_t missed = 0;
    for (struct link *l = w->sources.next; l != &w->sources; l = l->next)
        missed += source_of(LIST_OF(l, struct websocket_source, link))->missed;
    return missed;
}
