#include "net/stream.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A block that each loop lends to one stream after the other. Whoever finds it lent
 * gets as much memory as it has output. */
enum { OUT_LENT = 16 * 1024 };

/* Of files: so few bytes are sent with whatever else is queued; of others so many are
 * read at a time. */
enum { FILE_FEW = 16 * 1024, FILE_PIECE = 64 * 1024 };

static void ready(struct ev_loop *ev, ev_io *io, int events);

void stream_init(struct stream *s, struct loop *l, int fd, const struct stream_ops *ops,
                 const struct stream_user *user) {
    ev_io_init(&s->io, ready, fd, EV_NONE);
    s->io.data = NULL;
    s->loop = l;
    s->ops = ops;
    s->user = user;
    buf_init(&s->out);
    s->written = l ? l->now : 0;
    s->reading = s->above = s->broken = s->shut = s->owes = s->ahead = false;
    s->unwatched = false;
    s->read_needs_write = s->write_needs_read = false;
    s->error = 0;
    s->guest = NULL;
}

/* Most streams of a loop need an output queue only for the moment of one answer. */
static void drop_out(struct stream *s) {
    struct loop *l = s->loop;
    bool borrowed = l && l->borrower == s;
    if (borrowed) l->borrower = NULL;
    if (borrowed && s->out.capacity == OUT_LENT) {
        l->block = s->out.memory;
        buf_init(&s->out);
    } else {
        buf_reset(&s->out);
    }
}

static void watch(struct stream *s) {
    /* Who waits for drained is told from the loop, even if a flush has sent all. */
    bool writing = buf_len(&s->out) || s->above || s->owes;
    int events = 0;
    if (s->reading) events |= s->read_needs_write ? EV_READ | EV_WRITE : EV_READ;
    if (writing) events |= s->write_needs_read ? EV_READ : EV_WRITE;
    if (s->io.fd < 0 || events == (s->io.events & (EV_READ | EV_WRITE)) || !s->loop ||
        s->unwatched)
        return;
    ev_io_stop(s->loop->ev, &s->io);
    ev_io_set(&s->io, s->io.fd, events);
    if (!events) return;
    ev_io_start(s->loop->ev, &s->io);
    s->known = true;
}

void stream_done(struct stream *s) {
    if (s->io.fd >= 0 && s->loop) ev_io_stop(s->loop->ev, &s->io);
    drop_out(s);
    bool feeds = s->io.fd >= 0 && s->loop;
    s->ops->close(s);
    s->io.fd = -1;
    if (feeds) loop_feed(s->loop);
    guest_leave(s->guest);
    s->guest = NULL;
}

static void close_nothing(struct stream *s) {
    (void)s;
}

void stream_take(struct stream *s, struct stream *from,
                 const struct stream_user *stream_user) {
    static const struct stream_ops gone = {.close = close_nothing};
    struct loop *l = from->loop;
    if (l && from->io.fd >= 0) ev_io_stop(l->ev, &from->io);
    *s = *from;
    s->user = stream_user;
    s->reading = false;
    ev_io_set(&s->io, s->io.fd, EV_NONE);
    if (l && l->borrower == from) l->borrower = s;
    stream_init(from, NULL, -1, &gone, from->user);
    if (s->ops->moved) s->ops->moved(s);
    watch(s);
}

void stream_want_read(struct stream *s, bool want) {
    if (s->reading == want) return;
    s->reading = want;
    watch(s);
    if (want && s->ahead) s->ops->retell(s);
}

char *stream_reserve(struct stream *s, size_t n) {
    struct loop *l = s->loop;
    if (l && buf_len(&s->out) == 0) s->written = l->now; /* no progress was due */
    if (!s->out.memory && n <= OUT_LENT && l && !l->borrower) {
        s->out.memory = l->block ? l->block : malloc(OUT_LENT);
        if (!s->out.memory) return NULL;
        s->out.capacity = OUT_LENT;
        l->borrower = s;
        l->block = NULL;
    }
    return buf_reserve(&s->out, n);
}

static enum io fail(struct stream *s, int error) {
    s->broken = true;
    s->error = error;
    drop_out(s);
    watch(s);
    return IO_FAIL;
}

enum io stream_send(struct stream *s, const char *body, size_t n, size_t *taken) {
    *taken = 0;
    if (s->broken) return IO_FAIL;
    struct iovec pieces[2];
    int count = 0;
    size_t queued = buf_len(&s->out), sent = 0;
    if (queued) pieces[count++] = (struct iovec){buf_data(&s->out), queued};
    if (n) pieces[count++] = (struct iovec){(void *)(uintptr_t)body, n};
    if (!count) return IO_OK;
    enum io result = s->ops->writev(s, pieces, count, &sent);
    if (result == IO_FAIL) return fail(s, errno);
    if (result != IO_OK)
        sent = 0;
    else if (s->loop)
        s->written = s->loop->now;
    if (sent < queued) {
        buf_consume(&s->out, sent);
    } else {
        buf_consume(&s->out, queued);
        *taken = sent - queued;
    }
    if (*taken < n && buf_len(&s->out) < STREAM_HIGH) {
        size_t more = STREAM_HIGH - buf_len(&s->out);
        if (more > n - *taken) more = n - *taken;
        char *to = stream_reserve(s, more);
        if (!to) return fail(s, ENOMEM);
        memcpy(to, body + *taken, more);
        stream_commit(s, more);
        *taken += more;
    }
    if (buf_len(&s->out) == 0) {
        drop_out(s);
        if (s->above || s->io.events & EV_WRITE) watch(s);
        return IO_OK;
    }
    if (s->above == false && (*taken < n || buf_len(&s->out) > STREAM_HIGH))
        s->above = true;
    watch(s);
    return IO_AGAIN;
}

enum io stream_write(struct stream *s, const struct iovec *pieces, int count) {
    struct iovec all[STREAM_PIECES + 1];
    size_t queued = buf_len(&s->out), sent = 0;
    if (s->broken) return IO_FAIL;
    if (!(s->io.events & EV_WRITE)) { /* else it is known to take nothing */
        int n = 0;
        if (queued) all[n++] = (struct iovec){buf_data(&s->out), queued};
        for (int i = 0; i < count; i++) all[n++] = pieces[i];
        enum io result = s->ops->writev(s, all, n, &sent);
        if (result == IO_FAIL) return fail(s, errno);
        if (result != IO_OK)
            sent = 0;
        else if (s->loop)
            s->written = s->loop->now;
    }
    buf_consume(&s->out, sent < queued ? sent : queued);
    sent -= sent < queued ? sent : queued;
    for (int i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;
        size_t n = pieces[i].iov_len - skip;
        sent -= skip;
        if (n == 0) continue;
        char *to = stream_reserve(s, n);
        if (!to) return fail(s, ENOMEM);
        memcpy(to, (const char *)pieces[i].iov_base + skip, n);
        stream_commit(s, n);
    }
    if (buf_len(&s->out) == 0) drop_out(s);
    watch(s);
    return buf_len(&s->out) ? IO_AGAIN : IO_OK;
}

/* Through the output queue. */
static enum io copy_file(struct stream *s, int file, uint64_t at, size_t n,
                         size_t *taken) {
    while (*taken < n) {
        if (stream_full(s)) {
            watch(s);
            return IO_AGAIN;
        }
        size_t piece = n - *taken < FILE_PIECE ? n - *taken : FILE_PIECE;
        char *to = stream_reserve(s, piece);
        if (!to) return fail(s, ENOMEM);
        ssize_t got;
        do got = pread(file, to, piece, (off_t)(at + *taken));
        while (got < 0 && errno == EINTR);
        if (got == 0) errno = 0;
        if (got <= 0) return IO_EOF;
        stream_commit(s, (size_t)got);
        *taken += (size_t)got;
        if (buf_len(&s->out) >= FILE_PIECE && stream_flush(s) == IO_FAIL)
            return IO_FAIL;
    }
    return IO_OK;
}

enum io stream_sendfile(struct stream *s, int file, uint64_t at, size_t n,
                        size_t *taken) {
    *taken = 0;
    if (s->broken) return IO_FAIL;
    size_t queued = buf_len(&s->out), sent = 0;
    if (!s->ops->sendfile || queued + n <= FILE_FEW)
        return copy_file(s, file, at, n, taken);
    if (queued && s->io.events & EV_WRITE) { /* it is known to take nothing */
        s->above = true;
        return IO_AGAIN;
    }
    enum io result = s->ops->sendfile(s, file, at, n, &sent);
    if (result == IO_FAIL && (errno == EINVAL || errno == ENOSYS))
        return copy_file(s, file, at, n, taken); /* not of that file system */
    if (result == IO_FAIL) return fail(s, errno);
    int error = errno;
    if (sent && s->loop) s->written = s->loop->now;
    if (sent < queued) {
        buf_consume(&s->out, sent);
    } else {
        buf_consume(&s->out, queued);
        *taken = sent - queued;
        drop_out(s);
    }
    if (result != IO_EOF && *taken < n) {
        if (!sent && !s->above && s->loop) s->written = s->loop->now;
        s->above = true;
        result = IO_AGAIN;
    }
    watch(s);
    errno = error;
    return result;
}

bool stream_full(struct stream *s) {
    if (s->broken || buf_len(&s->out) < STREAM_HIGH) return false;
    s->above = true;
    return true;
}

enum io stream_shutdown(struct stream *s) {
    if (s->shut && !s->owes) return IO_OK;
    s->shut = true;
    s->owes = s->ops->shutdown(s) == IO_AGAIN;
    watch(s);
    return s->owes ? IO_AGAIN : IO_OK;
}

void stream_cross(struct stream *s, bool writing, bool crossed) {
    bool *which = writing ? &s->write_needs_read : &s->read_needs_write;
    if (*which == crossed) return;
    *which = crossed;
    watch(s);
}

/* libev has stopped watching it: epoll_ctl has failed. */
static void lost(struct stream *s) {
    bool writing = buf_len(&s->out) || s->above || s->owes;
    s->unwatched = true;
    s->above = s->owes = false;
    fail(s, ENOMEM);
    if (writing) s->user->drained(s);
    if (s->reading && s->io.fd >= 0) s->user->readable(s);
}

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    struct stream *s = LIST_OF(io, struct stream, io);
    if (events & EV_ERROR) {
        lost(s);
        return;
    }
    int sending = s->write_needs_read ? EV_READ : EV_WRITE;
    int reading = s->read_needs_write ? EV_READ | EV_WRITE : EV_READ;
    if (events & EV_WRITE && s->owes && stream_shutdown(s) == IO_OK) {
        s->user->drained(s);
        if (s->io.fd < 0) return;
    }
    if (events & sending && (buf_len(&s->out) || s->above)) {
        size_t taken;
        enum io result = stream_send(s, NULL, 0, &taken);
        if (result == IO_FAIL || (s->above && buf_len(&s->out) <= STREAM_LOW) ||
            result == IO_OK) {
            s->above = false;
            watch(s);
            /* The user may close the stream; it is freed at the end of the turn. */
            s->user->drained(s);
        }
    }
    if (events & reading && s->reading && s->io.fd >= 0) s->user->readable(s);
}

static void leave(struct stream *s) {
    if (s->loop->borrower == s) s->loop->borrower = NULL; /* the block goes with it */
    s->loop = NULL;
    s->known = false;
    if (s->ops->retell) s->ops->retell(s);
}

void stream_detach(struct stream *s) {
    if (!s->loop) return;
    if (s->known) loop_forget(s->loop, &s->io);
    leave(s);
}

void stream_lend(struct stream *s) {
    ev_io_stop(s->loop->ev, &s->io);
    ev_io_set(&s->io, s->io.fd, EV_NONE);
    s->reading = false;
    s->lent = s->known;
    leave(s);
}

void stream_come_back(struct stream *s, struct loop *l) {
    s->known = s->lent;
    s->lent = false;
    stream_attach(s, l);
}

void stream_attach(struct stream *s, struct loop *l) {
    s->loop = l;
    s->written = l->now;
    watch(s);
    if (s->reading && s->ahead) s->ops->retell(s);
}

/* Not read and write themselves: in a program with threads each of them opens and
 * closes a window for pthread_cancel, with locked instructions, which nobody here uses.
 */
static enum io plain_read(struct stream *s, char *to, size_t room, size_t *n) {
    ssize_t got;
    do got = syscall(SYS_read, s->io.fd, to, room);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        *n = (size_t)got;
        return IO_OK;
    }
    if (got == 0) return IO_EOF;
    return errno == EAGAIN ? IO_AGAIN : IO_FAIL;
}

static enum io plain_writev(struct stream *s, const struct iovec *pieces, int count,
                            size_t *n) {
    ssize_t sent;
    do {
        sent = count == 1
                   ? syscall(SYS_write, s->io.fd, pieces[0].iov_base, pieces[0].iov_len)
                   : syscall(SYS_writev, s->io.fd, pieces, count);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        *n = (size_t)sent;
        return IO_OK;
    }
    return errno == EAGAIN ? IO_AGAIN : IO_FAIL;
}

/* The head that is queued and the file's first bytes share a packet. */
static enum io plain_sendfile(struct stream *s, int file, uint64_t at, size_t n,
                              size_t *sent) {
    size_t queued = buf_len(&s->out);
    off_t offset = (off_t)at;
    ssize_t got;
    *sent = 0;
    if (queued) {
        do got = send(s->io.fd, buf_data(&s->out), queued, MSG_MORE | MSG_NOSIGNAL);
        while (got < 0 && errno == EINTR);
        if (got < 0) return errno == EAGAIN ? IO_AGAIN : IO_FAIL;
        *sent = (size_t)got;
        if ((size_t)got < queued) return IO_OK;
    }
    do got = sendfile(s->io.fd, file, &offset, n);
    while (got < 0 && errno == EINTR);
    if (got > 0) *sent += (size_t)got;
    if (got > 0) return IO_OK;
    if (got == 0 || errno == EIO) {
        errno = got ? errno : 0;
        return IO_EOF;
    }
    /* What was queued has gone all the same. */
    if (errno == EAGAIN) return *sent ? IO_OK : IO_AGAIN;
    if (!*sent) return IO_FAIL;
    return IO_OK;
}

static enum io plain_shutdown(struct stream *s) {
    shutdown(s->io.fd, SHUT_WR);
    return IO_OK;
}

static void plain_close(struct stream *s) {
    close(s->io.fd);
}

const struct stream_ops stream_plain = {.read = plain_read,
                                        .writev = plain_writev,
                                        .sendfile = plain_sendfile,
                                        .shutdown = plain_shutdown,
                                        .close = plain_close};
