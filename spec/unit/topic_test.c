/* isolate/topic on loops of its own; memory may be made to run out. */
#include <sched.h>
#include <stdlib.h>

static unsigned allocations_left = -1u;

static int scarce(void) {
    return allocations_left != -1u && allocations_left-- == 0 ? allocations_left++,
           1                                                  : 0;
}

#define malloc(size) (scarce() ? NULL : malloc(size))
#define calloc(count, size) (scarce() ? NULL : calloc(count, size))
#include "isolate/bulletin.c"
#include "isolate/past.c"
#include "isolate/ring.c"
#include "isolate/topic.c"
#undef malloc
#undef calloc

#include "unit.h"

enum { THREADS = 3, ROUNDS = 20000, CAPACITY = 100 };

struct reader {
    struct subscriber s;
    unsigned arrived;
    struct reader *ends; /* when this is told */
};

static void arrived(struct subscriber *s) {
    struct reader *r = s->user;
    r->arrived++;
    for (struct reader *e = r->ends; e && e->s.board; e = e->ends)
        subscriber_end(&e->s);
}

static int subscribe(struct topic *t, struct loop *l, unsigned capacity,
                     struct reader *r) {
    *r = (struct reader){.s = {.arrived = arrived, .user = r}};
    return topic_subscribe(t, l, capacity, &r->s);
}

static bool publish(struct topic *t, unsigned n, size_t to) {
    struct bulletin *b = bulletin_new(sizeof n, 0);
    if (!b) return false;
    memcpy(b->bytes, &n, sizeof n);
    size_t reached = topic_publish(t, b);
    bulletin_unref(b);
    return reached == to;
}

/* -1: nothing. */
static long take(struct reader *r, uint64_t *missed, bool *last) {
    unsigned n;
    struct bulletin *b = subscriber_take(&r->s, missed, last);
    if (!b) return -1;
    memcpy(&n, b->bytes, sizeof n);
    bulletin_unref(b);
    return n;
}

static bool takes(struct reader *r, long n, uint64_t missed) {
    uint64_t gone;
    bool last;
    return take(r, &gone, &last) == n && gone == missed;
}

struct scene {
    struct topics *all;
    struct topic *topic;
    struct loop one, other;
};

static void begin(struct scene *s) {
    s->all = topics_new();
    REQUIRE(s->all);
    s->topic = topic_open(s->all, span_str("t"));
    REQUIRE(s->topic && loop_init(&s->one) == 0 && loop_init(&s->other) == 0);
}

static void end(struct scene *s) {
    loop_done(&s->one);
    loop_done(&s->other);
    topic_unref(s->topic);
    topics_free(s->all);
}

TEST(reaches_all_who_are_subscribed) {
    struct scene s;
    struct reader a, b, c;
    uint64_t missed;
    bool last;
    begin(&s);
    EXPECT(publish(s.topic, 0, 0));
    EXPECT(subscribe(s.topic, &s.one, 10, &a) == 0);
    EXPECT(publish(s.topic, 1, 1));
    EXPECT(subscribe(s.topic, &s.one, 10, &b) == 0);
    EXPECT(subscribe(s.topic, &s.other, 10, &c) == 0);
    EXPECT(publish(s.topic, 2, 3));
    EXPECT_EQ_INT(topic_count(s.topic), 3);
    EXPECT_EQ_INT(subscriber_count(&a.s), 2);
    EXPECT_EQ_INT(take(&a, &missed, &last), 1);
    EXPECT(last);
    EXPECT_EQ_INT(take(&a, &missed, &last), 2);
    EXPECT(!last);
    EXPECT_EQ_INT(take(&b, &missed, &last), 2);
    EXPECT(last);
    EXPECT(takes(&c, 2, 0) && takes(&c, -1, 0) && takes(&a, -1, 0));
    subscriber_end(&a.s);
    EXPECT(publish(s.topic, 3, 2));
    subscriber_end(&b.s);
    subscriber_end(&c.s);
    EXPECT(publish(s.topic, 4, 0));
    end(&s);
}

TEST(wakes_a_thread_once_for_many_and_only_who_is_idle) {
    struct scene s;
    struct reader a, b;
    begin(&s);
    subscribe(s.topic, &s.one, 10, &a);
    subscribe(s.topic, &s.one, 10, &b);
    publish(s.topic, 1, 2);
    loop_flush(&s.one);
    EXPECT_EQ_INT(a.arrived, 0);
    EXPECT(takes(&a, 1, 0) && takes(&a, -1, 0));
    publish(s.topic, 2, 2);
    publish(s.topic, 3, 2);
    loop_flush(&s.one);
    EXPECT_EQ_INT(a.arrived, 1);
    EXPECT_EQ_INT(b.arrived, 0);
    EXPECT(takes(&b, 1, 0) && takes(&b, 2, 0) && takes(&b, 3, 0) && takes(&b, -1, 0));
    /* b is idle, and has nothing to read, when the wake-up for a comes. */
    EXPECT(takes(&a, 2, 0) && takes(&a, 3, 0) && takes(&a, -1, 0));
    publish(s.topic, 4, 2);
    EXPECT(takes(&b, 4, 0) && takes(&b, -1, 0));
    loop_flush(&s.one);
    EXPECT_EQ_INT(a.arrived, 2);
    EXPECT_EQ_INT(b.arrived, 0);
    publish(s.topic, 5, 2);
    loop_flush(&s.one);
    EXPECT_EQ_INT(b.arrived, 1);
    subscriber_end(&a.s);
    subscriber_end(&b.s);
    end(&s);
}

TEST(lets_subscribers_end_while_they_are_told) {
    struct scene s;
    struct reader a, b, c;
    begin(&s);
    subscribe(s.topic, &s.one, 10, &a);
    subscribe(s.topic, &s.one, 10, &b);
    subscribe(s.topic, &s.one, 10, &c);
    EXPECT(takes(&a, -1, 0) && takes(&b, -1, 0) && takes(&c, -1, 0));
    a.ends = &c;
    publish(s.topic, 1, 3);
    loop_flush(&s.one); /* a ends c */
    EXPECT(a.s.board && !c.s.board);
    EXPECT(takes(&a, 1, 0) && takes(&a, -1, 0) && takes(&b, 1, 0) && takes(&b, -1, 0));
    a.ends = &b;
    b.ends = &a; /* the last of them, which is being told */
    publish(s.topic, 2, 2);
    loop_flush(&s.one);
    EXPECT(!a.s.board && !b.s.board);
    EXPECT_EQ_INT(topic_count(s.topic), 0);
    /* With the wake-up on its way. */
    subscribe(s.topic, &s.one, 10, &a);
    EXPECT(takes(&a, -1, 0));
    publish(s.topic, 3, 1);
    subscriber_end(&a.s);
    subscribe(s.topic, &s.one, 10, &b);
    EXPECT(publish(s.topic, 4, 1));
    loop_flush(&s.one);
    EXPECT(takes(&b, 4, 0));
    subscriber_end(&b.s);
    end(&s);
}

TEST(keeps_what_each_may_have_unread) {
    struct scene s;
    struct reader few, many;
    begin(&s);
    subscribe(s.topic, &s.one, 3, &few);
    subscribe(s.topic, &s.one, 1000, &many);
    for (unsigned i = 1; i <= 2500; i++) publish(s.topic, i, 2);
    EXPECT_EQ_INT(subscriber_count(&few.s), 3);
    EXPECT_EQ_INT(subscriber_count(&many.s), 1000);
    EXPECT(takes(&few, 2498, 2497) && takes(&few, 2499, 0));
    EXPECT(takes(&many, 1501, 1500));
    for (unsigned i = 1502; i <= 2500; i++) EXPECT(takes(&many, i, 0));
    EXPECT(takes(&few, 2500, 0) && takes(&few, -1, 0) && takes(&many, -1, 0));
    struct board *b = few.s.board;
    EXPECT(b->ring.bytes == 0 && b->ring.size == 0);
    subscriber_end(&many.s);
    subscriber_end(&few.s);
    end(&s);
}

static int resume(struct topic *t, struct loop *l, uint64_t place, struct reader *r) {
    *r = (struct reader){.s = {.arrived = arrived, .user = r}};
    return topic_resume(t, l, 10, place, &r->s);
}

TEST(keeps_the_last_for_those_who_come_late) {
    struct scene s;
    struct reader all, some, late, none;
    begin(&s);
    EXPECT(!topic_keeps(s.topic) && topic_keep(s.topic, 2) == 0);
    EXPECT(topic_keep(s.topic, 3) == 0 && topic_keep(s.topic, 1) == 0);
    for (unsigned i = 1; i <= 5; i++) publish(s.topic, i, 0);
    EXPECT(resume(s.topic, &s.one, 0, &all) == 0);
    EXPECT(resume(s.topic, &s.one, 1, &late) == 0);
    EXPECT(resume(s.topic, &s.one, 4, &some) == 0);
    EXPECT(resume(s.topic, &s.one, 5, &none) == 0);
    EXPECT_EQ_INT(subscriber_count(&all.s), 3);
    EXPECT(publish(s.topic, 6, 4)); /* not kept twice for those who are here */
    EXPECT_EQ_INT(subscriber_count(&all.s), 4);
    for (unsigned i = 3; i <= 6; i++) EXPECT(takes(&all, i, 0));
    EXPECT(takes(&late, 3, 1) && takes(&late, 4, 0));
    EXPECT(takes(&some, 5, 0) && takes(&some, 6, 0) && takes(&some, -1, 0));
    EXPECT(takes(&none, 6, 0) && takes(&none, -1, 0) && takes(&all, -1, 0));
    subscriber_end(&late.s); /* with some unread */
    subscriber_end(&all.s);
    subscriber_end(&some.s);
    subscriber_end(&none.s);
    topic_unref(s.topic); /* it stays, with what it has */
    s.topic = topic_open(s.all, span_str("t"));
    EXPECT(topic_keeps(s.topic) && resume(s.topic, &s.other, 0, &all) == 0);
    EXPECT(takes(&all, 4, 0));
    subscriber_end(&all.s);
    end(&s);
}

TEST(keeps_nothing_without_memory) {
    struct scene s;
    struct reader a;
    begin(&s);
    allocations_left = 0;
    EXPECT(topic_keep(s.topic, 2) != 0 && !topic_keeps(s.topic));
    allocations_left = -1u;
    EXPECT(topic_keep(s.topic, 2) == 0);
    publish(s.topic, 1, 0);
    allocations_left = 1; /* for the board */
    EXPECT(resume(s.topic, &s.one, 0, &a) != 0);
    allocations_left = -1u;
    EXPECT_EQ_INT(topic_count(s.topic), 0);
    end(&s);
}

TEST(tells_what_was_lost_for_want_of_memory) {
    for (unsigned n = 0; n < 40; n++) {
        struct scene s;
        struct reader a, b;
        begin(&s);
        allocations_left = n;
        if (subscribe(s.topic, &s.one, 20, &a) == 0) {
            unsigned published = 0;
            uint64_t missed = 0, gone;
            bool last;
            if (subscribe(s.topic, &s.other, 20, &b) == 0) subscriber_end(&b.s);
            for (unsigned i = 0; i < 30; i++) {
                struct bulletin *it = bulletin_new(sizeof i, 0);
                if (!it) continue;
                published++;
                topic_publish(s.topic, it);
                bulletin_unref(it);
            }
            for (; take(&a, &gone, &last) >= 0; published--) missed += gone;
            EXPECT_EQ_INT(published, missed + gone);
            subscriber_end(&a.s);
        }
        struct topic *other = topic_open(s.all, span_str("other"));
        if (other) topic_unref(other);
        allocations_left = -1u;
        end(&s);
    }
}

/* ---- many threads ---- */

struct crowd {
    struct scene scene;
    atomic_uint publishing;
    atomic_uint wrong;
};

static void *publishes(void *data) {
    struct crowd *c = data;
    struct topic *t = topic_open(c->scene.all, span_str("t"));
    if (!t) abort();
    while (topic_count(t) < THREADS) sched_yield();
    for (unsigned i = 1; i <= ROUNDS; i++) {
        struct bulletin *b = bulletin_new(sizeof i, 0);
        if (!b) abort();
        memcpy(b->bytes, &i, sizeof i);
        topic_publish(t, b);
        bulletin_unref(b);
    }
    topic_unref(t);
    c->publishing--;
    return NULL;
}

/* Two readers, who leave and come back at times; one looks only at the end. */
static void *reads(void *data) {
    struct crowd *c = data;
    struct loop l;
    if (loop_init(&l) != 0) abort();
    bool over = false;
    for (unsigned round = 0; !over; round++) {
        struct reader a, b;
        uint64_t missed, seen_by_a = 0, seen_by_b = 0;
        bool last;
        if (subscribe(c->scene.topic, &l, CAPACITY, &a) != 0) abort();
        uint64_t from = a.s.next;
        if (subscribe(c->scene.topic, &l, 2 * CAPACITY, &b) != 0) abort();
        uint64_t from_b = b.s.next;
        for (unsigned i = 0; i < 500 && !over; i++) {
            over = c->publishing == 0;
            while (take(&a, &missed, &last) >= 0) seen_by_a += missed + 1;
            seen_by_a += missed;
            while (round % 2 && take(&b, &missed, &last) >= 0) seen_by_b += missed + 1;
            if (from + seen_by_a != a.s.next) c->wrong++;
            loop_flush(&l);
        }
        if (round % 2 == 0) {
            while (take(&b, &missed, &last) >= 0) seen_by_b += missed + 1;
            seen_by_b += missed;
            if (from_b + seen_by_b != b.s.next) c->wrong++;
        }
        subscriber_end(&a.s);
        subscriber_end(&b.s);
    }
    loop_done(&l);
    return NULL;
}

TEST(loses_nothing_among_threads_without_saying_so) {
    struct crowd c = {.publishing = THREADS};
    pthread_t threads[2 * THREADS];
    begin(&c.scene);
    for (int i = 0; i < 2 * THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, i % 2 ? publishes : reads, &c) == 0);
    for (int i = 0; i < 2 * THREADS; i++) pthread_join(threads[i], NULL);
    EXPECT_EQ_INT(c.wrong, 0);
    EXPECT_EQ_INT(topic_count(c.scene.topic), 0);
    end(&c.scene);
}

/* From one loop to the other, on the same thread here. */
static bool moves(struct reader *r, struct loop *to) {
    return subscriber_leave(&r->s) == 0 && subscriber_enter(&r->s, to) == 0;
}

TEST(takes_along_what_is_unread) {
    struct scene s;
    struct reader a, stays;
    begin(&s);
    subscribe(s.topic, &s.one, 10, &a);
    subscribe(s.topic, &s.one, 10, &stays);
    for (unsigned i = 1; i <= 3; i++) publish(s.topic, i, 2);
    EXPECT(takes(&a, 1, 0));
    EXPECT(subscriber_leave(&a.s) == 0);
    EXPECT(publish(s.topic, 4, 2));
    EXPECT_EQ_INT(subscriber_count(&a.s), 3);
    EXPECT(subscriber_enter(&a.s, &s.other) == 0);
    EXPECT(publish(s.topic, 5, 2));
    EXPECT_EQ_INT(subscriber_count(&a.s), 4);
    EXPECT(takes(&a, 2, 0) && takes(&a, 3, 0));
    /* and on, before it has read all that it brought */
    EXPECT(moves(&a, &s.one));
    EXPECT(publish(s.topic, 6, 2));
    EXPECT(takes(&a, 4, 0) && takes(&a, 5, 0) && takes(&a, 6, 0) && takes(&a, -1, 0));
    EXPECT(publish(s.topic, 7, 2));
    loop_flush(&s.one);
    EXPECT_EQ_INT(a.arrived, 1);
    EXPECT(takes(&a, 7, 0));
    for (unsigned i = 1; i <= 7; i++) EXPECT(takes(&stays, i, 0));
    subscriber_end(&a.s);
    subscriber_end(&stays.s);
    end(&s);
}

TEST(counts_what_is_lost_on_the_way) {
    struct scene s;
    struct reader a;
    begin(&s);
    subscribe(s.topic, &s.one, 3, &a);
    for (unsigned i = 1; i <= 5; i++) publish(s.topic, i, 1);
    EXPECT(subscriber_leave(&a.s) == 0);
    for (unsigned i = 6; i <= 7; i++) publish(s.topic, i, 1);
    EXPECT(subscriber_enter(&a.s, &s.other) == 0);
    EXPECT(takes(&a, 5, 4) && takes(&a, 6, 0) && takes(&a, 7, 0) && takes(&a, -1, 0));
    EXPECT(moves(&a, &s.one) && takes(&a, -1, 0));
    subscriber_end(&a.s);
    end(&s);
}

TEST(may_end_on_the_way) {
    struct scene s;
    struct reader a, b;
    begin(&s);
    subscribe(s.topic, &s.one, 3, &a);
    subscribe(s.topic, &s.one, 3, &b);
    publish(s.topic, 1, 2);
    EXPECT(subscriber_leave(&a.s) == 0 && subscriber_leave(&b.s) == 0);
    publish(s.topic, 2, 2);
    subscriber_end(&a.s);
    EXPECT(subscriber_enter(&b.s, &s.other) == 0);
    publish(s.topic, 3, 1);
    EXPECT(takes(&b, 1, 0));
    subscriber_end(&b.s);
    EXPECT(publish(s.topic, 4, 0));
    end(&s);
}

TEST(stays_where_it_is_without_memory) {
    struct scene s;
    struct reader a;
    begin(&s);
    subscribe(s.topic, &s.one, 3, &a);
    publish(s.topic, 1, 1);
    allocations_left = 0;
    EXPECT(subscriber_leave(&a.s) == -ENOMEM);
    allocations_left = -1u;
    EXPECT(subscriber_leave(&a.s) == 0);
    allocations_left = 0;
    EXPECT(subscriber_enter(&a.s, &s.other) == -ENOMEM);
    allocations_left = -1u;
    EXPECT(subscriber_enter(&a.s, &s.other) == 0);
    EXPECT(takes(&a, 1, 0) && takes(&a, -1, 0));
    subscriber_end(&a.s);
    end(&s);
}

enum { CROWD = 1200 };

TEST(tells_a_crowd_in_several_turns) {
    static struct reader crowd[CROWD];
    struct scene s;
    unsigned told = 0, turns = 0;
    begin(&s);
    for (unsigned i = 0; i < CROWD; i++) {
        subscribe(s.topic, &s.one, 10, &crowd[i]);
        EXPECT(takes(&crowd[i], -1, 0));
    }
    publish(s.topic, 1, CROWD);
    for (; told < CROWD && turns < 10; turns++) {
        loop_flush(&s.one);
        told = 0;
        for (unsigned i = 0; i < CROWD; i++) told += crowd[i].arrived;
    }
    EXPECT_EQ_INT(told, CROWD);
    EXPECT_EQ_INT(turns, 3);
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT_EQ_INT(crowd[i].arrived, 1);
        EXPECT(takes(&crowd[i], 1, 0) && takes(&crowd[i], -1, 0));
        subscriber_end(&crowd[i].s);
    }
    end(&s);
}
