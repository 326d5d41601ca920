#include "http/h1.h"
#include "http/loan.h"

/* What a connection's phase leaves it of time. */

static const int64_t LINGER = 2000000000, UNHEARD = 5000000; /* ns */

bool h1_is_unheard(const struct h1 *c) {
    return c->phase == H1_WAIT && loan_is_out(c->loan) && !c->stream.reading && !c->eof;
}

int64_t h1_deadline(const struct h1 *c) {
    const struct front *f = c->front;
    int64_t at = 0, write = 0;
    switch (c->phase) {
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
    if (stream_waits(&c->stream)) {
        write = c->stream.written + f->limits.write_timeout;
        if (!at || write < at) at = write;
    }
    return at;
}
