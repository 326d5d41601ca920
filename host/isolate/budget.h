/* The budget of a state: how much memory it may have in use, native memory that its
 * values hold included. At the limit Lua collects its garbage and, if that is not
 * enough, raises "not enough memory". From then on there is a reserve beyond the limit,
 * for what is to be said about it and for what others have under way. At the end of the
 * loop's turn the garbage is collected again: a state that then has room goes on within
 * its old limit, of any other its owner is told, who replaces or ends it.
 *
 * The program is linked with --wrap=luaD_throw: so memory that has run out is seen
 * where that is raised, whoever catches it, and in whatever fiber, hook or finalizer.
 * And with --wrap=luaC_fullgc: what collects in vain, again and again, is not let do
 * only that.
 * The thread that the state is on. */
#ifndef ISOLATE_BUDGET_H
#define ISOLATE_BUDGET_H

#include "net/loop.h"

#include <lua.h>

struct generation;
struct alloc_tally;

enum {
    BUDGET_LEAST = 1024 * 1024, /* less is no use: modules alone take half of it */
    BUDGET_TEXT = 256,
};

struct budget {
    size_t limit;        /* 0: none */
    size_t began;        /* in use when it was loaded */
    size_t used, wanted; /* when memory ran out last; bytes more */
    size_t untold;       /* native bytes of which the collector does not know */
    bool spent;          /* the reserve is open */
    bool told;           /* its owner knows */
    int64_t looked;      /* monotonic ns */
    int64_t vain;        /* ns that collections took lately and that yielded nothing */
    int64_t vain_seen;   /* monotonic ns */
    int64_t heard;       /* monotonic ns, when the log heard of a task */
    struct deferred look;
    char place[LUA_IDSIZE + 16]; /* "app.lua:7: ", where memory ran out, or "" */
};

/* For generation.h: before the state is made; when all is loaded; before it is closed.
 */
void budget_open(struct generation *g, size_t limit);
void budget_loaded(struct generation *g);
void budget_close(struct generation *g);

/* Counts n bytes of native memory that a value of the state is going to hold, and lets
 * the collector work for them as if they were Lua's. Raises when there is no room. */
void budget_charge(lua_State *L, size_t n);
void budget_discharge(struct generation *g, size_t n);

/* For so many bytes there is room now; and for n more, or it raises: garbage is
 * collected for them. */
size_t budget_room(lua_State *L);
void budget_want(lua_State *L, size_t n);

/* Of what grows and shrinks: *charged was counted, and n is now. */
void budget_adjust(lua_State *L, size_t *charged, size_t n);

/* What one that outlives a call has on an account. */
struct budget_share {
    struct generation *of; /* while it is not 0 */
    size_t bytes;
};

/* Not fewer than n bytes. Raises when there is no room; to collect garbage for that may
 * end whoever has the share, which is then to be lowered again. */
void budget_raise_to(lua_State *L, struct budget_share *s, size_t n);

/* No more than n bytes. Also outside Lua. */
void budget_lower_to(struct budget_share *s, size_t n);

/* As budget_charge, for memory that other states may come to hold, too: its maker pays.
 * Whoever lets go of it last calls alloc_tally_discharge, on any thread. */
struct alloc_tally *budget_charge_tally(lua_State *L, size_t n);

/* n bytes, which somebody has paid for, are reachable from a value of this state: lets
 * the collector work for them. */
void budget_tell(lua_State *L, size_t n);

/* Raises "not enough memory" as Lua does; never returns. */
int budget_raise(lua_State *L);

/* For sched.h: a fiber in which memory ran out waits, gives way to others or ends: if
 * the state has not been looked at since, that is done at the end of this turn. */
void budget_look(struct generation *g);

/* Tasks fail for want of memory by the thousand: one a second is told. */
bool budget_tells(struct generation *g);

/* Who has caught a memory error says so, for the few places that are not seen. */
void budget_noticed(lua_State *L);

/* "app.lua:7: not enough memory (limit 64M): 63.9M in use, 16K more wanted", of the
 * last time; returns its length. */
size_t budget_text(const struct generation *g, char out[BUDGET_TEXT]);

/* "64M", "1.5G": bytes for people; returns out. */
char *budget_size(size_t bytes, char out[16]);

/* Inside Lua. Weak: there is no such name without the option. */
__attribute__((weak, noreturn)) void __real_luaD_throw(lua_State *L, int status);
__attribute__((noreturn)) void __wrap_luaD_throw(lua_State *L, int status);
__attribute__((weak)) void __real_luaC_fullgc(lua_State *L, int emergency);
void __wrap_luaC_fullgc(lua_State *L, int emergency);

#endif
