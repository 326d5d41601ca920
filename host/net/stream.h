/* A byte stream over a descriptor (or over memory, for specs): reading into the loop's
 * shared buffer, an output queue that is sent when the socket takes it, half-close, and
 * a way from one loop to another. An idle stream holds no memory but itself.
 *
 * Nothing calls up from inside a write: a failed write is returned, and otherwise what
 * happens is told by the user's two functions, from the loop. A high mark tells writers
 * to wait; `drained` comes when the queue has fallen below the low mark. The loop's
 * thread. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/buf.h"
#include "base/err.h"
#include "net/census.h"
#include "net/loop.h"

#include <sys/uio.h>

struct stream;

/* The transport. n is set with IO_OK; errno with IO_FAIL. A read that gives less than
 * there was room for has taken all that is at hand: the next is tried when the
 * descriptor is readable, or at once where the transport has set `ahead`. */
struct stream_ops {
    enum io (*read)(struct stream *s, char *to, size_t room, size_t *n);
    enum io (*writev)(struct stream *s, const struct iovec *pieces, int count,
                      size_t *n);
    /* No more will be written: IO_AGAIN when the socket has to take more to be told. */
    enum io (*shutdown)(struct stream *s);
    void (*close)(struct stream *s);
    /* Sends the queued bytes and behind them at most n of a file's, from `at` on; *sent
       counts both. With IO_EOF the file ends there: errno is 0, or why it cannot be
       read. NULL: files are read and written. */
    enum io (*sendfile)(struct stream *s, int file, uint64_t at, size_t n,
                        size_t *sent);
    bool farewell; /* shutdown belongs before close: the peer cares */
    /* Calls readable later in this turn: `ahead` is set, and reading is wanted again;
       without a loop, which it has just left, perhaps with another descriptor, no more.
       NULL where `ahead` is never set. */
    void (*retell)(struct stream *s);
    /* The stream stands elsewhere in memory from now on. NULL: it need not know. */
    void (*moved)(struct stream *s);
};

struct stream_user {
    void (*readable)(struct stream *s); /* or at its end, or broken: read tells */
    void (*drained)(struct stream *s);  /* also when all is sent, or writing failed */
};

enum {
    STREAM_HIGH = 128 * 1024, /* a writer with more than this unsent has to wait */
    STREAM_LOW = 32 * 1024,
    STREAM_PIECES = 15, /* at most, in one stream_write */
};

struct stream {
    ev_io io;          /* its data is the transport's own; not used by stream_plain */
    struct loop *loop; /* NULL while it belongs to none: then nothing is told */
    const struct stream_ops *ops;
    const struct stream_user *user;
    struct buf out;
    int64_t written; /* loop time of the last progress in sending, ns */
    bool reading;    /* the user wants readable */
    bool above;      /* the high mark was passed; drained is owed */
    bool broken;     /* writing has failed: what is queued is dropped */
    bool shut;
    bool owes;      /* the transport's shutdown is still to be sent */
    bool known;     /* the loop's epoll may have it */
    bool lent;      /* so may that of the loop that has lent it */
    bool ahead;     /* the transport knows what the next read gives, without an event */
    bool unwatched; /* the kernel had no memory to watch it: it is over both ways */
    bool read_needs_write, write_needs_read; /* the transport's crossed waits */
    int error;                               /* why it is broken: an errno */
    struct guest *guest; /* counts it (census.h) until it is closed; or NULL */
};

extern const struct stream_ops stream_plain;

/* Takes fd, which is non-blocking. No event comes before stream_want_read. The loop may
 * be NULL until stream_attach. */
void stream_init(struct stream *s, struct loop *l, int fd, const struct stream_ops *ops,
                 const struct stream_user *user);

/* Becomes what from was, which is closed then, with another user; nothing is lost.
 * Reading is not wanted at first. */
void stream_take(struct stream *s, struct stream *from, const struct stream_user *user);

/* Closes; unsent output is dropped. */
void stream_done(struct stream *s);

static inline int stream_fd(const struct stream *s) {
    return s->io.fd;
}

/* Registers for, or no longer cares for, readable; cheap when nothing changes. */
void stream_want_read(struct stream *s, bool want);

/* Room for n bytes at the end of the output queue, or NULL without memory; then commit.
 */
char *stream_reserve(struct stream *s, size_t n);

static inline void stream_commit(struct stream *s, size_t n) {
    buf_commit(&s->out, n);
}

static inline size_t stream_unsent(const struct stream *s) {
    return buf_len(&s->out);
}

/* Bytes of memory for that. */
static inline size_t stream_held(const struct stream *s) {
    return s->out.capacity;
}

/* The peer has yet to take something: what is queued, or of a file. */
static inline bool stream_waits(const struct stream *s) {
    return buf_len(&s->out) || s->above;
}

/* Sends what is queued, and behind it the n bytes at body, without copying them; *taken
 * says how many of these were sent or queued (up to the high mark). IO_OK all is sent,
 * IO_AGAIN the rest follows by itself, IO_FAIL the peer is gone. */
enum io stream_send(struct stream *s, const char *body, size_t n, size_t *taken);

static inline enum io stream_flush(struct stream *s) {
    size_t taken;
    return buf_len(&s->out) ? stream_send(s, NULL, 0, &taken)
                            : (s->broken ? IO_FAIL : IO_OK);
}

/* Sends what is queued and behind it the pieces, and queues all that is not sent, so
 * that what was written at once is never torn. As stream_send. */
enum io stream_write(struct stream *s, const struct iovec *pieces, int count);

/* Sends what is queued and behind it n bytes of the file from `at` on; *taken of them
 * are sent, or queued when they are few. IO_OK: all. IO_AGAIN: the rest has to wait for
 * drained. IO_EOF: the file has no more, errno being 0, or cannot be read. IO_FAIL: the
 * peer is gone. The disk is waited for: ask for little at a time. */
enum io stream_sendfile(struct stream *s, int file, uint64_t at, size_t n,
                        size_t *taken);

/* True when a writer should wait for drained. */
bool stream_full(struct stream *s);

/* Reads once, into room bytes at to. */
static inline enum io stream_read(struct stream *s, char *to, size_t room, size_t *n) {
    if (!s->unwatched) return s->ops->read(s, to, room, n);
    errno = ENOMEM;
    return IO_FAIL;
}

/* After the queue is sent, tells the peer that nothing more comes. IO_AGAIN while the
 * socket does not take that; it follows by itself, and then drained is called. */
enum io stream_shutdown(struct stream *s);

/* Before closing in peace. IO_AGAIN while the peer is still to be told. */
static inline enum io stream_farewell(struct stream *s) {
    return s->ops->farewell && !s->broken ? stream_shutdown(s) : IO_OK;
}

/* Called by the transport: reading (writing) waits for the other event instead of its
 * own, or does so no more. */
void stream_cross(struct stream *s, bool writing, bool crossed);

/* Leaves its loop; nothing is lost. Attach goes on, on the thread of the other. */
void stream_detach(struct stream *s);

/* The same for one that comes back, and is closed nowhere else: the kernel need not be
 * told, and what it tells the loop meanwhile is for nobody. It does not read at first.
 */
void stream_lend(struct stream *s);

/* Attach, to the loop that has lent it. */
void stream_come_back(struct stream *s, struct loop *l);
void stream_attach(struct stream *s, struct loop *l);

#endif
