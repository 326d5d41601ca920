#include "process/scene.h"

#include "base/crash.h"
#include "http/exchange.h"
#include "isolate/isolate.h"

enum { TARGET_MAX = 200, LEVELS = 16 };

static void put_request(const struct fiber *f) {
    const struct exchange *x = f->owner;
    struct span target = head_target(&x->head);
    if (target.len > TARGET_MAX) target.len = TARGET_MAX;
    crash_put(SPAN("while answering "));
    crash_put(head_method(&x->head));
    crash_put(SPAN(" "));
    crash_put(target);
    crash_put(SPAN("\n"));
}

/* lua_getinfo allocates nothing for these. */
static void put_lua(lua_State *L) {
    lua_Debug ar;
    for (int level = 0; level < LEVELS && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sln", &ar)) return;
        crash_put(SPAN("Lua: "));
        crash_put(span_str(ar.short_src));
        if (ar.currentline > 0) {
            crash_put(SPAN(":"));
            crash_put_number(ar.currentline);
        }
        if (ar.name) {
            crash_put(SPAN(" in "));
            crash_put(span_str(ar.name));
        }
        crash_put(SPAN("\n"));
    }
}

void scene_describe(const void *who) {
    const struct isolate *i = who;
    const struct fiber *f = i->sched.current;
    if (!f) return;
    if (f->kind == FIBER_REQUEST && f->owner) put_request(f);
    if (i->sched.running) put_lua(i->sched.running);
}
