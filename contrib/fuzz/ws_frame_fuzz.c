/* Feeds a ws_reader the input whole, byte by byte, and cut at places that the first
 * byte picks, and compares the accounts; then sends it as a frame, and reads that. The
 * second byte picks the side and whether compression was agreed. Build with
 * -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "../../spec/unit/ws_feed.h"

#include <stdio.h>

static void check(bool holds) {
    if (!holds) abort();
}

/* As a frame of that kind, from either side. */
static void send(enum ws_kind kind, bool mask, struct span payload) {
    struct ws_frames f = {0};
    struct ws_reader r;
    struct ws_piece p;
    struct buf out;
    char head[WS_HEAD_MAX];
    buf_init(&out);
    check(ws_append(&f, &out, kind, true, false, mask, payload) == 0);
    size_t n = ws_head(&f, head, kind, true, false, payload);
    check(n >= 2 && buf_len(&out) == n + 4 * mask + payload.len);
    if (!mask) check(memcmp(buf_span(&out).at, head, n) == 0);
    ws_reader_init(&r, !mask, false);
    struct span input = buf_span(&out);
    enum ws_event event = ws_read(&r, &f, &input, &p);
    if (kind == WS_TEXT && event == WS_BAD) {
        check(p.code == WS_BAD_DATA); /* no UTF-8 */
    } else {
        check(event == (kind < WS_CLOSE ? WS_PIECE : WS_CONTROL) && p.kind == kind);
        check(p.bytes.len == payload.len && input.len == 0);
        check(!payload.len || memcmp(p.bytes.at, payload.at, payload.len) == 0);
    }
    ws_reader_done(&r, &f);
    ws_frames_done(&f);
    buf_reset(&out);
}

/* What comes of a code and a reason is a close frame that a peer takes. */
static void end(unsigned code, struct span reason) {
    char payload[WS_CONTROL_MAX];
    size_t n = ws_close_payload(payload, code, reason);
    check(n <= WS_CONTROL_MAX);
    struct utf8_check all = {0}, cut = {0};
    if (!utf8_feed(&all, reason.at, reason.len) || all.left) return;
    check(n < 2 || (utf8_feed(&cut, payload + 2, n - 2) && !cut.left));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    bool client = data[1] & 1, compression = data[1] & 2;
    const char *at = (const char *)data + 2;
    size_t n = size - 2;
    char *whole = ws_account(at, n, n, 0, client, compression);
    char *each = ws_account(at, n, 1, 0, client, compression);
    char *some = ws_account(at, n, 0, data[0], client, compression);
    if (strcmp(whole, each) != 0 || strcmp(whole, some) != 0) {
        fprintf(stderr, "whole: %s\neach:  %s\nsome:  %s\n", whole, each, some);
        abort();
    }
    free(whole);
    free(each);
    free(some);
    send(data[0] & 1 ? WS_TEXT : WS_BINARY, client, span_of(at, n));
    send(WS_PING, client, span_of(at, n < WS_CONTROL_MAX ? n : WS_CONTROL_MAX));
    end(data[0] & 1 ? WS_NORMAL : WS_NO_CODE, span_of(at, n));
    return 0;
}
