#include "net/tls_ctx.h"

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "net/addr.h"
#include "net/openssl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAGIC = 0x746c7363, SESSIONS_MAX = 64 };

struct session {
    struct link link; /* the longest unused first */
    SSL_SESSION *session;
    char name[];
};

struct tls_ctx {
    uint32_t magic;
    atomic_uint references;
    SSL_CTX *ssl;
    bool server, verify;
    unsigned char alpn[TLS_ALPN];
    size_t alpn_len;
    pthread_mutex_t lock; /* of the sessions */
    struct link sessions;
    unsigned session_count;
};

/* ---- what went wrong ---- */

void tls_explain(SSL *ssl, char why[TLS_WHY]) {
    bool verifies = ssl && openssl.SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
    long verified = verifies ? openssl.SSL_get_verify_result(ssl) : X509_V_OK;
    unsigned long code = openssl.ERR_peek_last_error();
    const char *reason = code ? openssl.ERR_reason_error_string(code) : NULL;
    if (verified != X509_V_OK)
        snprintf(why, TLS_WHY, "certificate verify failed: %s",
                 openssl.X509_verify_cert_error_string(verified));
    else if (reason)
        snprintf(why, TLS_WHY, "%s", reason);
    else if (code && ERR_SYSTEM_ERROR(code))
        snprintf(why, TLS_WHY, "%s", strerror(ERR_GET_REASON(code)));
    else
        snprintf(why, TLS_WHY, "TLS failed");
    openssl.ERR_clear_error();
}

static int refuse_file(char why[TLS_WHY], const char *what, const char *path) {
    char reason[TLS_WHY];
    /* The first error is nearest to the cause: no such file, bad base64. */
    unsigned long code = openssl.ERR_peek_error();
    if (code && ERR_SYSTEM_ERROR(code))
        snprintf(reason, sizeof reason, "%s", strerror(ERR_GET_REASON(code)));
    else
        tls_explain(NULL, reason);
    openssl.ERR_clear_error();
    snprintf(why, TLS_WHY, "%s '%.120s': %.100s", what, path, reason);
    return -1;
}

/* ---- whom to trust ---- */

/* The system's authorities, read once for all contexts; again when they have changed.
 */
static struct {
    pthread_mutex_t lock;
    X509_STORE *store;
    struct timespec changed;
} trusted = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct timespec bundle_changed(void) {
    struct stat st;
    const char *path = getenv(openssl.X509_get_default_cert_file_env());
    if (!path) path = openssl.X509_get_default_cert_file();
    return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static bool trust_system(SSL_CTX *ssl) {
    struct timespec now = bundle_changed();
    pthread_mutex_lock(&trusted.lock);
    bool fresh = trusted.store && now.tv_sec == trusted.changed.tv_sec &&
                 now.tv_nsec == trusted.changed.tv_nsec;
    if (!fresh) {
        openssl.X509_STORE_free(trusted.store);
        trusted.store = openssl.X509_STORE_new();
        trusted.changed = now;
        if (trusted.store) openssl.X509_STORE_set_default_paths(trusted.store);
        openssl.ERR_clear_error(); /* having none is told by the first handshake */
    }
    bool good = trusted.store != NULL;
    if (good) openssl.SSL_CTX_set1_cert_store(ssl, trusted.store);
    pthread_mutex_unlock(&trusted.lock);
    return good;
}

static int trust(SSL_CTX *ssl, const struct tls_options *o, char why[TLS_WHY]) {
    struct stat st;
    if (!o->ca) {
        if (!o->verify || trust_system(ssl)) return 0;
        snprintf(why, TLS_WHY, "not enough memory");
        return -1;
    }
    bool is_dir = stat(o->ca, &st) == 0 && S_ISDIR(st.st_mode);
    int good = is_dir ? openssl.SSL_CTX_load_verify_dir(ssl, o->ca)
                      : openssl.SSL_CTX_load_verify_file(ssl, o->ca);
    if (!good) return refuse_file(why, "ca", o->ca);
    if (!o->server || is_dir) return 0;
    STACK_OF(X509_NAME) *names = openssl.SSL_load_client_CA_file(o->ca);
    if (!names) return refuse_file(why, "ca", o->ca);
    openssl.SSL_CTX_set_client_CA_list(ssl, names);
    return 0;
}

/* ---- what to show ---- */

/* A key with a password: nobody is here to be asked. */
static int no_password(char *out, int size, int writing, void *data) {
    (void)out, (void)size, (void)writing, (void)data;
    return 0;
}

static int show(SSL_CTX *ssl, const struct tls_options *o, char why[TLS_WHY]) {
    const char *key = o->key ? o->key : o->cert;
    if (!o->cert) return 0;
    openssl.SSL_CTX_set_default_passwd_cb(ssl, no_password);
    if (openssl.SSL_CTX_use_certificate_chain_file(ssl, o->cert) != 1)
        return refuse_file(why, "cert", o->cert);
    if (openssl.SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return refuse_file(why, "key", key);
    return 0;
}

/* ---- what to speak ---- */

static int choose(SSL *ssl, const unsigned char **out, unsigned char *len,
                  const unsigned char *offered, unsigned offered_len, void *data) {
    (void)ssl;
    const struct tls_ctx *c = data;
    unsigned char *found;
    int how = openssl.SSL_select_next_proto(&found, len, c->alpn, (unsigned)c->alpn_len,
                                            offered, offered_len);
    *out = found;
    return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                         : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool speak(struct tls_ctx *c) {
    if (c->alpn_len == 0) return true;
    if (c->server) {
        openssl.SSL_CTX_set_alpn_select_cb(c->ssl, choose, c);
        return true;
    }
    return openssl.SSL_CTX_set_alpn_protos(c->ssl, c->alpn, (unsigned)c->alpn_len) == 0;
}

/* ---- sessions of a client ---- */

static void drop_session(struct tls_ctx *c, struct session *s) {
    list_unlink(&s->link);
    c->session_count--;
    openssl.SSL_SESSION_free(s->session);
    free(s);
}

static struct session *find_session(struct tls_ctx *c, const char *name) {
    for (struct link *l = c->sessions.next; l != &c->sessions; l = l->next)
        if (strcasecmp(LIST_OF(l, struct session, link)->name, name) == 0)
            return LIST_OF(l, struct session, link);
    return NULL;
}

/* A ticket has come. 1 when the reference is kept. */
static int remember(SSL *ssl, SSL_SESSION *session) {
    struct tls_ctx *c = openssl.SSL_CTX_get_ex_data(openssl.SSL_get_SSL_CTX(ssl), 0);
    const char *name = openssl.SSL_get_ex_data(ssl, 0);
    if (!name) return 0;
    size_t size = strlen(name) + 1;
    struct session *s = malloc(sizeof *s + size);
    if (!s) return 0;
    memcpy(s->name, name, size);
    s->session = session;
    pthread_mutex_lock(&c->lock);
    struct session *before = find_session(c, name);
    if (before) drop_session(c, before);
    list_append(&c->sessions, &s->link);
    if (++c->session_count > SESSIONS_MAX)
        drop_session(c, LIST_OF(list_first(&c->sessions), struct session, link));
    pthread_mutex_unlock(&c->lock);
    return 1;
}

/* Each is used once (RFC 8446, C.4); the server gives new ones. */
static void resume(struct tls_ctx *c, SSL *ssl, const char *name) {
    pthread_mutex_lock(&c->lock);
    struct session *s = find_session(c, name);
    if (s) {
        if (openssl.SSL_SESSION_is_resumable(s->session))
            openssl.SSL_set_session(ssl, s->session);
        drop_session(c, s);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- contexts ---- */

static void set(SSL_CTX *ssl, int what, long value) {
    openssl.SSL_CTX_ctrl(ssl, what, value, NULL);
}

static void set_modes(struct tls_ctx *c) {
    static const unsigned char id[] = "atoll";
    SSL_CTX *ssl = c->ssl;
    openssl.SSL_CTX_set_ex_data(ssl, 0, c);
    set(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION);
    openssl.SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    set(ssl, SSL_CTRL_MODE,
        SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
            SSL_MODE_RELEASE_BUFFERS);
    set(ssl, SSL_CTRL_SET_READ_AHEAD, 1);
    int verify =
        c->verify ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE;
    openssl.SSL_CTX_set_verify(ssl, verify, NULL);
    if (c->server) {
        openssl.SSL_CTX_set_session_id_context(ssl, id, sizeof id - 1);
        set(ssl, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF); /* tickets remain */
    } else {
        set(ssl, SSL_CTRL_SET_SESS_CACHE_MODE,
            SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        openssl.SSL_CTX_sess_set_new_cb(ssl, remember);
    }
}

struct tls_ctx *tls_ctx_new(const struct tls_options *o, char why[TLS_WHY]) {
    const char *missing = openssl_load();
    if (missing) {
        snprintf(why, TLS_WHY, "%s", missing);
        return NULL;
    }
    struct tls_ctx *c = calloc(1, sizeof *c);
    openssl.ERR_clear_error();
    if (c)
        c->ssl = openssl.SSL_CTX_new(o->server ? openssl.TLS_server_method()
                                               : openssl.TLS_client_method());
    if (!c || !c->ssl) {
        bool made = c;
        free(c);
        if (made)
            tls_explain(NULL, why);
        else
            snprintf(why, TLS_WHY, "%s", err_text(-ENOMEM));
        return NULL;
    }
    c->magic = MAGIC;
    atomic_init(&c->references, 1);
    c->server = o->server;
    c->verify = o->verify;
    c->alpn_len = o->alpn_len;
    memcpy(c->alpn, o->alpn, o->alpn_len);
    pthread_mutex_init(&c->lock, NULL);
    list_init(&c->sessions);
    set_modes(c);
    int err = trust(c->ssl, o, why);
    if (!err) err = show(c->ssl, o, why);
    if (!err && !speak(c)) {
        snprintf(why, TLS_WHY, "not enough memory");
        err = -1;
    }
    if (!err) return c;
    tls_ctx_unref(c);
    return NULL;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c) {
    MAGIC_CHECK(c, MAGIC);
    atomic_fetch_add(&c->references, 1);
    return c;
}

void tls_ctx_unref(struct tls_ctx *c) {
    struct link *first;
    if (!c || atomic_fetch_sub(&c->references, 1) != 1) return;
    MAGIC_CHECK(c, MAGIC);
    while ((first = list_first(&c->sessions)))
        drop_session(c, LIST_OF(first, struct session, link));
    openssl.SSL_CTX_free(c->ssl);
    pthread_mutex_destroy(&c->lock);
    c->magic = 0;
    free(c);
}

bool tls_ctx_is_server(const struct tls_ctx *c) {
    return c->server;
}

/* Whom a client wants to reach. Certificates know neither the root's dot at the end of
 * a name nor the zone of an address. */
static bool set_peer(struct tls_ctx *c, SSL *ssl, const char *given) {
    struct addr ignored;
    char name[TLS_NAME];
    bool literal = addr_literal(given, 0, &ignored);
    size_t len = literal ? strcspn(given, "%") : strlen(given);
    X509_VERIFY_PARAM *param = openssl.SSL_get0_param(ssl);
    if (len >= sizeof name) return false;
    if (len > 1 && !literal && given[len - 1] == '.') len--;
    memcpy(name, given, len);
    name[len] = '\0';
    if (!literal && !openssl.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                                      TLSEXT_NAMETYPE_host_name, name))
        return false;
    if (!c->verify) return true;
    openssl.X509_VERIFY_PARAM_set_hostflags(param,
                                            X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return literal ? openssl.X509_VERIFY_PARAM_set1_ip_asc(param, name)
                   : openssl.X509_VERIFY_PARAM_set1_host(param, name, 0);
}

SSL *tls_ctx_open(struct tls_ctx *c, const char *name) {
    MAGIC_CHECK(c, MAGIC);
    SSL *ssl = openssl.SSL_new(c->ssl);
    if (!ssl) return NULL;
    if (c->server) {
        openssl.SSL_set_accept_state(ssl);
        return ssl;
    }
    openssl.SSL_set_connect_state(ssl);
    if (name && !set_peer(c, ssl, name)) {
        openssl.SSL_free(ssl);
        return NULL;
    }
    if (name) resume(c, ssl, name);
    return ssl;
}
