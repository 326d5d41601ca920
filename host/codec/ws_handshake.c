#include "codec/ws_handshake.h"

#include "codec/http1_write.h"
#include "codec/sha1.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 4, padded. */
static void base64(const unsigned char *at, size_t len, char *to) {
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < n ? at[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            *to++ = k <= n ? alphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
}

void ws_key(const unsigned char nonce[WS_NONCE], char out[WS_KEY]) {
    base64(nonce, WS_NONCE, out);
}

bool ws_key_is_good(struct span key) {
    if (key.len != WS_KEY || memcmp(key.at + WS_KEY - 2, "==", 2) != 0) return false;
    for (size_t i = 0; i < WS_KEY - 2; i++)
        if (!key.at[i] || !strchr(alphabet, key.at[i])) return false;
    /* 22 digits are 132 bits; the last 4 belong to no byte. */
    return strchr("AQgw", key.at[WS_KEY - 3]) != NULL;
}

void ws_accept(struct span key, char out[WS_ACCEPT]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char hash[SHA1_LEN];
    char text[64 + sizeof guid];
    size_t n = key.len < 64 ? key.len : 64;
    memcpy(text, key.at, n);
    memcpy(text + n, guid, sizeof guid - 1);
    sha1_of(span_of(text, n + sizeof guid - 1), hash);
    base64(hash, sizeof hash, out);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static struct span trimmed(struct span s) {
    while (s.len && is_space(s.at[0])) s = span_of(s.at + 1, s.len - 1);
    while (s.len && is_space(s.at[s.len - 1])) s.len--;
    return s;
}

/* The next that is not empty (RFC 9110 5.6.1.2). */
static bool element(struct span *rest, struct span *out) {
    while (rest->len) {
        const char *comma = memchr(rest->at, ',', rest->len);
        size_t n = comma ? (size_t)(comma - rest->at) : rest->len;
        size_t past = comma ? n + 1 : n;
        *out = trimmed(span_of(rest->at, n));
        *rest = span_of(rest->at + past, rest->len - past);
        if (out->len) return true;
    }
    return false;
}

bool ws_list_has(struct span list, struct span token) {
    struct span one;
    while (element(&list, &one))
        if (span_case_eq(one, token)) return true;
    return false;
}

static bool fields_have(const struct head *h, struct span name, struct span token) {
    struct span value;
    unsigned from = 0;
    while (head_find(h, name, &from, &value))
        if (ws_list_has(value, token)) return true;
    return false;
}

bool ws_request_asks(const struct head *h) {
    return fields_have(h, SPAN("upgrade"), SPAN("websocket"));
}

/* The only field of that name. */
static bool single(const struct head *h, struct span name, struct span *value) {
    struct span other;
    unsigned from = 0;
    return head_find(h, name, &from, value) && !head_find(h, name, &from, &other);
}

int ws_request_check(const struct head *h, struct span *key, const char **why) {
    struct span value;
    unsigned from = 0;
    if (!span_eq(head_method(h), SPAN("GET"))) {
        *why = "a WebSocket is asked for with GET";
        return 405;
    }
    if (!ws_request_asks(h)) {
        *why = "this is a WebSocket";
        return 426;
    }
    if (h->minor < 1 || !fields_have(h, SPAN("connection"), SPAN("upgrade"))) {
        *why = "Upgrade without HTTP/1.1 and Connection: Upgrade";
        return 400;
    }
    if (h->has_body) {
        *why = "a WebSocket is asked for without a body";
        return 400;
    }
    if (!head_find(h, SPAN("sec-websocket-version"), &from, &value)) {
        *why = "no Sec-WebSocket-Version";
        return 400;
    }
    if (!single(h, SPAN("sec-websocket-version"), &value) ||
        !span_eq(value, SPAN("13"))) {
        *why = "only version 13 of WebSocket is spoken here";
        return 426;
    }
    if (!single(h, SPAN("sec-websocket-key"), key) || !ws_key_is_good(*key)) {
        *why = "Sec-WebSocket-Key is not 16 bytes in base64";
        return 400;
    }
    if (!ws_protocols_are_good(h)) {
        *why = "Sec-WebSocket-Protocol is not a list of different tokens";
        return 400;
    }
    return 0;
}

bool ws_protocol_next(struct span *rest, struct span *token) {
    if (!element(rest, token)) return false;
    if (!http1_is_token(*token)) {
        token->len = 0;
        rest->len = 0;
    }
    return true;
}

/* How often the lists have it; lists that are none end the count. */
static unsigned count(const struct head *h, struct span protocol) {
    struct span list, token;
    unsigned from = 0, n = 0;
    while (head_find(h, SPAN("sec-websocket-protocol"), &from, &list))
        while (ws_protocol_next(&list, &token)) n += span_eq(token, protocol);
    return n;
}

bool ws_protocols_are_good(const struct head *h) {
    enum { MOST = 64 }; /* who wants a choice of more wants to keep us busy */
    struct span list, token;
    unsigned from = 0, n = 0;
    while (head_find(h, SPAN("sec-websocket-protocol"), &from, &list))
        while (ws_protocol_next(&list, &token))
            if (!token.len || ++n > MOST || count(h, token) != 1) return false;
    return true;
}

bool ws_protocol_offered(const struct head *h, struct span protocol) {
    return protocol.len > 0 && count(h, protocol) > 0;
}
