/* isolate/names: what closed ports leave behind. */
#include "isolate/alloc.c"
#include "isolate/names.c"
#include "isolate/port.c"

#include "unit.h"

#include <stdio.h>

enum { LIVE = 10, BRIEF = 20000, LEFT_MOST = 100 };

static struct port *put_name(struct names *all, const char *what, int i) {
    char name[32];
    struct port *p = port_new((struct loop *)1, 1, NULL, NULL); /* nothing is sent */
    size_t len = (size_t)snprintf(name, sizeof name, "%s %d", what, i);
    EXPECT(p && names_put(all, span_of(name, len), p, NULL) == 0);
    return p;
}

static void end(struct port *p) {
    port_close(p);
    port_unref(p);
}

TEST(few_closed_ports_are_kept_by_their_names) {
    static struct port *brief[BRIEF];
    struct port *live[LIVE];
    struct names *all = names_new();
    REQUIRE(all);
    for (int i = 0; i < LIVE; i++) live[i] = put_name(all, "live", i);
    for (int i = 0; i < BRIEF; i++) {
        brief[i] = put_name(all, "brief", i);
        port_close(brief[i]);
    }
    int left = 0;
    for (int i = 0; i < BRIEF; i++)
        left += atomic_load_explicit(&brief[i]->references, memory_order_relaxed) > 1;
    EXPECT(left < LEFT_MOST);
    for (int i = 0; i < LIVE; i++) {
        char name[32];
        size_t len = (size_t)snprintf(name, sizeof name, "live %d", i);
        struct port *found = names_find(all, span_of(name, len));
        EXPECT(found == live[i]);
        if (found) port_unref(found);
    }
    for (int i = 0; i < BRIEF; i++) port_unref(brief[i]);
    for (int i = 0; i < LIVE; i++) end(live[i]);
    names_free(all);
}
