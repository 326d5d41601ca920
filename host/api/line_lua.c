#include "api/line_lua.h"

#include <lauxlib.h>

struct place *line_enter(lua_State *L, struct link *line, const char *kind,
                         int object) {
    object = lua_absindex(L, object);
    sched_check_waitable(L);
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

/* __gc too: a coroutine that has died of an error closes nothing before somebody closes
 * it. */
void line_new_kind(lua_State *L, const char *kind, lua_CFunction left) {
    luaL_newmetatable(L, kind);
    lua_pushcfunction(L, left);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, left);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
