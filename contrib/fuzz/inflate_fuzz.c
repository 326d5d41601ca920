/* Decodes the input whole and cut into small pieces, with much room and with little,
 * and compares; never more than 1 MiB of it. The first byte picks the format and the
 * pieces. Build with -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/inflate.h"

#include <stdlib.h>

enum { LIMIT = 1 << 20 };

static size_t decode(enum inflate_format format, const char *at, size_t len,
                     size_t piece, size_t room, char *out, int *verdict) {
    struct inflater i;
    size_t total = 0, given = 0, taken = 0;
    *verdict = 0;
    inflate_init(&i, format);
    while (!*verdict && total < LIMIT) {
        size_t n, space = LIMIT - total < room ? LIMIT - total : room;
        if (given - taken < 2 && given < len)
            given = len - given < piece ? len : given + piece;
        char *copy = malloc(given - taken + 1);
        memcpy(copy, at + taken, given - taken);
        struct span in = span_of(copy, given - taken);
        enum inflate_result result = inflate_step(&i, &in, out + total, space, &n);
        if (n > space || in.len > given - taken) abort();
        size_t before = taken;
        taken = given - in.len;
        total += n;
        free(copy);
        if (result != INFLATE_OK)
            *verdict = 2;
        else if (given == len && n < space && taken == before)
            *verdict = inflate_complete(&i) ? 1 : 3;
    }
    inflate_done(&i);
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    enum inflate_format format = data[0] & 1 ? INFLATE_GZIP : INFLATE_DEFLATE;
    size_t piece = 1 + (data[0] >> 1) % 16, room = 1 + (data[0] >> 5) * 37;
    const char *at = (const char *)data + 1;
    char *whole = malloc(LIMIT), *cut = malloc(LIMIT);
    int first, second;
    size_t n = decode(format, at, size - 1, size, LIMIT, whole, &first);
    size_t m = decode(format, at, size - 1, piece, room, cut, &second);
    /* Where it breaks off zlib may have given more or less of what was right. */
    size_t least = n < m ? n : m;
    if (first != second && n < LIMIT) abort();
    if (first == 1 && n != m) abort();
    if (memcmp(whole, cut, least) != 0) abort();
    free(whole);
    free(cut);
    return 0;
}
