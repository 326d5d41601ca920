#include "api/testing_lua.h"

#include "api/app_lua.h"
#include "api/blocking_state.h"
#include "api/hook_lua.h"
#include "api/request_lua.h"
#include "api/vigil_lua.h"
#include "base/check.h"
#include "http/front.h"
#include "http/h1.h"
#include "isolate/closing.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>

enum { HARNESS = 0x68617273, PIPE = 0x70697065 };

static const char HARNESS_NAME[] = "atoll.testing.harness",
                  PIPE_NAME[] = "atoll.testing.pipe";

static const int64_t PATIENCE = 60 * (int64_t)1000000000;

struct harness {
    uint32_t magic;
    char appdir[PATH_MAX];
    struct app_options options;
    struct generation_plan plan;
    struct generation *generation; /* NULL when closed */
    struct crew crew;
    struct front front;
    struct waiter started;
    bool is_started;
    struct buf problem;
    struct grave grave;
};

/* A connection between exchange() and the front. */
struct pipe {
    uint32_t magic;
    struct h1 *conn; /* NULL when closed */
    struct buf in, out;
    struct waiter closed;
    struct deferred poke;
    struct loop *loop;
};

/* ---- the transport ---- */

static enum io memory_read(struct stream *s, char *to, size_t room, size_t *n) {
    struct pipe *p = s->io.data;
    size_t len = buf_len(&p->in);
    if (!len) return IO_AGAIN;
    *n = len < room ? len : room;
    memcpy(to, buf_data(&p->in), *n);
    buf_consume(&p->in, *n);
    if (buf_len(&p->in)) loop_defer(p->loop, &p->poke);
    return IO_OK;
}

static enum io memory_writev(struct stream *s, const struct iovec *pieces, int count,
                             size_t *n) {
    struct pipe *p = s->io.data;
    *n = 0;
    for (int i = 0; i < count; i++) {
        if (buf_append(&p->out, pieces[i].iov_base, pieces[i].iov_len) != 0)
            return IO_FAIL;
        *n += pieces[i].iov_len;
    }
    return IO_OK;
}

static enum io memory_shutdown(struct stream *s) {
    struct pipe *p = s->io.data;
    /* The answer is whole; what the front still waits for will not come. */
    loop_defer(p->loop, &p->poke);
    return IO_OK;
}

static void memory_close(struct stream *s) {
    struct pipe *p = s->io.data;
    p->conn = NULL;
    sched_wake(&p->closed, WAKE_EVENT);
}

static const struct stream_ops memory = {.read = memory_read,
                                         .writev = memory_writev,
                                         .shutdown = memory_shutdown,
                                         .close = memory_close};

static void poke(struct deferred *d) {
    struct pipe *p = LIST_OF(d, struct pipe, poke);
    if (!p->conn) return;
    if (p->conn->phase == H1_LINGER)
        h1_cut(p->conn);
    else
        h1_poke(p->conn);
}

static int pipe_close(lua_State *L) {
    struct pipe *p = luaL_checkudata(L, 1, PIPE_NAME);
    list_unlink(&p->poke.link);
    if (p->conn) h1_cut(p->conn);
    buf_reset(&p->in);
    buf_reset(&p->out);
    return 0;
}

/* ---- the harness ---- */

static void request(struct exchange *x) {
    struct harness *h = x->front->app_data;
    app_serve(x, h->generation, &((struct app *)h->generation->app)->site);
}

static const struct http_app app = {request, request_woken_body, request_woken_output,
                                    request_gone, vigil_left};

static void bury(struct grave *grave) {
    struct harness *h = LIST_OF(grave, struct harness, grave);
    buf_reset(&h->problem);
    front_done(&h->front);
    free(h);
}

/* Its connections are in their graves before it is, and need the front there. */
static void close_harness(struct harness **handle) {
    struct harness *h = *handle;
    if (!h) return;
    *handle = NULL;
    buf_reset(&h->problem);
    if (!h->generation) { /* it was never loaded */
        free(h);
        return;
    }
    struct loop *l = h->front.loop;
    front_cut(&h->front);
    generation_free(h->generation);
    h->generation = NULL;
    blocking_site_close(h->options.blocking);
    h->grave.done = bury;
    loop_bury(l, &h->grave);
}

static struct harness *check(lua_State *L) {
    struct harness *h = *(struct harness **)luaL_checkudata(L, 1, HARNESS_NAME);
    if (!h || !h->generation) luaL_error(L, "the app is closed");
    return h;
}

static int harness_gc(lua_State *L) {
    close_harness(luaL_checkudata(L, 1, HARNESS_NAME));
    return 0;
}

static int harness_close(lua_State *L) {
    return harness_gc(L);
}

static void started(struct generation *g, int err, struct span text, void *data) {
    struct harness *h = data;
    (void)g;
    h->is_started = true;
    if (err && buf_append(&h->problem, text.at, text.len) != 0) h->is_started = true;
    sched_wake(&h->started, WAKE_EVENT);
}

/* The harness is on top. */
static int loaded(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct harness **handle = lua_touserdata(L, -1), *h = *handle;
    if (!h->is_started) return sched_park(L, &h->started, 0, loaded, 0);
    if (buf_len(&h->problem)) {
        lua_pushnil(L);
        lua_pushlstring(L, buf_data(&h->problem), buf_len(&h->problem));
        close_harness(handle);
        return 2;
    }
    return 1;
}

static const struct front_limits limits = {
    .head = {8192, 32768, 100},
    .body_max = 16 << 20,
    .head_timeout = 60000000000,
    .body_timeout = 60000000000,
    .idle_timeout = 60000000000,
    .write_timeout = 60000000000,
    .open_files = 16,
};

/* load(directory[, n]): the n-th allocation of its state fails. */
static int load(lua_State *L) {
    const char *directory = luaL_checkstring(L, 1);
    lua_Integer fault = luaL_optinteger(L, 2, 0);
    struct generation *mine = generation_of(L);
    sched_check_waitable(L);
    struct harness **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, HARNESS_NAME);
    struct harness *h = *handle = calloc(1, sizeof *h);
    if (!h) return budget_raise(L);
    h->magic = HARNESS;
    if (!realpath(directory, h->appdir)) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", directory, err_text(-errno));
        return 2;
    }
    const struct app_options *own = ((struct app *)mine->app)->options;
    h->options = (struct app_options){.appdir = h->appdir,
                                      .strict = own->strict,
                                      .compat_path = own->compat_path,
                                      .links = own->links,
                                      .limits = own->limits,
                                      .forms = own->forms,
                                      .version = own->version};
    h->plan = *mine->plan;
    h->plan.open = app_open;
    h->plan.data = &h->options;
    h->plan.fault = (unsigned)fault;
    h->options.blocking = blocking_site_new(&h->options, &h->plan);
    if (!h->options.blocking) return budget_raise(L);
    struct generation *g = generation_new(&h->plan, 1, &h->problem);
    if (!g) {
        blocking_site_close(h->options.blocking);
        lua_pushnil(L);
        lua_pushlstring(L, buf_data(&h->problem), buf_len(&h->problem));
        buf_reset(&h->problem);
        return 2;
    }
    struct isolate *i = mine->isolate;
    /* On this isolate, but none that its own requests go to. */
    struct generation *next = i->next;
    i->next = NULL;
    isolate_adopt(i, g);
    i->next = next;
    if (front_init(&h->front, &i->loop, &h->crew, &limits, &app, h) != 0) {
        generation_free(g);
        blocking_site_close(h->options.blocking);
        return budget_raise(L);
    }
    h->generation = g;
    hook_run(g, HOOK_START, SPAN(""), started, h);
    return loaded(L, LUA_OK, 0);
}

/* At index 1 the harness, 2 the bytes, 3 the pipe. */
static int answered(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct pipe *p = luaL_checkudata(L, 3, PIPE_NAME);
    if (p->conn && sched_woke(L) == WAKE_TIMEOUT) {
        lua_pushnil(L);
        lua_pushliteral(L, "the app has not answered for a minute");
        lua_pushliteral(L, "ETIMEDOUT");
        return 3;
    }
    lua_pushlstring(L, buf_len(&p->out) ? buf_data(&p->out) : "", buf_len(&p->out));
    return 1;
}

static int exchange(lua_State *L) {
    struct harness *h = check(L);
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    sched_check_waitable(L);
    lua_settop(L, 2);
    struct pipe *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct pipe){.magic = PIPE, .loop = h->front.loop};
    list_init(&p->poke.link);
    p->poke.run = poke;
    luaL_setmetatable(L, PIPE_NAME);
    lua_toclose(L, 3);
    if (buf_append(&p->in, bytes, len) != 0 ||
        !(p->conn = h1_open_memory(&h->front, &memory)))
        return budget_raise(L);
    p->conn->stream.io.data = p;
    loop_defer(p->loop, &p->poke);
    return sched_park(L, &p->closed, p->loop->now + PATIENCE, answered, 0);
}

/* fibers(): how many this isolate has. */
static int fibers(lua_State *L) {
    struct sched *s = sched_of(L);
    lua_pushinteger(L, s ? (lua_Integer)(s->started - s->ended) : 0);
    return 1;
}

/* suspend_always(on): at each instruction from now on. */
static int suspend_always(lua_State *L) {
    struct sched *s = sched_of(L);
    if (s) preempt_always(s, lua_toboolean(L, 1));
    return 0;
}

/* suspend_never(on): who does not wait is not suspended, however long it takes; for
 * specs of who runs when. */
static int suspend_never(lua_State *L) {
    struct sched *s = sched_of(L);
    if (s) s->whole = lua_toboolean(L, 1);
    return 0;
}

/* fault(n): the n-th allocation of this state from now on fails, as Lua sees it; or, as
 * a method, of the app's. fault() ends that: whether it has failed. */
static int fault_of(lua_State *L, struct generation *g, int index) {
    lua_Integer n = luaL_optinteger(L, index, 0);
    bool failed = alloc_has_failed(&g->alloc);
    alloc_fail(&g->alloc, (unsigned)n);
    lua_pushboolean(L, failed);
    return 1;
}

static int fault(lua_State *L) {
    return fault_of(L, generation_of(L), 1);
}

static int harness_fault(lua_State *L) {
    return fault_of(L, check(L)->generation, 2);
}

static const luaL_Reg functions[] = {{"load", load},
                                     {"fibers", fibers},
                                     {"suspend_always", suspend_always},
                                     {"suspend_never", suspend_never},
                                     {"fault", fault},
                                     {NULL, NULL}};
static const luaL_Reg methods[] = {{"exchange", exchange},
                                   {"close", harness_close},
                                   {"fault", harness_fault},
                                   {NULL, NULL}};

int luaopen_atoll_core_testing(lua_State *L) {
    closing_kind(L, PIPE_NAME, pipe_close);
    luaL_newmetatable(L, HARNESS_NAME);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, harness_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
