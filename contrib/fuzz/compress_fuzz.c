/* Compresses the input piece by piece, flushing where a byte says so, and unpacks the
 * gzip again, all of what was added up to a flush as soon as it is flushed. The first
 * byte picks the coding and the pieces. Build with -fsanitize=fuzzer,address,undefined
 * from base/ and codec/. */
#include "codec/compress.h"
#include "codec/inflate.h"

#include <stdlib.h>

static void check(bool holds) {
    if (!holds) abort();
}

/* What has come of it is the beginning of data, all that was added. */
static void read_back(struct span packed, const char *data, size_t added, bool end) {
    struct inflater i;
    char *out = malloc(added + 1);
    size_t got = 0, n;
    inflate_init(&i, INFLATE_GZIP);
    do {
        check(inflate_step(&i, &packed, out + got, added + 1 - got, &n) == INFLATE_OK);
        got += n;
    } while (n && packed.len);
    check(got == added && memcmp(out, data, added) == 0);
    if (end) check(inflate_complete(&i));
    inflate_done(&i);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    static struct packer p; /* kept, as a connection's is */
    enum coding coding =
        data[0] & 1 && packer_knows(CODING_BR) ? CODING_BR : CODING_GZIP;
    size_t piece = 1 + (data[0] >> 2), len = size - 1, at = 0;
    const char *text = (const char *)data + 1;
    struct buf out;
    buf_init(&out);
    if (p.coding == coding && coding == CODING_GZIP) {
        packer_again(&p);
    } else {
        packer_close(&p);
        check(packer_open(&p, coding, data[0] & 2 ? PACK_STREAM : PACK_WHOLE) == 0);
    }
    while (at < len) {
        size_t n = piece < len - at ? piece : len - at;
        bool flush = text[at] & 1;
        char *copy = malloc(n); /* so that reading on is seen */
        memcpy(copy, text + at, n);
        check(packer_add(&p, span_of(copy, n), flush ? PACK_FLUSH : PACK_MORE, &out) ==
              0);
        free(copy);
        at += n;
        if (flush && coding == CODING_GZIP) read_back(buf_span(&out), text, at, false);
    }
    check(packer_add(&p, SPAN(""), PACK_END, &out) == 0);
    if (coding == CODING_GZIP) read_back(buf_span(&out), text, len, true);
    if (coding == CODING_BR && len) {
        struct buf whole;
        buf_init(&whole);
        check(pack_br(span_of(text, len), &whole) == 0 && buf_len(&whole));
        buf_reset(&whole);
    }
    buf_reset(&out);
    return 0;
}
