#include "isolate/shared.h"

#include "base/err.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 20000, LIMIT = 1 << 20 };

static const struct siphash_key seed = {1, 2};
static const struct dict_condition always = {DICT_ALWAYS, 0},
                                   absent = {DICT_IF_ABSENT, 0};

static struct dict_key text(const char *s) {
    return (struct dict_key){.text = span_str(s)};
}

static struct dict_key number(int64_t n) {
    return (struct dict_key){.is_integer = true, .integer = n};
}

static struct dict_value integer(int64_t n) {
    struct dict_value v = {.kind = DICT_INTEGER};
    v.integer = n;
    return v;
}

static struct dict_value string(const char *at, size_t len) {
    struct dict_value v = {.kind = DICT_STRING};
    v.bytes = span_of(at, len);
    return v;
}

static int put(struct dict *d, struct dict_key k, int64_t now, struct dict_value v,
               int64_t ends) {
    return dict_put(d, &k, now, &v, always, ends);
}

/* The integer at a key, or the error. */
static int64_t at(struct dict *d, struct dict_key k, int64_t now) {
    struct dict_copy c = {.may_hold = true};
    int err = dict_get(d, &k, now, &c);
    dict_release(&c);
    if (err) return err;
    return c.value.kind == DICT_INTEGER ? c.value.integer : -1;
}

static struct dict_stats stats(struct dict *d) {
    struct dict_stats s;
    dict_stats(d, &s);
    return s;
}

TEST(keeps_values_by_texts_and_by_integers) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    int64_t n = 7;
    struct dict_key bytes = {.text = span_of((const char *)&n, sizeof n)};
    EXPECT_EQ_INT(put(d, number(7), 1, integer(1), DICT_NEVER), 0);
    EXPECT_EQ_INT(put(d, bytes, 1, integer(2), DICT_NEVER), 0);
    EXPECT_EQ_INT(put(d, text(""), 1, integer(3), DICT_NEVER), 0);
    EXPECT_EQ_INT(at(d, number(7), 2), 1);
    EXPECT_EQ_INT(at(d, bytes, 2), 2);
    EXPECT_EQ_INT(at(d, text(""), 2), 3);
    EXPECT_EQ_INT(at(d, text("7"), 2), -ENOENT);
    dict_free(d);
}

TEST(counts_what_it_has) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    static char big[100000];
    struct dict_key k = text("k"), l = text("l");
    size_t length;
    EXPECT_EQ_INT(put(d, k, 1, string(big, sizeof big), DICT_NEVER), 0);
    EXPECT(stats(d).used > sizeof big && stats(d).used < sizeof big + 256);
    EXPECT_EQ_INT(put(d, k, 1, integer(1), DICT_NEVER), 0);
    size_t small = stats(d).used;
    EXPECT(small > 80 && small < 256);
    struct dict_value v = string(big, 1000);
    EXPECT_EQ_INT(dict_push(d, &l, 1, DICT_LEFT, &v, &length), 0);
    EXPECT_EQ_INT(dict_push(d, &l, 1, DICT_LEFT, &v, &length), 0);
    EXPECT(stats(d).used > small + 2000 && stats(d).used < small + 2500);
    struct dict_copy c = {.may_hold = true};
    EXPECT_EQ_INT(dict_pop(d, &l, 1, DICT_LEFT, &c), 0);
    dict_release(&c);
    EXPECT_EQ_INT(dict_delete(d, &l, 1, always), 0);
    EXPECT_EQ_INT(stats(d).used, small);
    EXPECT_EQ_INT(dict_flush(d), 0);
    EXPECT_EQ_INT(stats(d).used, 0);
    EXPECT_EQ_INT(stats(d).entries, 0);
    EXPECT_EQ_INT(at(d, k, 1), -ENOENT);
    dict_free(d);
}

TEST(ends_what_has_a_time) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    int64_t ends;
    struct dict_key k = text("k");
    EXPECT_EQ_INT(put(d, k, 10, integer(1), 20), 0);
    EXPECT_EQ_INT(at(d, k, 19), 1);
    EXPECT_EQ_INT(dict_ends(d, &k, 19, &ends), 0);
    EXPECT_EQ_INT(ends, 20);
    EXPECT_EQ_INT(at(d, k, 20), -ENOENT);
    EXPECT_EQ_INT(stats(d).entries, 0);
    EXPECT_EQ_INT(dict_ends(d, &k, 21, &ends), -ENOENT);
    EXPECT_EQ_INT(put(d, k, 30, integer(1), 40), 0);
    EXPECT_EQ_INT(dict_end_at(d, &k, 31, DICT_NEVER), 0);
    EXPECT_EQ_INT(at(d, k, 1000), 1);
    EXPECT_EQ_INT(put(d, k, 1000, integer(2), 2000), 0);
    EXPECT_EQ_INT(put(d, k, 1001, integer(3), DICT_KEEP), 0);
    EXPECT_EQ_INT(at(d, k, 2000), -ENOENT);
    EXPECT_EQ_INT(stats(d).expirations, 2);
    dict_free(d);
}

TEST(gives_back_what_has_ended_though_nobody_asks_for_it) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    for (int i = 0; i < 2000; i++) put(d, number(i), 1, integer(i), 100);
    EXPECT_EQ_INT(stats(d).entries, 2000);
    for (int i = 0; i < 4000; i++) put(d, text("other"), 200, integer(i), DICT_NEVER);
    for (int i = 0; i < 20000; i++)
        put(d, number(-1 - i % 1000), 200, integer(i), DICT_NEVER);
    EXPECT_EQ_INT(stats(d).entries, 1001);
    EXPECT_EQ_INT(stats(d).expirations, 2000);
    dict_free(d);
}

TEST(lets_go_what_was_not_touched_for_the_longest_time) {
    struct dict *d = dict_new(SHARED_LIMIT_LEAST, &seed);
    REQUIRE(d);
    int64_t now = 0, kept = 0;
    int n = 0;
    while (stats(d).evictions == 0) {
        put(d, number(n), ++now, integer(n + 1), DICT_NEVER), n++;
        at(d, number(0), ++now);
    }
    EXPECT(n > 300 && n < 1000);
    EXPECT_EQ_INT(at(d, number(1), ++now), -ENOENT);
    for (int i = 0; i < 200; i++)
        put(d, number(n), ++now, integer(n + 1), DICT_NEVER), n++;
    /* Exactly the oldest ones, over all shards. */
    size_t gone = (size_t)n - stats(d).entries;
    EXPECT_EQ_INT(stats(d).evictions, gone);
    EXPECT_EQ_INT(at(d, number(0), ++now), 1);
    for (int i = 1; i < n; i++) kept += at(d, number(i), ++now) > 0;
    EXPECT_EQ_INT(kept, n - 1 - (int64_t)gone);
    for (size_t i = 1; i <= gone; i++)
        EXPECT_EQ_INT(at(d, number((int64_t)i), ++now), -ENOENT);
    EXPECT(stats(d).used <= SHARED_LIMIT_LEAST);
    dict_free(d);
}

TEST(refuses_what_is_larger_than_all_of_it) {
    struct dict *d = dict_new(SHARED_LIMIT_LEAST, &seed);
    REQUIRE(d);
    static char big[SHARED_LIMIT_LEAST];
    struct dict_key k = text("k"), other = text("other"), l = text("l");
    size_t length = 0;
    put(d, other, 1, integer(1), DICT_NEVER);
    EXPECT_EQ_INT(put(d, k, 2, string(big, sizeof big), DICT_NEVER), -ENOMEM);
    EXPECT_EQ_INT(at(d, other, 3), 1);
    EXPECT_EQ_INT(put(d, k, 4, string(big, sizeof big - 150), DICT_NEVER), 0);
    EXPECT_EQ_INT(at(d, other, 5), -ENOENT);
    struct dict_value v = string(big, 1000);
    int err, pushed = 0;
    while ((err = dict_push(d, &l, 6 + pushed, DICT_RIGHT, &v, &length)) == 0) pushed++;
    EXPECT_EQ_INT(err, -ENOMEM);
    EXPECT_EQ_INT(length, pushed);
    EXPECT(pushed > 55 && pushed < 65);
    EXPECT_EQ_INT(stats(d).entries, 1);
    EXPECT_EQ_INT(dict_length(d, &l, 100, &length), 0);
    EXPECT_EQ_INT(length, pushed);
    dict_free(d);
}

TEST(holds_a_large_value_that_is_replaced_meanwhile) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    static char big[5000];
    memset(big, 'a', sizeof big);
    struct dict_key k = text("k");
    put(d, k, 1, string(big, sizeof big), DICT_NEVER);
    struct dict_copy light = {.may_hold = false}, c = {.may_hold = true};
    EXPECT_EQ_INT(dict_get(d, &k, 2, &light), ERR_TOO_LARGE);
    EXPECT_EQ_INT(dict_get(d, &k, 2, &c), 0);
    put(d, k, 3, integer(1), DICT_NEVER);
    dict_flush(d);
    EXPECT_EQ_SPAN(c.value.bytes, span_of(big, sizeof big));
    dict_release(&c);
    dict_release(&c);
    dict_free(d);
}

TEST(writes_over_a_value_of_about_its_size) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    char bytes[300];
    struct dict_key k = text("a key of some length");
    struct dict_copy c = {0};
    for (int i = 0; i < 2000; i++) {
        size_t len = (size_t)(i * 7 % 300);
        memset(bytes, i, sizeof bytes);
        put(d, k, i, string(bytes, len), i % 3 ? DICT_NEVER : i + 2);
        if (dict_get(d, &k, i + 1, &c) != 0 ||
            !span_eq(c.value.bytes, span_of(bytes, len)))
            EXPECT_EQ_INT(i, -1);
    }
    EXPECT_EQ_INT(stats(d).entries, 1);
    put(d, k, 2000, integer(7), DICT_NEVER);
    EXPECT_EQ_INT(at(d, k, 2001), 7);
    EXPECT(stats(d).used < 600);
    EXPECT_EQ_INT(stats(d).expirations, 0);
    dict_free(d);
}

TEST(compares_versions) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    struct dict_key k = text("k");
    struct dict_value v = integer(1);
    struct dict_copy c = {0};
    struct dict_condition same = {DICT_IF_VERSION, 0};
    EXPECT_EQ_INT(dict_get(d, &k, 1, &c), -ENOENT);
    EXPECT_EQ_INT(c.version, 0);
    EXPECT_EQ_INT(dict_put(d, &k, 1, &v, same, DICT_KEEP), 0);
    EXPECT_EQ_INT(dict_put(d, &k, 1, &v, same, DICT_KEEP), -ESTALE);
    EXPECT_EQ_INT(dict_get(d, &k, 1, &c), 0);
    same.version = c.version;
    EXPECT_EQ_INT(dict_put(d, &k, 1, &v, same, DICT_KEEP), 0);
    EXPECT_EQ_INT(dict_put(d, &k, 1, &v, same, DICT_KEEP), -ESTALE);
    /* Gone and come again is a change, too. */
    EXPECT_EQ_INT(dict_get(d, &k, 1, &c), 0);
    same.version = c.version;
    EXPECT_EQ_INT(dict_delete(d, &k, 1, always), 0);
    EXPECT_EQ_INT(put(d, k, 1, v, DICT_NEVER), 0);
    EXPECT_EQ_INT(dict_delete(d, &k, 1, same), -ESTALE);
    EXPECT_EQ_INT(dict_put(d, &k, 1, &v, absent, DICT_KEEP), -EEXIST);
    dict_free(d);
}

static int count_keys(struct dict *d, int64_t now, const struct span *prefix) {
    struct dict_cursor cursor = {0};
    struct buf records;
    struct dict_key k;
    int n = 0, more = 1;
    buf_init(&records);
    while (more > 0) {
        more = dict_keys(d, &cursor, now, prefix, &records);
        struct span rest = buf_span(&records);
        while (dict_next_key(&rest, &k)) n++;
        buf_consume(&records, buf_len(&records));
    }
    buf_reset(&records);
    return more < 0 ? more : n;
}

TEST(walks_over_its_keys) {
    struct dict *d = dict_new(LIMIT, &seed);
    REQUIRE(d);
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "%s%d", i % 3 ? "user:" : "u", i);
        put(d, text(name), 1, integer(i), i < 300 ? 10 : DICT_NEVER);
        put(d, number(i), 1, integer(i), DICT_NEVER);
    }
    struct span prefix = SPAN("user:"), none = SPAN("x"), all = SPAN("");
    EXPECT_EQ_INT(count_keys(d, 1, NULL), 6000);
    EXPECT_EQ_INT(count_keys(d, 10, NULL), 5700);
    EXPECT_EQ_INT(count_keys(d, 1, &prefix), 2000);
    EXPECT_EQ_INT(count_keys(d, 1, &none), 0);
    EXPECT_EQ_INT(count_keys(d, 1, &all), 3000);
    dict_free(d);
}

TEST(opens_the_same_by_the_same_name) {
    struct shared *s = shared_new(LIMIT);
    REQUIRE(s);
    struct dict *a, *b, *c;
    bool kept;
    EXPECT_EQ_INT(shared_open(s, SPAN("a"), 0, &a, &kept), 0);
    EXPECT_EQ_INT(shared_open(s, SPAN("a"), LIMIT, &b, &kept), 0);
    EXPECT(a == b && !kept);
    EXPECT_EQ_INT(shared_open(s, SPAN("a"), 2 * LIMIT, &b, &kept), 0);
    EXPECT(a == b && kept);
    EXPECT_EQ_INT(shared_open(s, SPAN("a"), 2 * LIMIT, &b, &kept), 0);
    EXPECT(!kept);
    EXPECT_EQ_INT(shared_open(s, SPAN("c"), 2 * LIMIT, &c, &kept), 0);
    EXPECT(c != a && !kept);
    EXPECT_EQ_INT(stats(c).limit, 2 * LIMIT);
    char name[32];
    int err = 0, opened = 2;
    for (; err == 0 && opened < SHARED_MAX + 1; opened += err == 0) {
        snprintf(name, sizeof name, "%d", opened);
        err = shared_open(s, span_str(name), 0, &c, &kept);
    }
    EXPECT_EQ_INT(err, ERR_TOO_LARGE);
    EXPECT_EQ_INT(opened, SHARED_MAX);
    shared_free(s);
}

/* ---- threads ---- */

struct crowd {
    struct shared *shared;
    atomic_int wrong;
    atomic_long popped;
};

static struct dict *open_one(struct crowd *c, const char *name, size_t limit) {
    struct dict *d = NULL;
    bool kept;
    if (shared_open(c->shared, span_str(name), limit, &d, &kept) != 0) c->wrong++;
    return d;
}

static void together(struct crowd *c, void *(*run)(void *)) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run, c) != 0) abort();
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void *count_up(void *data) {
    struct crowd *c = data;
    struct dict *d = open_one(c, "counters", 0);
    struct dict_value one = integer(1), zero = integer(0), sum;
    struct dict_key hot = text("hot"), k = text("compared"), l = text("list");
    size_t length;
    for (int i = 0; i < ROUNDS; i++) {
        if (dict_add(d, &hot, i, &one, &zero, DICT_NEVER, &sum) != 0) c->wrong++;
        if (dict_push(d, &l, i, i % 2 ? DICT_LEFT : DICT_RIGHT, &one, &length) != 0)
            c->wrong++;
        struct dict_copy copy = {0};
        if (i % 3 && dict_pop(d, &l, i, DICT_LEFT, &copy) == 0) c->popped++;
        int err;
        do {
            err = dict_get(d, &k, i, &copy);
            struct dict_value v = integer(err ? 1 : copy.value.integer + 1);
            struct dict_condition same = {DICT_IF_VERSION, copy.version};
            err = dict_put(d, &k, i, &v, same, DICT_KEEP);
        } while (err == -ESTALE);
        if (err) c->wrong++;
    }
    return NULL;
}

TEST(loses_no_change_of_many_threads) {
    struct crowd c = {.shared = shared_new(LIMIT * 64)};
    REQUIRE(c.shared);
    together(&c, count_up);
    struct dict *d = open_one(&c, "counters", 0);
    struct dict_key l = text("list");
    size_t length;
    EXPECT_EQ_INT(c.wrong, 0);
    EXPECT_EQ_INT(at(d, text("hot"), 1), THREADS * ROUNDS);
    EXPECT_EQ_INT(at(d, text("compared"), 1), THREADS * ROUNDS);
    EXPECT_EQ_INT(dict_length(d, &l, 1, &length), 0);
    EXPECT_EQ_INT((long)length, THREADS * ROUNDS - c.popped);
    EXPECT_EQ_INT(stats(d).evictions, 0);
    shared_free(c.shared);
}

/* Everything at once in too little memory; each value tells its key. */
static void *jostle(void *data) {
    struct crowd *c = data;
    struct dict *d = open_one(c, "small", SHARED_LIMIT_LEAST * 2);
    char big[2048];
    unsigned random = (unsigned)(uintptr_t)&big >> 4;
    struct buf records;
    buf_init(&records);
    for (int64_t now = 1; now < ROUNDS; now++) {
        random = random * 1103515245 + 12345;
        unsigned n = random >> 16 & 1023;
        struct dict_key k = number(n);
        memset(big, (int)(n & 127), sizeof big);
        struct dict_value v = string(big, n * 2);
        int64_t ends = n % 4 ? DICT_NEVER : now + 50;
        switch (random >> 26 & 7) {
        case 0:
        case 1:
        case 2:
            if (dict_put(d, &k, now, &v, always, ends) != 0) c->wrong++;
            break;
        case 3: dict_delete(d, &k, now, always); break;
        case 4:
            if (now % 1000 == 0) dict_flush(d);
            break;
        case 5: {
            struct dict_cursor cursor = {n % DICT_SHARDS, 0};
            dict_keys(d, &cursor, now, NULL, &records);
            buf_consume(&records, buf_len(&records));
            break;
        }
        default: {
            struct dict_copy copy = {.may_hold = true};
            if (dict_get(d, &k, now, &copy) != 0) break;
            struct span s = copy.value.bytes;
            if (s.len != n * 2) c->wrong++;
            for (size_t i = 0; i < s.len; i++) c->wrong += s.at[i] != big[0];
            dict_release(&copy);
        }
        }
    }
    buf_reset(&records);
    return NULL;
}

TEST(stays_whole_and_small_among_many_threads) {
    struct crowd c = {.shared = shared_new(LIMIT)};
    REQUIRE(c.shared);
    together(&c, jostle);
    struct dict *d = open_one(&c, "small", 0);
    EXPECT_EQ_INT(c.wrong, 0);
    EXPECT(stats(d).used <= SHARED_LIMIT_LEAST * 2);
    EXPECT(stats(d).evictions > 0 && stats(d).expirations > 0);
    EXPECT_EQ_INT(count_keys(d, 0, NULL), stats(d).entries);
    EXPECT_EQ_INT(dict_flush(d), 0);
    EXPECT_EQ_INT(stats(d).used, 0);
    shared_free(c.shared);
}
