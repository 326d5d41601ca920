/* net/pool on a loop of its own: bounds, order, cancelling at every step, threads that
 * end. */
#include "net/pool.h"
#include "unit.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS CLOCK_MS

/* One pool, one loop; `gate` holds jobs back until it is opened. */
struct scene {
    struct loop loop;
    struct pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    atomic_int running, most, ran, dropped;
    int done, entered;
    int order[64];
    int wanted; /* done: then the loop stops */
    struct timer watch;
};

struct task {
    struct pool_job job;
    struct scene *scene;
    int number;
    bool holds; /* runs until the gate is open */
    bool reads; /* runs until a system call is interrupted */
};

static void run(struct pool_job *j, struct pool_place *place) {
    struct task *t = LIST_OF(j, struct task, job);
    struct scene *s = t->scene;
    (void)place;
    int now = atomic_fetch_add(&s->running, 1) + 1;
    for (int most = s->most; now > most;)
        if (atomic_compare_exchange_weak(&s->most, &most, now)) break;
    pthread_mutex_lock(&s->lock);
    while (t->holds && !s->open) pthread_cond_wait(&s->opened, &s->lock);
    pthread_mutex_unlock(&s->lock);
    while (t->reads && !atomic_load(&j->cancelled)) {
        struct timespec second = {1, 0};
        nanosleep(&second, NULL);
    }
    atomic_fetch_sub(&s->running, 1);
    atomic_fetch_add(&s->ran, 1);
}

static void done(struct pool_job *j) {
    struct task *t = LIST_OF(j, struct task, job);
    struct scene *s = t->scene;
    if (s->done < 64) s->order[s->done] = t->number;
    if (++s->done == s->wanted) loop_stop(&s->loop);
    free(t);
}

static void drop(struct pool_job *j) {
    struct task *t = LIST_OF(j, struct task, job);
    atomic_fetch_add(&t->scene->dropped, 1);
    free(t);
}

static void entered(struct pool_job *j) {
    LIST_OF(j, struct task, job)->scene->entered++;
    pool_start(j);
}

static struct task *make(struct scene *s, int number) {
    struct task *t = calloc(1, sizeof *t);
    t->job =
        (struct pool_job){.entered = entered, .run = run, .done = done, .drop = drop};
    t->scene = s;
    t->number = number;
    return t;
}

static struct task *submit(struct scene *s, int number, bool holds) {
    struct task *t = make(s, number);
    t->holds = holds;
    if (pool_enter(s->pool, &s->loop, &t->job)) pool_start(&t->job);
    return t;
}

static void open_gate(struct scene *s) {
    pthread_mutex_lock(&s->lock);
    s->open = true;
    pthread_cond_broadcast(&s->opened);
    pthread_mutex_unlock(&s->lock);
}

static void late(struct timer *t) {
    struct scene *s = LIST_OF(t, struct scene, watch);
    EXPECT(!"the loop stopped in time");
    loop_stop(&s->loop);
}

/* Turns until so many jobs in all are done. */
static void turn(struct scene *s, int wanted) {
    s->wanted = wanted;
    if (s->done >= wanted) return;
    timer_init(&s->watch, late);
    timer_set(&s->loop, &s->watch, clock_ns() + 20 * CLOCK_SECOND);
    loop_run(&s->loop);
    timer_clear(&s->loop, &s->watch);
}

/* Polls, for what has no event. */
static bool until(bool holds(struct scene *s), struct scene *s) {
    for (int i = 0; i < 4000; i++) {
        if (holds(s)) return true;
        usleep(2500);
    }
    return false;
}

static bool all_hold(struct scene *s) {
    return pool_counts(s->pool).running == 2 && atomic_load(&s->running) == 2;
}

static bool none_lives(struct scene *s) {
    return pool_counts(s->pool).threads == 0;
}

static bool one_was_dropped(struct scene *s) {
    return atomic_load(&s->dropped) == 1;
}

static bool one_has_run(struct scene *s) {
    return atomic_load(&s->ran) == 1 && pool_counts(s->pool).running == 0;
}

static bool one_runs(struct scene *s) {
    return atomic_load(&s->running) == 1;
}

static struct scene *begin(unsigned threads, unsigned queue, int64_t idle) {
    struct scene *s = calloc(1, sizeof *s);
    struct pool_plan plan = {
        .name = "test", .threads = threads, .queue = queue, .idle = idle};
    if (loop_init(&s->loop) != 0) abort();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->opened, NULL);
    if (!(s->pool = pool_new(&plan))) abort();
    return s;
}

static void end(struct scene *s) {
    open_gate(s);
    EXPECT_EQ_INT(pool_free(s->pool, clock_ns() + 20 * CLOCK_SECOND), 0);
    loop_done(&s->loop);
    pthread_cond_destroy(&s->opened);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

TEST(starts_no_thread_without_a_job) {
    struct scene *s = begin(2, 4, CLOCK_SECOND);
    EXPECT_EQ_INT(pool_counts(s->pool).threads, 0);
    end(s);
}

TEST(runs_a_thousand_jobs_on_its_threads_only) {
    struct scene *s = begin(2, 4, CLOCK_SECOND);
    for (int i = 0; i < 2; i++) submit(s, i, true);
    REQUIRE(until(all_hold, s));
    for (int i = 2; i < 1000; i++) submit(s, i, false);
    open_gate(s);
    turn(s, 1000);
    EXPECT_EQ_INT(s->done, 1000);
    EXPECT_EQ_INT(atomic_load(&s->most), 2);
    EXPECT_EQ_INT(s->entered, 994); /* the others found room */
    end(s);
}

TEST(full_waits_in_the_order_of_coming) {
    struct scene *s = begin(1, 2, CLOCK_SECOND);
    submit(s, 0, true);
    REQUIRE(until(one_runs, s)); /* else somebody is told of its room */
    for (int i = 1; i < 10; i++) submit(s, i, true);
    struct pool_counts c = pool_counts(s->pool);
    EXPECT_EQ_INT(c.running, 1);
    EXPECT_EQ_INT(c.queued, 2);
    EXPECT_EQ_INT(c.waiting, 7);
    open_gate(s);
    turn(s, 10);
    for (int i = 0; i < 10; i++) EXPECT_EQ_INT(s->order[i], i);
    end(s);
}

TEST(cancel_takes_out_what_does_not_run) {
    struct scene *s = begin(2, 2, CLOCK_SECOND);
    struct task *held[2] = {submit(s, 0, true), submit(s, 1, true)};
    REQUIRE(until(all_hold, s));
    struct task *queued = submit(s, 2, false), *other = submit(s, 3, false);
    struct task *waiting = submit(s, 4, false), *last = submit(s, 5, false);
    EXPECT_EQ_INT(pool_counts(s->pool).waiting, 2);
    pool_cancel(&waiting->job);
    EXPECT_EQ_INT(atomic_load(&s->dropped), 1);
    pool_cancel(&queued->job); /* gives its room to the last, which is told so */
    EXPECT_EQ_INT(atomic_load(&s->dropped), 2);
    EXPECT_EQ_INT(pool_counts(s->pool).waiting, 0);
    pool_cancel(&last->job); /* before it has heard of it */
    EXPECT_EQ_INT(atomic_load(&s->dropped), 2);
    open_gate(s);
    turn(s, 3);
    loop_flush(&s->loop);
    EXPECT_EQ_INT(atomic_load(&s->dropped), 3);
    EXPECT_EQ_INT(atomic_load(&s->ran), 3);
    (void)held, (void)other;
    end(s);
}

TEST(cancel_forgets_what_runs_and_interrupts_it) {
    struct scene *s = begin(2, 2, CLOCK_SECOND);
    struct task *t = make(s, 0);
    t->reads = true;
    if (pool_enter(s->pool, &s->loop, &t->job)) pool_start(&t->job);
    submit(s, 1, true);
    REQUIRE(until(all_hold, s));
    pool_cancel(&t->job);
    EXPECT(until(one_was_dropped, s));
    open_gate(s);
    turn(s, 1);
    EXPECT_EQ_INT(s->done, 1);
    end(s);
}

TEST(cancel_of_what_has_run_drops_it_on_the_loop) {
    struct scene *s = begin(1, 2, CLOCK_SECOND);
    struct task *t = submit(s, 0, false);
    REQUIRE(until(one_has_run, s));
    pool_cancel(&t->job);
    EXPECT_EQ_INT(atomic_load(&s->dropped), 0);
    loop_flush(&s->loop);
    EXPECT_EQ_INT(atomic_load(&s->dropped), 1);
    EXPECT_EQ_INT(s->done, 0);
    end(s);
}

TEST(hasten_lets_what_runs_report) {
    struct scene *s = begin(2, 2, CLOCK_SECOND);
    struct task *t = make(s, 7);
    t->reads = true;
    if (pool_enter(s->pool, &s->loop, &t->job)) pool_start(&t->job);
    submit(s, 1, true);
    REQUIRE(until(all_hold, s));
    struct task *queued = submit(s, 2, false);
    EXPECT(pool_hasten(&queued->job));
    EXPECT_EQ_INT(atomic_load(&s->dropped), 1);
    EXPECT(!pool_hasten(&t->job));
    turn(s, 1);
    EXPECT_EQ_INT(s->order[0], 7);
    open_gate(s);
    turn(s, 2);
    end(s);
}

TEST(threads_end_when_idle_and_come_back) {
    struct scene *s = begin(2, 2, 20 * MS);
    for (int round = 1; round <= 3; round++) {
        submit(s, 0, false);
        submit(s, 1, false);
        turn(s, 2 * round);
        EXPECT(until(none_lives, s));
    }
    EXPECT_EQ_INT(s->done, 6);
    end(s);
}

TEST(that_cannot_end_says_so) {
    struct scene *s = begin(1, 2, CLOCK_SECOND);
    struct task *t = submit(s, 0, true);
    REQUIRE(until(one_runs, s));
    pool_cancel(&t->job);
    EXPECT_EQ_INT(pool_free(s->pool, clock_ns() + 30 * MS), 1);
    end(s);
}

/* What the threads keep. */

static atomic_int begun, tidied, ended;

static void count_begin(struct pool_place *place) {
    place->local = &begun;
    begun++;
}

static void count_tidy(struct pool_place *place) {
    tidied += place->local == &begun;
}

static void count_end(struct pool_place *place) {
    ended += place->local == &begun;
}

static bool two_are_tidy(struct scene *s) {
    (void)s;
    return tidied == 2;
}

TEST(threads_tidy_up_when_told) {
    struct scene *s = calloc(1, sizeof *s);
    struct pool_plan plan = {.name = "test",
                             .threads = 2,
                             .queue = 4,
                             .idle = 20 * CLOCK_SECOND,
                             .begin = count_begin,
                             .tidy = count_tidy,
                             .end = count_end};
    REQUIRE(s && loop_init(&s->loop) == 0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->opened, NULL);
    REQUIRE((s->pool = pool_new(&plan)) != NULL);
    submit(s, 0, true);
    submit(s, 1, true);
    REQUIRE(until(all_hold, s));
    pool_tidy(s->pool);
    EXPECT_EQ_INT(tidied, 0);
    open_gate(s);
    turn(s, 2);
    EXPECT(until(two_are_tidy, s));
    end(s);
    EXPECT_EQ_INT(begun, 2);
    EXPECT_EQ_INT(ended, 2);
}
