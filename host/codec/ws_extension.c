#include "codec/ws_extension.h"

#include "base/err.h"
#include "codec/http1_write.h"

#include <stdio.h>

/* One extension of a list: token *( ";" token [ "=" ( token / quoted-string ) ] ). */
struct offer {
    bool ours;  /* permessage-deflate */
    bool valid; /* with parameters that have a meaning, none of them twice */
    bool server_no_takeover, client_no_takeover;
    bool has_server_bits, has_client_bits;
    uint8_t server_bits, client_bits; /* 0: without a value */
};

static void skip_space(struct span *rest) {
    while (rest->len && (*rest->at == ' ' || *rest->at == '\t'))
        *rest = span_of(rest->at + 1, rest->len - 1);
}

static bool take(struct span *rest, char c) {
    skip_space(rest);
    if (!rest->len || *rest->at != c) return false;
    *rest = span_of(rest->at + 1, rest->len - 1);
    return true;
}

static bool take_token(struct span *rest, struct span *token) {
    size_t n = 0;
    skip_space(rest);
    while (n < rest->len && http1_is_token(span_of(rest->at + n, 1))) n++;
    *token = span_of(rest->at, n);
    *rest = span_of(rest->at + n, rest->len - n);
    return n > 0;
}

/* What stands between the quotes must be a token once the backslashes are undone
 * (RFC 6455 9.1). No value that means something is longer than `room`; of a longer one
 * only the beginning is kept, and its true length. */
static bool take_quoted(struct span *rest, char *room, size_t size,
                        struct span *value) {
    size_t n = 0, i = 0;
    for (; i < rest->len && rest->at[i] != '"'; i++) {
        if (rest->at[i] == '\\' && ++i == rest->len) return false;
        if (!http1_is_token(span_of(rest->at + i, 1))) return false;
        if (n < size) room[n] = rest->at[i];
        n++;
    }
    if (i == rest->len || n == 0) return false;
    *rest = span_of(rest->at + i + 1, rest->len - i - 1);
    *value = span_of(room, n);
    return true;
}

/* 8 to 15 without a leading zero, else 0. */
static uint8_t bits_of(struct span value) {
    if (value.len == 1 && (*value.at == '8' || *value.at == '9'))
        return (uint8_t)(*value.at - '0');
    if (value.len == 2 && value.at[0] == '1' && value.at[1] >= '0' &&
        value.at[1] <= '5')
        return (uint8_t)(10 + value.at[1] - '0');
    return 0;
}

static bool set_flag(bool *flag, bool has_value) {
    bool good = !*flag && !has_value;
    *flag = true;
    return good;
}

static bool set_bits(bool *has, uint8_t *bits, const struct span *value,
                     bool may_lack) {
    bool first = !*has;
    *has = true;
    *bits = value ? bits_of(*value) : 0;
    return first && (value ? *bits != 0 : may_lack);
}

static bool parameter(struct offer *o, struct span name, const struct span *value) {
    if (span_eq(name, SPAN("server_no_context_takeover")))
        return set_flag(&o->server_no_takeover, value);
    if (span_eq(name, SPAN("client_no_context_takeover")))
        return set_flag(&o->client_no_takeover, value);
    if (span_eq(name, SPAN("server_max_window_bits")))
        return set_bits(&o->has_server_bits, &o->server_bits, value, false);
    if (span_eq(name, SPAN("client_max_window_bits")))
        return set_bits(&o->has_client_bits, &o->client_bits, value, true);
    return false;
}

/* 1 and the next extension, 0 at the end, ERR_SYNTAX. */
static int next(struct span *rest, struct offer *o) {
    struct span name, value;
    char room[16];
    *o = (struct offer){.valid = true};
    while (take(rest, ',')) {
    } /* empty elements, RFC 9110 5.6.1.2 */
    skip_space(rest);
    if (!rest->len) return 0;
    if (!take_token(rest, &name)) return ERR_SYNTAX;
    o->ours = span_eq(name, SPAN("permessage-deflate"));
    while (take(rest, ';')) {
        bool has_value;
        if (!take_token(rest, &name)) return ERR_SYNTAX;
        has_value = take(rest, '=');
        if (has_value) {
            bool good = take(rest, '"') ? take_quoted(rest, room, sizeof room, &value)
                                        : take_token(rest, &value);
            if (!good) return ERR_SYNTAX;
        }
        if (o->ours && !parameter(o, name, has_value ? &value : NULL)) o->valid = false;
    }
    skip_space(rest);
    return !rest->len || *rest->at == ',' ? 1 : ERR_SYNTAX;
}

static uint8_t least(uint8_t a, uint8_t b) {
    return a < b ? a : b;
}

struct text {
    char *at;
    size_t len;
};

static void add(struct text *t, const char *words) {
    size_t n = strlen(words);
    memcpy(t->at + t->len, words, n);
    t->len += n;
}

static void add_bits(struct text *t, const char *name, unsigned bits) {
    char words[40];
    snprintf(words, sizeof words, "; %s=%u", name, bits);
    add(t, words);
}

static size_t write_terms(const struct ws_terms *terms, bool server_bits,
                          bool client_bits, char *to) {
    struct text t = {to, 0};
    add(&t, "permessage-deflate");
    if (!terms->server_takeover) add(&t, "; server_no_context_takeover");
    if (!terms->client_takeover) add(&t, "; client_no_context_takeover");
    if (server_bits) add_bits(&t, "server_max_window_bits", terms->server_bits);
    if (client_bits) add_bits(&t, "client_max_window_bits", terms->client_bits);
    return t.len;
}

int ws_extension_choose(struct span offers, const struct ws_terms *wish,
                        struct ws_terms *terms, char answer[WS_EXTENSION_MAX],
                        size_t *n) {
    struct offer o;
    int more;
    *terms = (struct ws_terms){0};
    while ((more = next(&offers, &o)) > 0) {
        if (terms->on || !wish->on || !o.ours || !o.valid) continue;
        *terms = (struct ws_terms){
            .on = true,
            .server_takeover = wish->server_takeover && !o.server_no_takeover,
            .client_takeover = wish->client_takeover && !o.client_no_takeover,
            .server_bits = least(wish->server_bits,
                                 o.has_server_bits ? o.server_bits : WS_BITS_MOST),
            /* Only who has said so can be told to use a smaller window. */
            .client_bits = o.has_client_bits
                               ? least(wish->client_bits,
                                       o.client_bits ? o.client_bits : WS_BITS_MOST)
                               : WS_BITS_MOST};
        *n = write_terms(terms, o.has_server_bits || terms->server_bits < WS_BITS_MOST,
                         terms->client_bits < WS_BITS_MOST, answer);
    }
    if (more < 0) terms->on = false;
    return more;
}

size_t ws_extension_offer(const struct ws_terms *wish, char offer[WS_EXTENSION_MAX]) {
    struct text t = {offer, 0};
    t.len = write_terms(wish, wish->server_bits < WS_BITS_MOST,
                        wish->client_bits < WS_BITS_MOST, offer);
    if (wish->client_bits == WS_BITS_MOST) add(&t, "; client_max_window_bits");
    return t.len;
}

static const char *judge(const struct offer *o, const struct ws_terms *wish) {
    if (!o->valid || (o->has_client_bits && !o->client_bits))
        return "the terms of permessage-deflate are malformed";
    if (wish->server_bits < WS_BITS_MOST &&
        (!o->has_server_bits || o->server_bits > wish->server_bits))
        return "the server does not keep to server_max_window_bits";
    return NULL;
}

int ws_extension_accept(struct span answer, const struct ws_terms *wish,
                        struct ws_terms *terms, const char **why) {
    struct offer o;
    int more;
    *terms = (struct ws_terms){0};
    while ((more = next(&answer, &o)) > 0) {
        *why = !wish->on || !o.ours ? "the server uses an extension not offered"
               : terms->on          ? "the server uses permessage-deflate twice"
                                    : judge(&o, wish);
        if (*why) {
            terms->on = false;
            return ERR_SYNTAX;
        }
        *terms = (struct ws_terms){
            .on = true,
            .server_takeover = !o.server_no_takeover,
            .client_takeover = wish->client_takeover && !o.client_no_takeover,
            .server_bits = o.has_server_bits ? o.server_bits : WS_BITS_MOST,
            .client_bits = least(wish->client_bits,
                                 o.has_client_bits ? o.client_bits : WS_BITS_MOST)};
    }
    if (more == 0) return 0;
    terms->on = false;
    *why = "Sec-WebSocket-Extensions is malformed";
    return ERR_SYNTAX;
}
