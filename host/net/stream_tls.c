#include "net/stream_tls.h"

#include "base/check.h"
#include "net/openssl.h"
#include "net/parting.h"

#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { MAGIC = 0x746c7373, RECORD = 16 * 1024 };

struct tls {
    uint32_t magic;
    SSL *ssl;
    struct tls_ctx *ctx;
    struct stream *stream;
    int fd;               /* that OpenSSL knows */
    struct deferred tell; /* that there is something to read */
    bool made;  /* the handshake; OpenSSL does not know any more once it has failed */
    bool heard; /* something has come since then */
    bool parts; /* the peer may still send, and lose what it has not read */
    int failed; /* errno; OpenSSL must not be asked any more */
    char why[TLS_WHY];
    char name[];
};

static const struct stream_ops ops;

static struct tls *tls_of(const struct stream *s) {
    struct tls *t = s->io.data;
    MAGIC_CHECK(t, MAGIC);
    return t;
}

static enum io gone(int error) {
    openssl.ERR_clear_error();
    errno = error;
    return IO_FAIL;
}

static enum io fail(struct tls *t, int error) {
    t->failed = error;
    return gone(error);
}

static enum io cut_off(struct tls *t) {
    snprintf(t->why, sizeof t->why, "%s",
             t->made ? "the connection was cut off: TLS has not been ended"
                     : "the peer has ended the connection during the handshake");
    return fail(t, -(t->made ? ERR_TRUNCATED : ERR_TLS));
}

/* What a call of OpenSSL has come to that did not succeed. */
static enum io outcome(struct stream *s, int result, bool writing) {
    struct tls *t = tls_of(s);
    int error = errno, reason = openssl.SSL_get_error(t->ssl, result);
    switch (reason) {
    case SSL_ERROR_WANT_READ: stream_cross(s, writing, writing); return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE: stream_cross(s, writing, !writing); return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return IO_EOF;
    case SSL_ERROR_SYSCALL:
        if (!error) return cut_off(t);
        /* Why it takes no more the peer may have said: that can still be read. */
        if (writing && t->made) return gone(error);
        return fail(t, error);
    default: break;
    }
    unsigned long code = openssl.ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return cut_off(t);
    tls_explain(t->ssl, t->why);
    return fail(t, -ERR_TLS);
}

/* Each call of OpenSSL goes between these two. */
static void before(void) {
    openssl.ERR_clear_error();
    errno = 0;
}

static void tell(struct deferred *d) {
    struct stream *s = LIST_OF(d, struct tls, tell)->stream;
    if (s->reading) s->user->readable(s);
}

static void retell(struct stream *s) {
    struct tls *t = tls_of(s);
    if (s->loop) {
        loop_defer(s->loop, &t->tell);
        return;
    }
    list_unlink(&t->tell.link);
    if (t->fd == s->io.fd) return;
    t->fd = s->io.fd;
    if (!openssl.SSL_set_fd(t->ssl, t->fd)) t->failed = ENOMEM;
    openssl.ERR_clear_error();
}

/* The handshake has been completed by that call. What it has read behind it the
 * descriptor will not tell of; a write that had to wait for it can go on when a read
 * has completed it, and whoever waits for it in order to read when a write has. */
static void note_made(struct stream *s) {
    struct tls *t = tls_of(s);
    if (t->made || !openssl.SSL_is_init_finished(t->ssl)) return;
    t->made = true;
    if (openssl.SSL_has_pending(t->ssl)) s->ahead = true;
    stream_cross(s, true, false);
    retell(s);
}

/* What it waits for, in that direction, is over. */
static void after(struct stream *s, bool writing) {
    stream_cross(s, writing, false);
    note_made(s);
}

static enum io tls_read(struct stream *s, char *to, size_t room, size_t *n) {
    struct tls *t = tls_of(s);
    enum io io = IO_OK;
    *n = 0;
    s->ahead = false;
    if (t->failed) return fail(t, t->failed);
    while (*n < room && io == IO_OK) {
        size_t left = room - *n;
        before();
        int got =
            openssl.SSL_read(t->ssl, to + *n, left < INT_MAX ? (int)left : INT_MAX);
        if (got > 0)
            *n += (size_t)got;
        else
            io = outcome(s, got, false);
    }
    if (io != IO_AGAIN)
        after(s, false);
    else
        note_made(s);
    if (*n == 0) return io;
    t->heard = true;
    s->ahead = io != IO_AGAIN; /* no event will tell */
    if (s->ahead) retell(s);
    return IO_OK;
}

/* A record's worth of small pieces, or a large one as it is. */
static const char *next_piece(const struct iovec *pieces, int count, size_t skip,
                              char *gathered, size_t *len) {
    const char *at = (const char *)pieces[0].iov_base + skip;
    size_t n = pieces[0].iov_len - skip, filled = 0;
    if (n >= RECORD || count == 1) {
        *len = n;
        return at;
    }
    for (int i = 0; i < count && filled < RECORD; i++) {
        const char *from = i ? pieces[i].iov_base : at;
        n = i ? pieces[i].iov_len : n;
        if (n > RECORD - filled) n = RECORD - filled;
        memcpy(gathered + filled, from, n);
        filled += n;
    }
    *len = filled;
    return gathered;
}

static enum io tls_writev(struct stream *s, const struct iovec *pieces, int count,
                          size_t *n) {
    struct tls *t = tls_of(s);
    char gathered[RECORD];
    size_t skip = 0, len; /* of the first piece */
    *n = 0;
    if (t->failed) return fail(t, t->failed);
    for (;;) {
        while (count && skip >= pieces->iov_len) {
            skip -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (!count) break;
        const char *from = next_piece(pieces, count, skip, gathered, &len);
        before();
        int sent = openssl.SSL_write(t->ssl, from, len < INT_MAX ? (int)len : INT_MAX);
        if (sent <= 0) {
            enum io io = outcome(s, sent, true);
            if (io == IO_EOF) io = cut_off(t);
            if (io == IO_AGAIN) note_made(s);
            return *n ? IO_OK : io; /* the next call tells */
        }
        *n += (size_t)sent;
        skip += (size_t)sent;
    }
    after(s, true);
    return IO_OK;
}

/* A client that has heard nothing may not yet have been sent its tickets. */
static bool parts(const struct tls *t) {
    int unacknowledged = 0;
    if (tls_ctx_is_server(t->ctx)) return false;
    ioctl(t->stream->io.fd, SIOCOUTQ, &unacknowledged);
    return !t->heard || unacknowledged > 0;
}

static enum io tls_shutdown(struct stream *s) {
    struct tls *t = tls_of(s);
    if (!t->failed && openssl.SSL_is_init_finished(t->ssl)) {
        t->parts = t->parts || parts(t);
        before();
        int result = openssl.SSL_shutdown(t->ssl);
        int error = result < 0 ? openssl.SSL_get_error(t->ssl, result) : SSL_ERROR_NONE;
        if (error == SSL_ERROR_WANT_WRITE) return IO_AGAIN;
        openssl.ERR_clear_error();
    }
    shutdown(s->io.fd, SHUT_WR);
    return IO_OK;
}

static void tls_close(struct stream *s) {
    struct tls *t = tls_of(s);
    bool ended = openssl.SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN;
    bool waits = t->parts && !t->failed && !ended && !s->broken && s->loop;
    s->io.data = NULL;
    list_unlink(&t->tell.link);
    openssl.SSL_free(t->ssl);
    tls_ctx_unref(t->ctx);
    t->magic = 0;
    free(t);
    if (waits)
        parting_start(s->loop, s->io.fd);
    else
        stream_plain.close(s);
}

static void moved(struct stream *s) {
    tls_of(s)->stream = s;
}

static const struct stream_ops ops = {.read = tls_read,
                                      .writev = tls_writev,
                                      .shutdown = tls_shutdown,
                                      .close = tls_close,
                                      .farewell = true,
                                      .retell = retell,
                                      .moved = moved};

int stream_tls_start(struct stream *s, struct tls_ctx *c, const char *name) {
    CHECK(s->ops == &stream_plain && stream_unsent(s) == 0);
    size_t size = name ? strlen(name) + 1 : 1;
    struct tls *t = calloc(1, sizeof *t + size);
    if (!t) return -ENOMEM;
    t->magic = MAGIC;
    t->stream = s;
    t->fd = s->io.fd;
    t->tell.run = tell;
    list_init(&t->tell.link);
    memcpy(t->name, name ? name : "", size);
    t->ssl = tls_ctx_open(c, name);
    if (!t->ssl || !openssl.SSL_set_fd(t->ssl, s->io.fd)) {
        openssl.SSL_free(t->ssl);
        free(t);
        openssl.ERR_clear_error();
        return -ENOMEM;
    }
    openssl.SSL_set_ex_data(t->ssl, 0, name ? t->name : NULL);
    t->ctx = tls_ctx_ref(c);
    s->io.data = t;
    s->ops = &ops;
    return 0;
}

bool stream_is_tls(const struct stream *s) {
    return s->ops == &ops;
}

bool stream_tls_is_made(const struct stream *s) {
    return stream_is_tls(s) && tls_of(s)->made && !tls_of(s)->failed;
}

enum io stream_tls_handshake(struct stream *s) {
    struct tls *t = tls_of(s);
    if (s->unwatched && !t->failed) return fail(t, ENOMEM);
    if (t->failed) return fail(t, t->failed);
    before();
    int result = openssl.SSL_do_handshake(t->ssl);
    enum io io = result == 1 ? IO_OK : outcome(s, result, false);
    if (io == IO_EOF) io = cut_off(t);
    if (io != IO_AGAIN) after(s, false);
    return io;
}

const char *stream_tls_why(const struct stream *s) {
    const struct tls *t = tls_of(s);
    return t->why[0] ? t->why : err_text(-t->failed);
}

struct tls_facts stream_tls_facts(const struct stream *s) {
    const SSL *ssl = tls_of(s)->ssl;
    struct tls_facts facts = {
        .version = openssl.SSL_get_version(ssl),
        .cipher = openssl.SSL_CIPHER_get_name(openssl.SSL_get_current_cipher(ssl)),
        .name = openssl.SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name),
        .resumed = openssl.SSL_session_reused(ssl)};
    const unsigned char *alpn;
    unsigned len;
    openssl.SSL_get0_alpn_selected(ssl, &alpn, &len);
    facts.alpn = (const char *)alpn;
    facts.alpn_len = len;
    return facts;
}
