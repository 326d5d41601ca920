#include "api/desk.h"

#include "base/err.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <string.h>

static const char DESK[] = "atoll.port.desk", BYTES[] = "atoll.port.bytes";

enum {
    KEEP = 64 * 1024,    /* of the packing buffer */
    LONG = 4 * 1024,     /* of a string: not to be copied twice */
    UNBOUNDED = 1 << 30, /* answers: as many as there are calls */
};

/* User values. HOMES: number -> handle, weakly. */
enum { LIST = 1, HOMES };

int desk_failed(lua_State *L, int err) {
    luaL_pushfail(L);
    lua_pushstring(L, err == -ETIMEDOUT ? "timed out" : err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

static struct loop *loop_of(lua_State *L) {
    struct sched *s = sched_of(L);
    return s ? s->loop : NULL;
}

static void push_homes(lua_State *L, struct desk *d) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, d);
    lua_getiuservalue(L, -1, HOMES);
    lua_remove(L, -2);
}

/* ---- what comes back ---- */

/* Outside Lua; nothing here raises. */
static void come_home(struct desk *d, struct message *m) {
    lua_State *L = d->L;
    push_homes(L, d);
    for (unsigned i = 0; i < m->cargo_count; i++) {
        struct cargo *c = &m->cargo[i];
        lua_Integer number = (lua_Integer)(m->home + i);
        if (!c->core || lua_rawgeti(L, -1, number) == LUA_TNIL) {
            if (c->core) lua_pop(L, 1);
            continue;
        }
        c->kind->put(lua_touserdata(L, -1), c->core, loop_of(L));
        c->core = NULL;
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_rawseti(L, -2, number);
    }
    lua_pop(L, 1);
}

static void take_answers(struct port *p) {
    struct desk *d = p->user;
    struct message *m;
    while ((m = port_take(p))) {
        struct desk_call *c = NULL;
        if (m->failed && m->cargo_count) come_home(d, m);
        for (struct link *l = d->calls.next; l != &d->calls && !c; l = l->next) {
            struct desk_call *at = LIST_OF(l, struct desk_call, link);
            if (at->number == m->call) c = at;
        }
        if (!c) { /* it waits no longer */
            message_free(m);
            continue;
        }
        list_unlink(&c->link);
        c->answer = m;
        sched_wake(&c->waiter, WAKE_EVENT);
    }
}

struct port *desk_answers(lua_State *L, struct desk *d) {
    struct loop *l = loop_of(L);
    if (d->answers || !l) return d->answers;
    d->answers = port_new(l, UNBOUNDED, take_answers, d);
    if (!d->answers) budget_raise(L);
    return d->answers;
}

void desk_expect(struct desk *d, struct desk_call *c, struct message *m,
                 enum message_wants wants) {
    if (!m->reply) m->reply = port_ref(d->answers);
    m->wants = wants;
    m->call = c->number = ++d->counted;
    list_append(&d->calls, &c->link);
}

/* ---- packing ---- */

void desk_clear_list(lua_State *L, int list) {
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, list); i > 0; i--) {
        lua_pushnil(L);
        lua_rawseti(L, list, i);
    }
}

static void *handle_at(lua_State *L, int list, unsigned i,
                       const struct cargo_kind **kind) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    *kind = cargo_kind_of(L, -1);
    void *handle = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return handle;
}

/* The handles of what moves, by the numbers from the result on; 0 when nothing does. */
static uint64_t note_homes(lua_State *L, struct desk *d, int list, unsigned count) {
    const struct cargo_kind *kind;
    uint64_t first = 0;
    for (unsigned i = 0; i < count; i++) {
        handle_at(L, list, i, &kind);
        if (!cargo_moves(kind)) continue;
        if (!first) {
            first = d->counted + 1;
            d->counted += count;
            push_homes(L, d);
        }
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        lua_rawseti(L, -2, (lua_Integer)(first + i));
    }
    if (first) lua_pop(L, 1);
    return first;
}

void desk_forget(lua_State *L, struct desk *d, const struct message *m, int list) {
    if (!m->home) return;
    push_homes(L, d);
    for (unsigned i = (unsigned)lua_rawlen(L, list); i-- > 0;) {
        lua_pushnil(L);
        lua_rawseti(L, -2, (lua_Integer)(m->home + i));
    }
    lua_pop(L, 1);
}

/* In the middle of a packing one of its own. */
static struct buf *push_bytes(lua_State *L, struct desk *d) {
    if (!d->packing) {
        lua_pushnil(L);
        return &d->bytes;
    }
    struct buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    buf_init(b);
    luaL_setmetatable(L, BYTES);
    return b;
}

/* A long string is copied once, into its message. */
static struct message *pack_text(lua_State *L, struct desk *d, int index) {
    char head[PACK_TEXT_HEAD];
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    size_t before = pack_text_head(len, head);
    if (before + len > PACK_SIZE_MAX) luaL_error(L, "too large to be sent");
    message_discard(d->packed);
    struct message *m = d->packed = message_new(before + len, 0);
    if (!m) budget_raise(L);
    memcpy(m->bytes, head, before);
    memcpy(m->bytes + before, text, len);
    return m;
}

struct message *desk_pack(lua_State *L, struct desk *d, int index, int list) {
    struct loop *l = loop_of(L);
    unsigned cargo = 0;
    bool inner = d->packing;
    if (d->over) luaL_error(L, "nothing can be sent while the state is being closed");
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING && lua_rawlen(L, index) >= LONG) {
        desk_clear_list(L, list);
        return pack_text(L, d, index);
    }
    struct buf *bytes = push_bytes(L, d);
    if (l) loop_defer(l, &d->tidy);
    d->packing = true;
    buf_consume(bytes, buf_len(bytes));
    desk_clear_list(L, list);
    pack_write_cargo(L, index, bytes, list, &cargo);
    uint64_t home = note_homes(L, d, list, cargo);
    struct port *reply = home ? desk_answers(L, d) : NULL;
    message_discard(d->packed);
    struct message *m = d->packed = message_new(buf_len(bytes), cargo);
    if (!m) budget_raise(L);
    if (m->len) memcpy(m->bytes, buf_data(bytes), m->len);
    if (m->len > KEEP || inner) buf_reset(bytes);
    m->home = home;
    m->reply = reply ? port_ref(reply) : NULL;
    d->packing = inner;
    if (!inner && !d->arrived) list_unlink(&d->tidy.link);
    lua_pop(L, 1);
    return m;
}

struct message *desk_take(struct desk *d) {
    struct message *m = d->packed;
    d->packed = NULL;
    return m;
}

/* ---- putting ---- */

bool desk_is_early(lua_State *L, const struct message *m, int list) {
    const struct cargo_kind *kind;
    unsigned count = m->cargo ? (unsigned)lua_rawlen(L, list) : 0;
    for (unsigned i = 0; i < count; i++) {
        void *handle = handle_at(L, list, i, &kind);
        if (kind->early && kind->early(handle)) return true;
    }
    return false;
}

bool desk_is_over(lua_State *L, const struct message *m, int list) {
    const struct cargo_kind *kind;
    unsigned count = m->cargo ? (unsigned)lua_rawlen(L, list) : 0;
    for (unsigned i = 0; i < count; i++) {
        void *handle = handle_at(L, list, i, &kind);
        if (cargo_is_over(kind, handle)) return true;
    }
    return false;
}

int desk_load(lua_State *L, struct message *m, int list) {
    const struct cargo_kind *kind;
    unsigned count = m->cargo ? (unsigned)lua_rawlen(L, list) : 0;
    if (desk_is_over(L, m, list)) return ERR_CLOSED;
    for (unsigned i = 0; i < count; i++) {
        void *handle = handle_at(L, list, i, &kind);
        const char *why = kind->refuse(handle);
        if (why) luaL_error(L, "%s", why);
        if (kind->early && kind->early(handle))
            luaL_error(L, "the %s has only just come: atoll.sleep(0) first",
                       kind->name);
    }
    for (unsigned i = 0; i < count; i++) {
        void *handle = handle_at(L, list, i, &kind);
        m->cargo[i] = (struct cargo){kind, kind->take(handle)};
    }
    m->cargo_count = count;
    return 0;
}

void desk_unload(lua_State *L, struct message *m, int list) {
    const struct cargo_kind *kind;
    for (unsigned i = 0; i < m->cargo_count; i++) {
        void *handle = handle_at(L, list, i, &kind);
        if (m->cargo[i].core) kind->put(handle, m->cargo[i].core, loop_of(L));
    }
    m->cargo_count = 0;
}

static int put_done(lua_State *L, struct desk *d, struct message *m, int list,
                    int err) {
    if (err)
        desk_unload(L, m, list);
    else if (m == d->packed)
        d->packed = NULL;
    return err;
}

int desk_put(lua_State *L, struct desk *d, struct port *p, struct message *m, int list,
             struct port_wait *w) {
    int err = desk_load(L, m, list);
    return err ? err : put_done(L, d, m, list, port_put(p, m, w));
}

int desk_put_answer(lua_State *L, struct desk *d, struct port *p, struct message *m,
                    int list) {
    int err = desk_load(L, m, list);
    return err ? err : put_done(L, d, m, list, port_put_answer(p, m));
}

/* ---- unpacking ---- */

static void free_arrived(struct desk *d, const struct message *until) {
    while (d->arrived != until) {
        struct message *m = d->arrived;
        d->arrived = m->next;
        message_free(m);
    }
}

/* Whoever was packing or unpacking has raised. */
static void tidy(struct deferred *t) {
    struct desk *d = LIST_OF(t, struct desk, tidy);
    d->packing = false;
    message_discard(desk_take(d));
    free_arrived(d, NULL);
}

void desk_accept(lua_State *L, struct desk *d, struct message *m) {
    struct loop *l = loop_of(L);
    m->next = d->arrived;
    d->arrived = m;
    if (l) loop_defer(l, &d->tidy);
}

struct message *desk_unpack(lua_State *L, struct desk *d, struct message *m) {
    pack_read_cargo(L, span_of(m->bytes, m->len), m->cargo, m->cargo_count, loop_of(L));
    free_arrived(d, m); /* of finalizers that have raised */
    d->arrived = m->next;
    if (!d->arrived && !d->packing) list_unlink(&d->tidy.link);
    return m;
}

/* ---- the desk ---- */

static int desk_gc(lua_State *L) {
    struct desk *d = luaL_checkudata(L, 1, DESK);
    struct link *first;
    d->over = true;
    list_unlink(&d->tidy.link);
    buf_reset(&d->bytes);
    message_discard(desk_take(d));
    free_arrived(d, NULL);
    while ((first = list_first(&d->calls))) list_unlink(first);
    if (!d->answers) return 0;
    port_close(d->answers);
    port_unref(d->answers);
    d->answers = NULL;
    return 0;
}

static int bytes_gc(lua_State *L) {
    buf_reset(luaL_checkudata(L, 1, BYTES));
    return 0;
}

void desk_push_list(lua_State *L, struct desk *d) {
    if (d->packing) {
        lua_newtable(L);
        return;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, d);
    lua_getiuservalue(L, -1, LIST);
    lua_remove(L, -2);
}

struct desk *desk_find(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, DESK) == LUA_TNIL) {
        lua_getglobal(L, "require");
        lua_pushliteral(L, "atoll.core.port");
        lua_call(L, 1, 0);
        lua_pop(L, 1);
        lua_rawgetp(L, LUA_REGISTRYINDEX, DESK);
    }
    struct desk *d = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return d;
}

static void new_class(lua_State *L, const char *name, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void desk_push(lua_State *L) {
    new_class(L, DESK, desk_gc);
    new_class(L, BYTES, bytes_gc);
    struct desk *d = lua_newuserdatauv(L, sizeof *d, HOMES);
    *d = (struct desk){.L = generation_of(L)->L, .tidy.run = tidy};
    list_init(&d->calls);
    list_init(&d->tidy.link);
    luaL_setmetatable(L, DESK);
    lua_newtable(L);
    lua_setiuservalue(L, -2, LIST);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setiuservalue(L, -2, HOMES);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, d);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, DESK);
}
