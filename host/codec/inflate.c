#include "codec/inflate.h"

enum { WINDOW = 15, GZIP = 16 };

void inflate_init(struct inflater *i, enum inflate_format format) {
    *i = (struct inflater){.format = format};
}

void inflate_done(struct inflater *i) {
    if (i->open) inflateEnd(&i->z);
    i->open = i->begun = i->over = false;
}

/* RFC 1950 2.2 */
static bool is_zlib(const unsigned char *at) {
    return (at[0] & 0x0f) == Z_DEFLATED && at[0] >> 4 <= 7 &&
           (at[0] << 8 | at[1]) % 31 == 0;
}

static enum inflate_result begin(struct inflater *i, struct span in) {
    int window = WINDOW + GZIP;
    if (i->format == INFLATE_DEFLATE)
        window = is_zlib((const unsigned char *)in.at) ? WINDOW : -WINDOW;
    if (inflateInit2(&i->z, window) != Z_OK) return INFLATE_FULL;
    i->open = i->begun = true;
    return INFLATE_OK;
}

enum inflate_result inflate_step(struct inflater *i, struct span *in, char *out,
                                 size_t room, size_t *n) {
    *n = 0;
    if (room > UINT32_MAX) room = UINT32_MAX;
    if (!i->open) {
        if (in->len < 2) return INFLATE_OK;
        enum inflate_result result = begin(i, *in);
        if (result != INFLATE_OK) return result;
    }
    for (;;) {
        if (i->over) {
            if (!in->len || *n == room) return INFLATE_OK;
            /* Only gzip may have another member. */
            if (i->format != INFLATE_GZIP || inflateReset(&i->z) != Z_OK)
                return INFLATE_BAD;
            i->over = false;
        }
        size_t given = in->len < UINT32_MAX ? in->len : UINT32_MAX;
        i->z.next_in = (unsigned char *)(uintptr_t)in->at;
        i->z.avail_in = (unsigned)given;
        i->z.next_out = (unsigned char *)out + *n;
        i->z.avail_out = (unsigned)(room - *n);
        int status = inflate(&i->z, Z_NO_FLUSH);
        size_t taken = given - i->z.avail_in;
        if (taken) *in = span_of(in->at + taken, in->len - taken);
        *n = room - i->z.avail_out;
        i->z.next_in = NULL;
        switch (status) {
        case Z_STREAM_END: i->over = true; break;
        case Z_OK:
        case Z_BUF_ERROR:
            if (*n == room || !in->len || status == Z_BUF_ERROR) return INFLATE_OK;
            break;
        case Z_MEM_ERROR: return INFLATE_FULL;
        default: return INFLATE_BAD;
        }
    }
}

bool inflate_complete(const struct inflater *i) {
    return !i->open || i->over;
}
