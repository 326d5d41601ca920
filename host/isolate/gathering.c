#include "isolate/gathering.h"

#include "isolate/budget.h"
#include "isolate/closing.h"

#include <lauxlib.h>

static const char NAME[] = "atoll.gathering";

struct gathering {
    size_t charged;
};

static int end(lua_State *L) {
    gathering_charge(L, 1, 0);
    return 0;
}

void gathering_push(lua_State *L) {
    struct gathering *g = lua_newuserdatauv(L, sizeof *g, 0);
    g->charged = 0;
    closing_mark(L, NAME, end);
}

void gathering_charge(lua_State *L, int index, size_t bytes) {
    struct gathering *g = luaL_checkudata(L, index, NAME);
    budget_adjust(L, &g->charged, bytes);
}
