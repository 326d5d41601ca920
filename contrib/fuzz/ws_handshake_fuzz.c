/* The input as the value of a field of a WebSocket's handshake: subprotocols, tokens,
 * offers of extensions and answers to them. The first byte picks the wish. What was
 * chosen is within it, and a client that offered that much takes the answer. Build with
 * -fsanitize=fuzzer,address,undefined from base/, codec/ and llhttp. */
#include "base/err.h"
#include "codec/ws_extension.h"
#include "codec/ws_handshake.h"

#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

static bool within(const struct ws_terms *t) {
    return t->server_bits >= WS_BITS_LEAST && t->server_bits <= WS_BITS_MOST &&
           t->client_bits >= WS_BITS_LEAST && t->client_bits <= WS_BITS_MOST;
}

static void choose(struct span value, const struct ws_terms *wish) {
    struct ws_terms terms, agreed;
    struct ws_terms offered = {true, true, true, WS_BITS_MOST, WS_BITS_MOST};
    char answer[WS_EXTENSION_MAX];
    const char *why = NULL;
    size_t n = 0;
    int err = ws_extension_choose(value, wish, &terms, answer, &n);
    check(err == 0 || (err == ERR_SYNTAX && !terms.on));
    if (!terms.on) return;
    check(n > 0 && n <= sizeof answer && within(&terms));
    check(terms.server_bits <= wish->server_bits);
    check(wish->server_takeover || !terms.server_takeover);
    check(wish->client_takeover || !terms.client_takeover);
    check(ws_extension_accept(span_of(answer, n), &offered, &agreed, &why) == 0);
    check(agreed.on && agreed.server_takeover == terms.server_takeover &&
          agreed.client_takeover == terms.client_takeover &&
          agreed.server_bits == terms.server_bits &&
          agreed.client_bits == terms.client_bits);
}

static void accept_answer(struct span value, const struct ws_terms *wish) {
    struct ws_terms terms;
    const char *why = NULL;
    int err = ws_extension_accept(value, wish, &terms, &why);
    check(err == 0 ? !why : why && !terms.on);
    check(!terms.on || (wish->on && within(&terms)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    struct ws_terms wish = {.on = true,
                            .server_takeover = data[0] & 1,
                            .client_takeover = data[0] & 2,
                            .server_bits = 8 + (data[0] >> 2 & 7),
                            .client_bits = 8 + (data[0] >> 5)};
    struct ws_terms nothing = {0};
    char *copy = malloc(size), accept[WS_ACCEPT], offer[WS_EXTENSION_MAX];
    struct span value = span_of(memcpy(copy, data + 1, size - 1), size - 1), token;
    choose(value, &wish);
    accept_answer(value, &wish);
    accept_answer(value, &nothing);
    check(ws_extension_offer(&wish, offer) <= sizeof offer);
    ws_accept(value, accept);
    ws_key_is_good(value);
    ws_list_has(value, SPAN("upgrade"));
    for (struct span rest = value; ws_protocol_next(&rest, &token);)
        check(token.len <= value.len && (token.len || !rest.len));
    free(copy);
    return 0;
}
