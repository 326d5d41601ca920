/* A socket of Lua code, apart from the userdata that names it: a stream, what it has
 * read ahead, and the fibers that wait for it: one for input, any number for output.
 * What is written goes into the stream's queue and is sent when the fibers of this turn
 * have run, so that several small writes are one system call; a large one goes out at
 * once, without being copied.
 *
 * Handle and socket point at each other. Closing takes the handle off at once, while
 * the socket lives on until its output is sent, as long as that makes progress. Before
 * there is a loop (an app is being loaded) it belongs to none, and its users wait with
 * poll(2); in a fiber it joins the isolate's. In the same way it may leave a loop for
 * another one. The thread that the state is on. */
#ifndef API_SOCK_H
#define API_SOCK_H

#include "base/span.h"
#include "isolate/budget.h"
#include "isolate/sched.h"
#include "net/stream.h"

enum {
    SOCK_LINE_MAX = 64 * 1024, /* unless it is told otherwise */
    SOCK_TOGETHER = 16 * 1024, /* up to here writes are gathered */
    SOCK_FOREVER = -1,         /* as a timeout */
};

struct sock {
    uint32_t magic;
    uint32_t line_max; /* bytes of a line, without its end */
    struct stream stream;
    struct buf in;  /* has come and is not read yet; no memory while empty */
    size_t scanned; /* of in: where the pending read need not look again */
    struct waiter reader;
    struct link writers; /* struct sock_wait */
    struct deferred flush;
    struct debt debt;
    struct timer linger;
    struct grave grave;
    struct sock **handle;      /* NULL when it is closed, or on its way */
    char *peer;                /* the name that it was connected to, or NULL */
    int64_t timeout;           /* of each operation, ns; SOCK_FOREVER */
    struct budget_share share; /* in, and the stream's queue */
    int error; /* of reading, negative: every later read fails with it */
    bool eof;
    bool eager;   /* the last read has filled its room: more is there */
    bool half;    /* no more is written; the peer is told when all is sent */
    bool patient; /* closed, it lives until all is sent, however long that takes */
    bool resting; /* between two uses: whatever comes, the end too, closes it */
};

/* A fiber that waits until at most `mark` bytes are unsent. In memory of Lua's. */
struct sock_wait {
    struct waiter waiter;
    struct link link;
    size_t mark;
};

/* Takes fd, non-blocking; the loop may be NULL. NULL without memory: fd is closed. */
struct sock *sock_new(struct loop *l, int fd);

/* For good; see above. */
void sock_close(struct sock *s);

/* Reads once, at most once: IO_OK with what came in *fresh, if it stands in the loop's
 * landing, or at the end of in. missing: how many bytes the reader knows to be
 * missing, if more than a few. IO_FAIL: the error is in s->error. */
enum io sock_fill(struct sock *s, size_t missing, struct span *fresh);

/* Keeps what came in the landing; false without memory, which is then s->error.
 */
bool sock_keep(struct sock *s, struct span fresh);

/* Takes n bytes from the front of in. */
void sock_consume(struct sock *s, size_t n);

/* Has what the socket in the box holds on the account of its state (budget.h), if that
 * is much, and `more` bytes that are to come. Raises when there is no room. The socket,
 * or NULL: collecting garbage for that may have closed it. */
struct sock *sock_account(lua_State *L, struct sock **box, size_t more);

/* Queues or sends; IO_FAIL when the stream is broken. */
enum io sock_write(struct sock *s, const struct iovec *pieces, int count, size_t total);

/* Sends what is queued, and tells the peer if it was the last. */
enum io sock_flush(struct sock *s);

/* Whether that is still to be done in this turn. */
static inline bool sock_is_to_flush(const struct sock *s) {
    return !list_empty(&s->flush.link);
}

/* No more will be written. */
void sock_half_close(struct sock *s);

/* To the loop of the isolate that it is used on. */
void sock_attach(struct sock *s, struct loop *l);

/* Whether a fiber waits to write; those that were cancelled may still be listed. */
bool sock_is_awaited(const struct sock *s);

/* Leaves its loop, if it is on one, and its handle; no fiber waits. Whoever has it then
 * gives it a handle, and a loop by sock_attach, or drops it, on whatever thread. */
void sock_leave(struct sock *s);
void sock_drop(struct sock *s);

#endif
