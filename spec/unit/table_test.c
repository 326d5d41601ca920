#include "base/table.h"
#include "unit.h"

#include <stdlib.h>

enum { MANY = 5000 };

static uint64_t random_state = 88172645463325252u;

static uint64_t any(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static bool has(const struct table *t, const struct table_node *wanted) {
    for (struct table_node *n = *table_bucket(t, wanted->hash); n; n = n->next)
        if (n == wanted) return true;
    return false;
}

static void put(struct table *t, struct table_node *n) {
    n->hash = any();
    table_insert(t, n);
    table_step(t);
}

static void drop(struct table *t, struct table_node *n) {
    table_remove(t, n);
    table_step(t);
}

TEST(finds_all_at_any_size) {
    struct table t;
    struct table_node *all = calloc(MANY, sizeof *all);
    REQUIRE(all && table_init(&t) == 0);
    int lost = 0, ghosts = 0;
    for (int i = 0; i < MANY; i++) {
        put(&t, &all[i]);
        for (int k = 0; k <= i; k += 1 + i / 20) lost += !has(&t, &all[k]);
    }
    EXPECT_EQ_INT(t.count, MANY);
    EXPECT(t.bits >= 12);
    for (int i = 0; i < MANY; i++) {
        drop(&t, &all[i]);
        ghosts += has(&t, &all[i]);
        for (int k = i + 1; k < MANY; k += 250) lost += !has(&t, &all[k]);
    }
    EXPECT_EQ_INT(lost, 0);
    EXPECT_EQ_INT(ghosts, 0);
    EXPECT_EQ_INT(t.count, 0);
    EXPECT(t.bits <= 6);
    table_done(&t);
    free(all);
}

/* Walks with a change between two steps: first MANY staying members, then others come
 * (and the table grows) or go (and it shrinks). */
static int walk(struct table *t, struct table_node *others, bool come, int *seen,
                const struct table_node *all) {
    uint64_t at = 0, from;
    int k = 0, steps = 0;
    do {
        from = at;
        struct table_node *n = table_walk(t, from, &at);
        for (; n; n = n->next) {
            bool mine = n >= all && n < all + MANY;
            if (n->hash < from || (at && n->hash >= at)) continue;
            if (mine) seen[n - all]++;
        }
        for (int i = 0; i < 8 && k < 8 * MANY; i++, k++) {
            if (come)
                put(t, &others[k]);
            else
                drop(t, &others[k]);
        }
        steps++;
    } while (at != 0);
    for (; k < 8 * MANY; k++) {
        if (come)
            put(t, &others[k]);
        else
            drop(t, &others[k]);
    }
    return steps;
}

TEST(meets_who_stays_once_while_it_grows_and_shrinks) {
    struct table t;
    struct table_node *all = calloc(9 * MANY, sizeof *all), *others = all + MANY;
    int *seen = calloc(MANY, sizeof *seen);
    REQUIRE(all && seen && table_init(&t) == 0);
    for (int i = 0; i < MANY; i++) put(&t, &all[i]);
    unsigned small = t.bits;
    EXPECT(walk(&t, others, true, seen, all) > 100);
    EXPECT(t.bits > small);
    int wrong = 0;
    for (int i = 0; i < MANY; i++) wrong += seen[i] != 1;
    EXPECT_EQ_INT(wrong, 0);
    unsigned large = t.bits;
    EXPECT(walk(&t, others, false, seen, all) > 100);
    for (int i = 0; i < MANY; i++) wrong += seen[i] != 2;
    EXPECT_EQ_INT(wrong, 0);
    EXPECT(t.bits < large);
    table_done(&t);
    free(all);
    free(seen);
}
