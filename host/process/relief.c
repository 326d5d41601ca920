#include "process/relief.h"

#include "base/clock.h"

static const int64_t PAUSE = CLOCK_SECOND, PAUSE_MOST = 60 * (int64_t)CLOCK_SECOND;

enum { SOON = 10 }; /* pauses */

bool relief_begins(struct relief *r, int64_t now) {
    if (!r->wanted || now < r->after) return false;
    bool soon = r->pause && now - r->after < SOON * r->pause;
    r->pause = soon ? 2 * r->pause : PAUSE;
    if (r->pause > PAUSE_MOST) r->pause = PAUSE_MOST;
    r->after = now + r->pause;
    return true;
}
