#include "api/line_lua.h"

#include <lauxlib.h>

static int nothing(lua_State *L) {
    (void)L;
    return 0;
}

struct place *line_enter(lua_State *L, struct link *line, const char *kind,
                         int object) {
    object = lua_absindex(L, object);
    sched_check_waitable(L);
    /* Makes room for the call that will close the place: when there is no memory for
       that, what was handed over would be lost. */
    lua_pushcfunction(L, nothing);
    lua_call(L, 0, 0);
    struct place *p = lua_newuserdatauv(L, sizeof *p, 1);
    *p = (struct place){0};
    list_init(&p->link);
    lua_pushvalue(L, object);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, kind);
    lua_toclose(L, -1);
    list_append(line, &p->link);
    return p;
}

struct place *line_first(struct link *line) {
    struct link *first;
    while ((first = list_first(line))) {
        struct place *p = LIST_OF(first, struct place, link);
        if (waiter_is_set(&p->waiter)) return p;
        list_unlink(first);
    }
    return NULL;
}

void line_hand(struct place *p) {
    list_unlink(&p->link);
    p->handed = true;
    sched_wake(&p->waiter, WAKE_EVENT);
}

void line_clear(struct link *line) {
    struct place *p;
    while ((p = line_first(line))) {
        list_unlink(&p->link);
        sched_wake(&p->waiter, WAKE_EVENT);
    }
}

bool line_leave(struct place *p) {
    bool handed = p->handed;
    list_unlink(&p->link);
    p->handed = false;
    return handed;
}
