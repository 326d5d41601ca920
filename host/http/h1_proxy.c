#include "codec/proxy_protocol.h"
#include "http/admission.h"
#include "http/h1.h"
#include "net/stream_tls.h"

#include <sys/socket.h>

/* The beginning of a connection that a proxy has made: its PROXY header. What of one
 * has come waits in the connection's input; nothing is answered before it is whole. */

static void refuse(struct h1 *c, const char *why) {
    admission_refuse(c->front, &c->client, why);
    h1_cut(c);
}

void h1_proxy_late(struct h1 *c) {
    if (c->front->draining)
        h1_cut(c);
    else
        refuse(c, "it does not come in time");
}

static struct client_address source_of(const struct proxy_header *h) {
    static const uint8_t families[] = {[PROXY_NOBODY] = AF_UNSPEC,
                                       [PROXY_IPV4] = AF_INET,
                                       [PROXY_IPV6] = AF_INET6,
                                       [PROXY_UNIX] = AF_UNIX};
    struct client_address a = {.family = families[h->family],
                               .named = true,
                               .secure = h->secure,
                               .port = h->source_port};
    memcpy(a.bytes, h->source, sizeof a.bytes);
    return a;
}

/* False when the client has enough connections. What has no client but the proxy is not
 * counted; where it is not for the proxy itself, its requests are a stranger's. */
static bool meet(struct h1 *c, const struct proxy_header *h) {
    c->phase = H1_IDLE;
    c->since = c->front->loop->now;
    c->stream.user = &h1_user;
    c->client.masked = h->family == PROXY_NOBODY && !h->local;
    if (h->family == PROXY_NOBODY) return true;
    c->client = source_of(h);
    return admission_count(c->front, &c->client, &c->stream.guest);
}

static void turn_away(struct h1 *c) {
    const struct span sorry = SPAN(FRONT_FAREWELL);
    char *to = c->front->tls ? NULL : stream_reserve(&c->stream, sorry.len);
    if (!to) {
        h1_cut(c);
        return;
    }
    memcpy(to, sorry.at, sorry.len);
    stream_commit(&c->stream, sorry.len);
    c->closing = c->deaf = true;
    h1_run(c);
}

/* The header was whole; behind it have come n bytes, unless they are OpenSSL's. */
static void begin(struct h1 *c, const struct proxy_header *h, const char *rest,
                  size_t n) {
    bool welcome = meet(c, h);
    buf_reset(&c->in);
    if (!welcome) {
        turn_away(c);
    } else if (!c->front->tls) {
        h1_feed(c, rest, n);
    } else if (stream_tls_start(&c->stream, c->front->tls, NULL) != 0) {
        h1_cut(c);
    } else {
        h1_user.readable(&c->stream);
    }
}

/* Goes on with n more bytes; how many of them belong to the header, and whether this is
 * known, *whole, or wrong, *why. */
static size_t examine(struct h1 *c, const char *fresh, size_t n, struct proxy_header *h,
                      bool *whole, const char **why) {
    size_t before = buf_len(&c->in), used;
    struct span all = span_of(fresh, n);
    enum proxy_result result = PROXY_MORE;
    if (before) {
        /* Not all that has come, but surely all of a header. */
        size_t most = n < PROXY_HEADER_MAX ? n : PROXY_HEADER_MAX;
        if (buf_append(&c->in, fresh, most) != 0) goto no_memory;
        all = buf_span(&c->in);
    }
    result = proxy_read(all.at, all.len, h, &used, why);
    *whole = result == PROXY_DONE;
    if (result == PROXY_BAD) return 0;
    *why = NULL;
    if (*whole) return used - before;
    if (before || buf_append(&c->in, fresh, n) == 0) return n;
no_memory:
    *why = "there is no memory to read it";
    return 0;
}

/* n bytes, which are there. */
static bool take(int fd, char *to, size_t n) {
    while (n > 0) {
        ssize_t got = recv(fd, to, n, 0);
        if (got > 0)
            n -= (size_t)got;
        else if (got == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static void readable(struct stream *s) {
    struct h1 *c = LIST_OF(s, struct h1, stream);
    struct loop *l = s->loop;
    /* Behind the header OpenSSL reads from the descriptor itself. */
    bool peek = c->front->tls;
    ssize_t got = recv(stream_fd(s), l->scratch, peek ? PROXY_HEADER_MAX : LOOP_SCRATCH,
                       peek ? MSG_PEEK : 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        h1_run(c);
        return;
    }
    if (got < 0 && errno == ENOMEM) front_starved(c->front);
    if (got <= 0) { /* who only looks whether somebody is here says nothing */
        if (buf_len(&c->in))
            refuse(c, "it is cut short");
        else
            h1_cut(c);
        return;
    }
    struct proxy_header h;
    bool whole = false;
    const char *why;
    size_t n = (size_t)got, used = examine(c, l->scratch, n, &h, &whole, &why);
    if (why) {
        refuse(c, why);
        return;
    }
    /* They are there: it takes them. */
    if (peek && !take(stream_fd(s), l->scratch, used))
        h1_cut(c);
    else if (whole)
        begin(c, &h, l->scratch + used, n - used);
    else
        h1_run(c);
}

static void nothing(struct stream *s) {
    (void)s;
}

const struct stream_user h1_proxy_user = {readable, nothing};
