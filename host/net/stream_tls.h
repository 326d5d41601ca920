/* TLS as the transport of a stream, over the same descriptor. A stream turns into TLS
 * once, and stays that until its end; the handshake is made by stream_tls_handshake,
 * step by step, or by itself with the first read or write. Where OpenSSL has to write
 * in order to read, or the other way round, the stream waits for that event instead.
 *
 * What fails leaves the sentence in stream_tls_why, and errno -ERR_TLS. That the peer
 * has ended the connection without ending TLS (RFC 8446, 6.1), so that an attacker may
 * have cut it off, is an error, -ERR_TRUNCATED, where the end that it has announced is
 * an end. The loop's thread. */
#ifndef NET_STREAM_TLS_H
#define NET_STREAM_TLS_H

#include "net/stream.h"
#include "net/tls_ctx.h"

/* Plain s, with nothing queued, is TLS from here on. A client's name is the host that
 * it wants to reach, or NULL. 0 or -ENOMEM, s as it was. */
int stream_tls_start(struct stream *s, struct tls_ctx *c, const char *name);

bool stream_is_tls(const struct stream *s);

/* Whether the handshake has succeeded. */
bool stream_tls_is_made(const struct stream *s);

/* IO_OK it is made; IO_AGAIN it goes on when s is readable; IO_FAIL with errno. */
enum io stream_tls_handshake(struct stream *s);

/* The sentence that belongs to the error; never NULL. */
const char *stream_tls_why(const struct stream *s);

/* What the handshake came to; texts borrowed until the stream ends, NULL where there is
 * none. */
struct tls_facts {
    const char *version, *cipher;
    const char *name; /* that the client has asked for (SNI) */
    const char *alpn; /* not terminated */
    size_t alpn_len;
    bool resumed;
};

struct tls_facts stream_tls_facts(const struct stream *s);

#endif
