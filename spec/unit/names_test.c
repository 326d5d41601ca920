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

TEST(a_port_that_is_closed_can_give_its_names_back) {
    enum { NAMES = 1000 };
    struct alloc_tally *none = NULL;
    struct names *all = names_new();
    REQUIRE(all);
    struct port *p = put_name(all, "first", 0), *other = put_name(all, "other", 0);
    for (int i = 1; i < NAMES; i++) {
        char name[32];
        size_t len = (size_t)snprintf(name, sizeof name, "more %d", i);
        EXPECT(names_put(all, span_of(name, len), p, none) == 0);
    }
    EXPECT_EQ_INT(atomic_load(&p->references), NAMES + 1);
    port_close(p);
    names_forget(all, p);
    EXPECT_EQ_INT(atomic_load(&p->references), 1);
    struct port *found = names_find(all, SPAN("other 0"));
    EXPECT(found == other);
    if (found) port_unref(found);
    port_unref(p);
    end(other);
    names_free(all);
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
