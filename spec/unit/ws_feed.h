/* What a ws_reader tells of some bytes, as a text: "text[hello]ping[]close 1000[bye]".
 * For unit tests and the fuzzer, in which it has to be the same however the bytes are
 * cut. A compressed message's name is in capitals. */
#ifndef UNIT_WS_FEED_H
#define UNIT_WS_FEED_H

#include "codec/ws_frame.h"

#include <stdlib.h>
#include <string.h>

static void ws_put(struct buf *out, const char *text) {
    buf_append(out, text, strlen(text));
}

static void ws_tell(struct buf *out, const struct ws_piece *p) {
    static const char *const names[] = {[WS_TEXT] = "text",
                                        [WS_BINARY] = "binary",
                                        [WS_CLOSE] = "close",
                                        [WS_PING] = "ping",
                                        [WS_PONG] = "pong"};
    if (p->kind == WS_CLOSE)
        buf_printf(out, "close %u", (unsigned)p->code);
    else
        ws_put(out,
               p->compressed ? p->kind == WS_TEXT ? "TEXT" : "BINARY" : names[p->kind]);
}

/* In pieces of step bytes, or with step 0 of sizes that the seed makes. Pieces of a
 * message are put together, as are those that were told of before a control frame. */
static char *ws_account(const char *at, size_t n, size_t step, uint32_t seed,
                        bool client, bool compression) {
    struct ws_frames f = {0};
    struct ws_reader r;
    struct ws_piece p;
    struct buf out, message;
    bool over = false;
    buf_init(&out);
    buf_init(&message);
    ws_reader_init(&r, client, compression);
    while (n > 0 && !over) {
        size_t size = step;
        if (size == 0) {
            seed = seed * 1664525 + 1013904223;
            size = 1 + (seed >> 24) % 29;
        }
        if (size > n) size = n;
        /* Its own memory, for the sanitizer to see where it ends. */
        char *copy = malloc(size);
        memcpy(copy, at, size);
        struct span input = span_of(copy, size);
        for (bool more = true; more && !over;) {
            switch (ws_read(&r, &f, &input, &p)) {
            case WS_MORE: more = false; break;
            case WS_PIECE:
                if (p.first) buf_consume(&message, buf_len(&message));
                buf_append(&message, p.bytes.at, p.bytes.len);
                if (!p.last) break;
                p.bytes = buf_len(&message) ? buf_span(&message) : SPAN("");
                /* fall through */
            case WS_CONTROL:
                ws_tell(&out, &p);
                ws_put(&out, "[");
                buf_append(&out, p.bytes.at, p.bytes.len);
                ws_put(&out, "]");
                break;
            default: buf_printf(&out, "bad %u", (unsigned)p.code); over = true;
            }
        }
        if (!over && input.len) abort();
        free(copy);
        at += size;
        n -= size;
    }
    ws_reader_done(&r, &f);
    ws_frames_done(&f);
    buf_reset(&message);
    buf_append(&out, "", 1);
    return out.memory;
}

#endif
