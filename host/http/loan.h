/* A request that another isolate answers takes its connection along, on loan: what has
 * come and what is unsent, its body, its turn. When it is answered the connection goes
 * home, with all that has come behind the request, so that the front that reads the
 * next head is always the one that accepted the client, and pipelined answers keep
 * their order. A connection whose home has gone meanwhile ends with the answer.
 *
 * It goes on counting as one of its home's, whose draining waits for it. Leaving and
 * entering: the thread of the front. Under way it belongs to whoever holds it. */
#ifndef HTTP_LOAN_H
#define HTTP_LOAN_H

#include "http/front.h"

struct exchange;
struct h1;
struct lender;

/* Of a connection, from its first loan to its end; counted. */
struct loan {
    atomic_uint references;
    bool out;
    struct lender *home; /* while it is out */
    /* On the home's thread: the connection has come back, or is closed. Not called when
       the home has gone. */
    void (*back)(void *user);
    _Alignas(16) char user[]; /* for back */
};

/* Makes the connection's loan, with `size` zero bytes for the user of the first home,
 * and copies what in x still points into the app's routes. 0; ERR_CLOSED when the
 * client is gone, ERR_MEMORY, -EALREADY when the answer has begun, -ENOTSUP when there
 * is no connection (a test's). */
int loan_prepare(struct exchange *x, size_t size, void (*back)(void *user));

/* Prepared, and not yet out: of x's connection. Else NULL. */
struct loan *loan_fresh(const struct exchange *x);

struct loan *loan_ref(struct loan *n);
void loan_unref(struct loan *n);

/* True while the bytes that x came with are still being gone through: it can leave in
 * the next turn. */
bool loan_is_early(const struct exchange *x);

/* x and its connection leave their front; x is of no handle any more. What is in f's
 * pools stays. After loan_prepare; cannot fail. */
void loan_leave(struct exchange *x);

/* They enter another front, or the same one again. */
void loan_enter(struct exchange *x, struct front *f);

/* Nobody takes them in: answers 503 as well as it can be done from here, and closes.
 * Any thread. */
void loan_drop(struct exchange *x);

/* ---- for h1 and front ---- */

static inline bool loan_is_out(const struct loan *n) {
    return n && n->out;
}

/* The request is answered: the connection leaves for home. False: there is none, and it
 * ends here. */
bool loan_return(struct h1 *c);

/* It does not read or write here any more. */
void loan_silence(struct h1 *c);

/* It is over and in no list: home closes and frees it; false: there is none, and it is
 * closed. */
bool loan_bury(struct h1 *c);

/* An idle connection goes to another isolate for good; false: there is none that would
 * take it. */
bool loan_move(struct h1 *c);

/* What is out says that it ends where it is answered. */
void loan_drain(struct front *f);
bool loan_home_drains(const struct loan *n);

/* The front takes nobody back from now on; then it is freed. */
void loan_close(struct front *f);
void loan_done(struct front *f);

#endif
