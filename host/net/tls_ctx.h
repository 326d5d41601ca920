/* What TLS connections have in common: whom to trust, what to show, what to speak. TLS
 * 1.2 and 1.3 only, without renegotiation and compression, as OpenSSL's security level
 * allows. A client trusts the system's authorities (or those in SSL_CERT_FILE and
 * SSL_CERT_DIR) unless it is told whom, and remembers a session for each name, so that
 * the next handshake is short.
 *
 * Counted, since connections outlive whoever made them. Making one reads files: they
 * are not read again. Any thread. */
#ifndef NET_TLS_CTX_H
#define NET_TLS_CTX_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TLS_WHY = 256, /* room for a sentence */
    TLS_NAME = 256,
    TLS_ALPN = 128,
};

struct tls_options {
    bool server;
    bool verify;      /* a client: the server and its name; a server: clients, by ca */
    const char *ca;   /* a file or directory in place of the system's; NULL */
    const char *cert; /* the chain to show, a PEM file, and its key; NULL for none */
    const char *key;  /* NULL: in the file of cert */
    /* The protocols to speak, best first, each with a byte before it that is its length
       (RFC 7301, 3.1). */
    unsigned char alpn[TLS_ALPN];
    size_t alpn_len;
};

struct tls_ctx;

/* NULL with a sentence in why. */
struct tls_ctx *tls_ctx_new(const struct tls_options *o, char why[TLS_WHY]);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_unref(struct tls_ctx *c); /* NULL does no harm */

bool tls_ctx_is_server(const struct tls_ctx *c);

/* Used by stream_tls: a struct ssl_st of its own to be freed with SSL_free, for that
 * name, which a client verifies and tells the server (unless it is an address); NULL
 * for none. NULL without memory. */
struct ssl_st *tls_ctx_open(struct tls_ctx *c, const char *name);

/* Puts what OpenSSL has to say about a failure into why. */
void tls_explain(struct ssl_st *ssl, char why[TLS_WHY]);

#endif
