/* net/loop: when timers run in turns that are long. */
#include "net/loop.h"
#include "unit.h"

enum { TURNS = 5 };

/* Computes in each turn for longer than the timer has to wait. */
struct busy {
    struct loop loop;
    struct deferred work;
    struct timer timer;
    int turns, rang; /* in which turn; 0: not yet */
};

static void ring(struct timer *t) {
    struct busy *b = LIST_OF(t, struct busy, timer);
    b->rang = b->turns;
}

static void work(struct deferred *d) {
    struct busy *b = LIST_OF(d, struct busy, work);
    int64_t until = clock_ns() + 10 * CLOCK_MS;
    while (clock_ns() < until) {
    }
    if (++b->turns == TURNS)
        loop_stop(&b->loop);
    else
        loop_defer(&b->loop, d);
}

/* What was due when the kernel was asked for events needs no second look. */
TEST(a_timer_beside_a_busy_fiber_waits_for_one_turn) {
    struct busy b = {.work = {.run = work}};
    REQUIRE(loop_init(&b.loop) == 0);
    list_init(&b.work.link);
    timer_init(&b.timer, ring);
    timer_set(&b.loop, &b.timer, clock_ns() + 5 * CLOCK_MS);
    loop_defer(&b.loop, &b.work);
    loop_run(&b.loop);
    EXPECT_EQ_INT(b.rang, 1); /* between the first and the second */
    loop_done(&b.loop);
}
