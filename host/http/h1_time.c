#include "http/h1.h"
#include "http/loan.h"

#include <poll.h>

/* What a connection's phase leaves it of time. */

static const int64_t LINGER = 2000000000, UNHEARD = 5000000, LOOK = 1000000000; /* ns */

bool h1_is_unheard(const struct h1 *c) {
    return c->phase == H1_WAIT && loan_is_out(c->loan) && !c->stream.reading &&
           !c->eof && buf_len(&c->in) < H1_PIPELINE_MAX;
}

bool h1_is_blind(const struct h1 *c) {
    return (c->phase == H1_BODY || c->phase == H1_WAIT) && c->x && c->x->watched &&
           !c->x->left && !c->stream.reading;
}

void h1_recheck(struct h1 *c) {
    loop_defer(c->front->loop, &c->turn);
}

bool h1_hangs_up(const struct h1 *c) {
    struct pollfd p = {.fd = stream_fd(&c->stream), .events = POLLRDHUP};
    return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

static int64_t sooner(int64_t at, int64_t other) {
    return !at || other < at ? other : at;
}

int64_t h1_deadline(const struct h1 *c) {
    const struct front *f = c->front;
    int64_t at = 0;
    switch (c->phase) {
    case H1_PROXY:
    case H1_IDLE:
        at = c->since + (c->requests ? f->limits.idle_timeout : f->limits.head_timeout);
        if (f->draining) {
            int64_t from = c->since > f->drain_since ? c->since : f->drain_since;
            if (from + f->drain_grace < at) at = from + f->drain_grace;
        }
        break;
    case H1_HEAD: at = c->since + f->limits.head_timeout; break;
    case H1_BODY:
        if (c->stream.reading && c->continued) at = c->since + f->limits.body_timeout;
        break;
    case H1_WAIT:
        if (h1_is_unheard(c)) at = c->since + UNHEARD;
        break;
    case H1_LINGER: at = c->since + LINGER; break;
    }
    if (stream_waits(&c->stream))
        at = sooner(at, c->stream.written + f->limits.write_timeout);
    if (h1_is_blind(c)) at = sooner(at, f->loop->now + LOOK);
    return at;
}
