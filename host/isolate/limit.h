/* How long a fiber may go on: the request's handlers for handler_timeout, unless their
 * owner says that it does not count any more; and none may be for as long where it
 * cannot be suspended, or compute for as long when nobody waits for it. A late fiber is
 * ended by an error: at its wait, and while it computes in preempt.h's hook.
 *
 * Most fibers end at once, and nothing is done for them. The isolate's thread. */
#ifndef ISOLATE_LIMIT_H
#define ISOLATE_LIMIT_H

#include "isolate/generation.h"
#include "isolate/sched.h"

void limit_init(struct fiber *f);

/* The fiber may go on for that many ns from now; for ever with 0. */
void limit_set(struct fiber *f, int64_t ns);

/* It does not end at once. */
static inline void limit_settle(struct fiber *f) {
    if (__builtin_expect(!(f->traits & FIBER_LIMITED), 0))
        limit_set(f, f->generation->plan->handler_timeout);
}

/* f computes, or only gives way to others: how long has it done so for nobody? */
void limit_look(struct fiber *f, int64_t now);

/* Whether the time of f, which has run for `ran` ns in one go, is over. */
bool limit_is_over(struct fiber *f, int64_t now, int64_t ran);

/* Pushes what ends a late fiber, with the place that L is at. */
void limit_push(lua_State *L, struct fiber *f);

/* The fiber has ended. */
void limit_forget(struct fiber *f);

#endif
