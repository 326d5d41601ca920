#include "http/usher.h"

#include "base/log.h"
#include "http/client.h"
#include "http/loan.h"

/* An isolate that has been in one turn for STUCK gets requests only if all the others
 * are like that; after HOPELESS not more than wait already, if those are so many. */
enum { QUEUE_MAX = 500 };
static const int64_t STUCK = 20 * 1000000, HOPELESS = 1000000000,
                     SILENCE = 10 * HOPELESS; /* ns */

/* Of a request on its way; lives in the loan. */
struct trip {
    struct deferred leave;
    struct post post;
    struct exchange *x;
    struct front *to;
};

static void refuse(struct exchange *x, int status) {
    if (status == 413) x->close = true;
    exchange_fail(x, status, SPAN(""));
    exchange_release(x);
}

static void cannot(struct usher_app *app, struct exchange *x, const char *why) {
    int64_t now = x->front->loop->now;
    long long until = atomic_load_explicit(&app->silent, memory_order_relaxed);
    if (now >= until &&
        atomic_compare_exchange_strong(&app->silent, &until, now + SILENCE))
        log_error("%s: %s: 503", app->name, why);
    refuse(x, 503);
}

/* ---- at the app's ---- */

static void arrive(struct post *p) {
    struct trip *t = LIST_OF(p, struct trip, post);
    struct exchange *x = t->x;
    struct front *f = t->to;
    atomic_fetch_sub_explicit(&f->expected, 1, memory_order_relaxed);
    if (f->over) {
        loan_drop(x);
        return;
    }
    loan_enter(x, f);
    x->body_max = f->limits.body_max;
    if (x->head.content_length > x->body_max || x->body_received > x->body_max)
        refuse(x, 413);
    else
        f->app->request(x);
}

/* ---- at the door ---- */

static void back(void *trip) {
    (void)trip;
}

/* At the end of the turn: all that came with the head has been gone through. */
static void leave(struct deferred *d) {
    struct trip *t = LIST_OF(d, struct trip, leave);
    loan_leave(t->x);
    t->post.run = arrive;
    loop_post(t->to->loop, &t->post);
}

static void request(struct exchange *x) {
    struct front *f = x->front;
    const struct usher *u = f->app_data;
    struct span host = x->target.authority;
    if (!host.len)
        host = span_of(x->head.base + x->head.authority, x->head.authority_len);
    if (f->limits.trust.proxies.any) host = client_host(x);
    if (f->draining) x->close = true;
    int place = vhost_find(u->places, u->count, host, x->target.path);
    if (place < 0) {
        refuse(x, 404);
        return;
    }
    struct usher_app *app = &u->apps[place];
    x->place = (uint16_t)u->places[place].path.len;
    struct front *to = front_lightest(app->crew, STUCK);
    if (!to) {
        cannot(app, x, "no isolate serves");
    } else if (front_expected(to) >= QUEUE_MAX && !front_is_prompt(to, HOPELESS)) {
        cannot(app, x, "all isolates are stuck, and many requests wait for them");
    } else if (loan_prepare(x, sizeof(struct trip), back) != 0) {
        cannot(app, x, err_text(ERR_MEMORY));
    } else {
        struct trip *t = (struct trip *)(void *)loan_fresh(x)->user;
        *t = (struct trip){.leave.run = leave, .x = x, .to = to};
        list_init(&t->leave.link);
        x->handle = t;
        atomic_fetch_add_explicit(&to->expected, 1, memory_order_relaxed);
        loop_defer(f->loop, &t->leave);
    }
}

static void nothing(struct exchange *x) {
    (void)x;
}

/* Before it has left. */
static void gone(struct exchange *x) {
    struct trip *t = x->handle;
    list_unlink(&t->leave.link);
    atomic_fetch_sub_explicit(&t->to->expected, 1, memory_order_relaxed);
    exchange_release(x);
}

const struct http_app usher_http = {request, nothing, nothing, gone, nothing};
