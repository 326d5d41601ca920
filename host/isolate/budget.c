#include "isolate/budget.h"

#include "isolate/isolate.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum {
    RESERVE_LEAST = 512 * 1024,
    TELL = 16 * 1024, /* native bytes that the collector is told of at once */
};

/* Between two looks at a state whose owner knows already. */
static const int64_t REST = CLOCK_SECOND;

static size_t reserve_of(size_t limit) {
    return limit / 8 < RESERVE_LEAST ? RESERVE_LEAST : limit / 8;
}

/* Where in the program L is; the host's own half tells its author nothing. */
static void note_place(struct budget *b, lua_State *L) {
    lua_Debug d;
    b->place[0] = 0;
    for (int level = 0; lua_getstack(L, level, &d); level++) {
        lua_getinfo(L, "Sl", &d);
        if (d.currentline <= 0 || strncmp(d.source, "@lua/atoll/", 11) == 0) continue;
        snprintf(b->place, sizeof b->place, "%s:%d: ", d.short_src, d.currentline);
        return;
    }
}

/* ---- collections that yield nothing ---- */

/* What those may take in one go; and from then on this share of all time. A state that
 * is full of what is in use would do nothing but look for garbage, in each request for
 * memory, and nobody else would have his turn. */
#define VAIN_MAX (CLOCK_SECOND / 2)
enum { VAIN_SHARE = 4, VAIN_YIELD = 16 };

static bool may_collect(struct budget *b) {
    int64_t now = clock_ns();
    b->vain -= (now - b->vain_seen) / VAIN_SHARE;
    if (b->vain < 0) b->vain = 0;
    b->vain_seen = now;
    return b->vain < VAIN_MAX;
}

static void collected(struct generation *g) {
    struct budget *b = &g->budget;
    int64_t took = clock_ns() - b->vain_seen;
    size_t limit = g->alloc.limit;
    b->vain_seen += took;
    b->vain = g->alloc.used < limit - limit / VAIN_YIELD ? 0 : b->vain + took;
}

__attribute__((used)) void __wrap_luaC_fullgc(lua_State *L, int emergency) {
    void *data;
    struct generation *g = NULL;
    if (emergency && lua_getallocf(L, &data) == alloc_lua)
        g = LIST_OF(data, struct generation, alloc);
    if (g && !may_collect(&g->budget)) return;
    __real_luaC_fullgc(L, emergency);
    if (g) collected(g);
}

static void collect(lua_State *L) {
    struct generation *g = generation_of(L);
    if (!may_collect(&g->budget)) return;
    lua_gc(L, LUA_GCCOLLECT);
    collected(g);
}

/* ---- at the end of the turn ---- */

/* Half of what was free at first has to be free again. Where there is no limit, it is
 * what was in use when the system had no more. */
static bool has_room(struct generation *g) {
    const struct budget *b = &g->budget;
    alloc_sync(&g->alloc);
    size_t limit = b->limit ? b->limit : b->used;
    return g->alloc.used <= b->began ||
           g->alloc.used - b->began <= (limit - b->began) / 2;
}

static void look(struct deferred *d) {
    struct budget *b = LIST_OF(d, struct budget, look);
    struct generation *g = LIST_OF(b, struct generation, budget);
    int64_t now = g->isolate->loop.now;
    /* What one that was suspended holds it may be about to let go of. */
    for (struct link *l = g->fibers.next; l != &g->fibers; l = l->next) {
        const struct fiber *f = LIST_OF(l, struct fiber, member);
        if (f->starved && f->queued && f->computed) return;
    }
    if (g->state >= GEN_DRAINING || (b->told && now - b->looked < REST)) return;
    b->looked = now;
    /* What finalizers let go of is garbage the next time. */
    for (int i = 0; i < 2 && (i == 0 || !has_room(g)); i++) lua_gc(g->L, LUA_GCCOLLECT);
    if (has_room(g)) {
        b->spent = b->told = false;
        alloc_limit(&g->alloc, b->limit ? b->limit : SIZE_MAX);
    } else if (!b->told) {
        b->told = true;
        if (g->exhausted) g->exhausted(g);
    }
}

void budget_look(struct generation *g) {
    bool looks = g->isolate && g->state < GEN_DRAINING && g->budget.spent;
    if (looks) loop_defer_last(&g->isolate->loop, &g->budget.look);
}

/* ---- when memory runs out ---- */

/* Nothing here takes memory of Lua's. */
static void ran_out(lua_State *L, struct generation *g) {
    struct alloc *a = &g->alloc;
    struct budget *b = &g->budget;
    if (b->spent && !a->refused) return; /* caught, and raised again */
    b->used = a->used;
    b->wanted = a->refused;
    a->refused = 0;
    if (!g->L) return; /* it is being made */
    note_place(b, L);
    b->spent = true;
    if (b->limit) alloc_limit(a, b->limit + reserve_of(b->limit));
    struct fiber *f = g->isolate ? g->isolate->sched.current : NULL;
    if (f && f->generation == g) f->starved = true;
    budget_look(g);
}

void budget_noticed(lua_State *L) {
    struct generation *g = generation_of(L);
    if (!g->budget.spent || g->alloc.refused) ran_out(L, g);
}

__attribute__((used)) void __wrap_luaD_throw(lua_State *L, int status) {
    void *data;
    if (status == LUA_ERRMEM && lua_getallocf(L, &data) == alloc_lua)
        ran_out(L, LIST_OF(data, struct generation, alloc));
    __real_luaD_throw(L, status);
}

bool budget_tells(struct generation *g) {
    int64_t now = clock_ns();
    if (g->budget.heard && now - g->budget.heard < REST) return false;
    g->budget.heard = now;
    return true;
}

/* ---- native memory ---- */

int budget_raise(lua_State *L) {
    lua_pushliteral(L, "not enough memory"); /* then Lua takes it for its own */
    return lua_error(L);
}

void budget_tell(lua_State *L, size_t n) {
    struct budget *b = &generation_of(L)->budget;
    b->untold += n;
    if (b->untold < TELL) return;
    size_t kib = b->untold / 1024;
    b->untold = 0;
    lua_gc(L, LUA_GCSTEP, kib < INT32_MAX ? (int)kib : INT32_MAX);
}

/* When there is no room a collection that, unlike the one in want of memory, runs
 * finalizers may make some. */
void budget_charge(lua_State *L, size_t n) {
    struct alloc *a = &generation_of(L)->alloc;
    budget_tell(L, n);
    if (alloc_charge(a, n)) return;
    collect(L);
    if (!alloc_charge(a, n)) budget_raise(L);
}

size_t budget_room(lua_State *L) {
    const struct alloc *a = &generation_of(L)->alloc;
    return a->used < a->limit ? a->limit - a->used : 0;
}

void budget_want(lua_State *L, size_t n) {
    budget_charge(L, n);
    budget_discharge(generation_of(L), n);
}

void budget_adjust(lua_State *L, size_t *charged, size_t n) {
    if (n > *charged)
        budget_charge(L, n - *charged);
    else
        budget_discharge(generation_of(L), *charged - n);
    *charged = n;
}

void budget_raise_to(lua_State *L, struct budget_share *s, size_t n) {
    if (n <= s->bytes) return;
    size_t rest = n - s->bytes;
    budget_charge(L, rest);
    s->of = generation_of(L);
    s->bytes += rest;
}

void budget_lower_to(struct budget_share *s, size_t n) {
    if (s->bytes <= n) return;
    budget_discharge(s->of, s->bytes - n);
    s->bytes = n;
}

struct alloc_tally *budget_charge_tally(lua_State *L, size_t n) {
    struct alloc *a = &generation_of(L)->alloc;
    budget_tell(L, n);
    struct alloc_tally *t = alloc_charge_tally(a, n);
    if (t) return t;
    collect(L);
    t = alloc_charge_tally(a, n);
    if (!t) budget_raise(L);
    return t;
}

void budget_discharge(struct generation *g, size_t n) {
    alloc_discharge(&g->alloc, n);
}

/* ---- texts ---- */

char *budget_size(size_t bytes, char out[16]) {
    static const char units[] = " KMGT";
    double n = (double)bytes;
    const char *unit = units;
    for (; n >= 1024 && unit[1]; unit++) n /= 1024;
    int decimals = unit > units && n < 100 && n != (double)(int)n;
    snprintf(out, 16, "%.*f%.1s", decimals, n, unit == units ? "" : unit);
    return out;
}

size_t budget_text(const struct generation *g, char out[BUDGET_TEXT]) {
    const struct budget *b = &g->budget;
    char limit[16], used[16], wanted[16];
    budget_size(b->limit, limit);
    budget_size(b->used, used);
    budget_size(b->wanted, wanted);
    int n = snprintf(out, BUDGET_TEXT, "%snot enough memory%s%s%s: %s in use%s%s%s",
                     b->place, b->limit ? " (limit " : "", b->limit ? limit : "",
                     b->limit ? ")" : "", used, b->wanted ? ", " : "",
                     b->wanted ? wanted : "", b->wanted ? " more wanted" : "");
    return n < BUDGET_TEXT ? (size_t)n : BUDGET_TEXT - 1;
}

/* ---- its life ---- */

void budget_open(struct generation *g, size_t limit) {
    g->budget = (struct budget){.limit = limit, .look = {.run = look}};
    list_init(&g->budget.look.link);
    if (limit) alloc_limit(&g->alloc, limit);
}

void budget_loaded(struct generation *g) {
    g->budget.began = g->alloc.used;
}

void budget_close(struct generation *g) {
    list_unlink(&g->budget.look.link);
}
