#include "isolate/landing.h"

#include "isolate/generation.h"

#include <stdlib.h>

enum {
    WORTH = 24 * 1024, /* shorter pieces are copied: that is soon done */
    SLACK = 12 * 1024, /* bytes that a block may be too long */
};

static bool may_be_taken(const struct alloc *a, size_t size) {
    return !ALLOC_PLAIN && !a->next && a->used + size <= a->ceiling;
}

void landing_push(lua_State *L, struct loop *l, struct span bytes) {
    struct alloc *a = &generation_of(L)->alloc;
    size_t size = LOOP_HEAD + bytes.len + 1;
    if (bytes.len < WORTH || !may_be_taken(a, size)) {
        lua_pushlstring(L, bytes.at, bytes.len);
        return;
    }
    char *block = loop_take_landing(l);
    if (LOOP_LANDING - bytes.len > SLACK) {
        char *shorter = realloc(block, size);
        if (shorter) block = shorter;
    }
    alloc_offer(a, block, size);
    lua_pushlstring(L, block + LOOP_HEAD, bytes.len);
    free(alloc_take_back(a)); /* NULL, unless Lua has changed */
}
