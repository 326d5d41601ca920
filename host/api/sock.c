#include "api/sock.h"

#include "base/check.h"
#include "net/stream_tls.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAGIC = 0x736f636b,
    FILL_MAX = 256 * 1024, /* at most so much is read at once */
    LOADING = 16 * 1024,   /* room for reading without a loop */
    FEW = 64 * 1024,       /* bytes that are not accounted for */
};

static const int64_t LINGER = 30 * CLOCK_SECOND;

/* What TLS says to TLS does no harm. */
static bool is_small_talk(struct sock *s) {
    struct span fresh;
    return stream_is_tls(&s->stream) && sock_fill(s, 0, &fresh) == IO_AGAIN;
}

static void readable(struct stream *stream) {
    struct sock *s = LIST_OF(stream, struct sock, stream);
    /* Whoever does not wait now may do so later: until then the loop is left alone. */
    if (waiter_is_set(&s->reader))
        sched_wake(&s->reader, WAKE_EVENT);
    else if (!s->resting)
        stream_want_read(stream, false);
    else if (!is_small_talk(s))
        sock_close(s);
}

static void wake_writers(struct sock *s, bool all) {
    struct link *next;
    for (struct link *l = s->writers.next; l != &s->writers; l = next) {
        struct sock_wait *w = LIST_OF(l, struct sock_wait, link);
        next = l->next;
        if (!all && stream_unsent(&s->stream) > w->mark) continue;
        list_unlink(l);
        sched_wake(&w->waiter, WAKE_EVENT);
    }
}

static void free_one(struct grave *g) {
    struct sock *s = LIST_OF(g, struct sock, grave);
    s->magic = 0;
    buf_reset(&s->in);
    free(s->peer);
    free(s);
}

/* The end; nobody has it any more. */
static void bury(struct sock *s) {
    struct loop *l = s->stream.loop;
    list_unlink(&s->debt.link);
    list_unlink(&s->flush.link);
    if (l) timer_clear(l, &s->linger);
    stream_done(&s->stream);
    s->grave.done = free_one;
    if (l)
        loop_bury(l, &s->grave);
    else
        free_one(&s->grave);
}

static size_t held(const struct sock *s) {
    size_t n = s->in.capacity + stream_held(&s->stream);
    return n > FEW ? n : 0;
}

struct sock *sock_account(lua_State *L, struct sock **box, size_t more) {
    struct sock *s = *box;
    if (!s) return NULL;
    size_t n = held(s) + more;
    budget_lower_to(&s->share, n);
    budget_raise_to(L, &s->share, n);
    if (*box != s) budget_lower_to(&s->share, 0);
    return *box;
}

static void owe(struct sock *s) {
    struct loop *l = s->stream.loop;
    if (l && list_empty(&s->debt.link)) list_append(&l->debts, &s->debt.link);
}

/* All is sent, or never will be. IO_AGAIN when the peer is still to be told. */
static enum io settled(struct sock *s) {
    struct stream *stream = &s->stream;
    bool tell = s->half || (!s->handle && stream->ops->farewell);
    enum io io = tell && !stream->broken ? stream_shutdown(stream) : IO_OK;
    if (io == IO_OK) list_unlink(&s->debt.link);
    return io;
}

static void drained(struct stream *stream) {
    struct sock *s = LIST_OF(stream, struct sock, stream);
    bool over = stream->broken || stream_unsent(stream) == 0;
    budget_lower_to(&s->share, held(s));
    if (over) over = settled(s) == IO_OK;
    if (over && !s->handle)
        bury(s);
    else
        wake_writers(s, stream->broken);
}

static const struct stream_user user = {readable, drained};

static void flush_last(struct deferred *d) {
    struct sock *s = LIST_OF(d, struct sock, flush);
    if (sock_flush(s) == IO_FAIL) wake_writers(s, true);
}

static void give_up(struct debt *d) {
    bury(LIST_OF(d, struct sock, debt));
}

static void lingered(struct timer *t) {
    struct sock *s = LIST_OF(t, struct sock, linger);
    struct loop *l = s->stream.loop;
    int64_t until = (s->patient ? l->now : s->stream.written) + LINGER;
    if (until <= l->now || timer_set(l, t, until) != 0) bury(s);
}

struct sock *sock_new(struct loop *l, int fd) {
    struct sock *s = malloc(sizeof *s);
    if (!s) {
        close(fd);
        return NULL;
    }
    *s = (struct sock){
        .magic = MAGIC, .line_max = SOCK_LINE_MAX, .timeout = SOCK_FOREVER};
    stream_init(&s->stream, l, fd, &stream_plain, &user);
    list_init(&s->writers);
    list_init(&s->flush.link);
    s->flush.run = flush_last;
    list_init(&s->debt.link);
    s->debt.give_up = give_up;
    timer_init(&s->linger, lingered);
    return s;
}

void sock_close(struct sock *s) {
    MAGIC_CHECK(s, MAGIC);
    if (s->handle) *s->handle = NULL;
    s->handle = NULL;
    budget_lower_to(&s->share, 0);
    sched_wake(&s->reader, WAKE_EVENT);
    wake_writers(s, true);
    buf_reset(&s->in);
    stream_want_read(&s->stream, false);
    struct loop *l = s->stream.loop;
    if (!l || sock_flush(s) != IO_AGAIN ||
        timer_set(l, &s->linger, l->now + LINGER) != 0)
        bury(s);
    else
        owe(s);
}

static enum io read_error(struct sock *s, int error) {
    s->error = -error;
    return IO_FAIL;
}

enum io sock_fill(struct sock *s, size_t missing, struct span *fresh) {
    *fresh = (struct span){NULL, 0};
    if (s->error) return IO_FAIL;
    if (s->eof) return IO_EOF;
    struct loop *l = s->stream.loop;
    /* Much goes straight to where it is collected. */
    bool direct = !l || missing >= LOOP_LANDING;
    size_t room = LOOP_LANDING, n = 0;
    char *to;
    if (direct) {
        room = missing < LOADING ? LOADING : missing > FILL_MAX ? FILL_MAX : missing;
        to = buf_reserve(&s->in, room);
        room = buf_room(&s->in);
    } else {
        to = loop_landing(l);
    }
    if (!to) return read_error(s, ENOMEM);
    enum io io = stream_read(&s->stream, to, room, &n);
    s->eager = io == IO_OK && n == room;
    if (direct && io == IO_OK) buf_commit(&s->in, n);
    if (direct && buf_len(&s->in) == 0) buf_reset(&s->in);
    if (!direct && io == IO_OK) *fresh = span_of(to, n);
    if (io == IO_EOF) s->eof = true;
    if (io == IO_FAIL) read_error(s, errno);
    if (s->eof || s->error) stream_want_read(&s->stream, false);
    return io;
}

bool sock_keep(struct sock *s, struct span fresh) {
    if (buf_append(&s->in, fresh.at, fresh.len) == 0) return true;
    s->error = ERR_MEMORY;
    return false;
}

void sock_consume(struct sock *s, size_t n) {
    buf_consume(&s->in, n);
    if (buf_len(&s->in)) return;
    buf_reset(&s->in);
    budget_lower_to(&s->share, held(s));
}

enum io sock_flush(struct sock *s) {
    list_unlink(&s->flush.link);
    enum io io = stream_flush(&s->stream);
    if (io != IO_AGAIN && settled(s) == IO_AGAIN) io = IO_AGAIN;
    return io;
}

static bool gather(struct sock *s, const struct iovec *pieces, int count,
                   size_t total) {
    char *to = stream_reserve(&s->stream, total);
    if (!to) return false;
    for (int i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
    stream_commit(&s->stream, total);
    return true;
}

enum io sock_write(struct sock *s, const struct iovec *pieces, int count,
                   size_t total) {
    struct loop *l = s->stream.loop;
    if (s->stream.broken) return IO_FAIL;
    bool waits = s->stream.io.events & EV_WRITE; /* for the socket to take more */
    if (l && !waits && stream_unsent(&s->stream) + total <= SOCK_TOGETHER &&
        gather(s, pieces, count, total)) {
        owe(s);
        loop_defer_last(l, &s->flush);
        return IO_AGAIN;
    }
    enum io io = stream_write(&s->stream, pieces, count);
    if (io == IO_AGAIN)
        owe(s);
    else
        list_unlink(&s->debt.link);
    list_unlink(&s->flush.link);
    return io;
}

void sock_half_close(struct sock *s) {
    s->half = true;
    sock_flush(s);
}

void sock_attach(struct sock *s, struct loop *l) {
    if (s->stream.loop) return;
    stream_attach(&s->stream, l);
    if (stream_unsent(&s->stream) || s->stream.owes) owe(s);
}

bool sock_is_awaited(const struct sock *s) {
    for (const struct link *l = s->writers.next; l != &s->writers; l = l->next)
        if (waiter_is_set(&LIST_OF(l, struct sock_wait, link)->waiter)) return true;
    return false;
}

void sock_leave(struct sock *s) {
    MAGIC_CHECK(s, MAGIC);
    CHECK(!waiter_is_set(&s->reader) && !sock_is_awaited(s));
    while (list_first(&s->writers)) list_unlink(list_first(&s->writers));
    if (sock_is_to_flush(s)) sock_flush(s);
    list_unlink(&s->debt.link);
    stream_want_read(&s->stream, false);
    stream_detach(&s->stream);
    budget_lower_to(&s->share, 0);
    *s->handle = NULL;
    s->handle = NULL;
}

void sock_drop(struct sock *s) {
    MAGIC_CHECK(s, MAGIC);
    sock_flush(s);
    bury(s);
}
