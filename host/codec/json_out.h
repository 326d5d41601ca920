/* The end of a buffer to which JSON text is being written, piece by piece: strings are
 * escaped and judged on the way, all else is put as it is. The text is part of the
 * buffer when json_out_finish has said yes; json_out_undo leaves it as it was.
 *
 * A false answer comes with `fault`: ERR_MEMORY, ERR_TOO_LARGE, or ERR_SYNTAX for a
 * string that is not UTF-8, at its byte `bad`. Nobody else touches the buffer in
 * between. One thread at a time. */
#ifndef CODEC_JSON_OUT_H
#define CODEC_JSON_OUT_H

#include "base/buf.h"

struct json_out {
    char *at, *end; /* where to write, and the end of the room there */
    struct buf *buf;
    uint64_t slashes; /* eight bytes of what is escaped besides: of '"' or of '/' */
    size_t before;    /* bytes that were in buf */
    size_t size;      /* bytes of text at most */
    size_t bad;       /* from 1 */
    int fault;
};

/* slashes says that "/" is written as "\/". */
bool json_out_start(struct json_out *w, struct buf *buf, size_t size, bool slashes);
bool json_out_finish(struct json_out *w);
void json_out_undo(struct json_out *w);

/* The slow way of json_out_room. */
bool json_out_grow(struct json_out *w, size_t n);

/* n bytes at `at` that the caller may fill and step over. */
static inline bool json_out_room(struct json_out *w, size_t n) {
    return (size_t)(w->end - w->at) >= n || json_out_grow(w, n);
}

/* The text as it is; there is room for one byte more behind it. */
static inline bool json_out_put(struct json_out *w, const char *text, size_t n) {
    if (!json_out_room(w, n + 1)) return false;
    memcpy(w->at, text, n);
    w->at += n;
    return true;
}

/* In quotes; there is room for two bytes more behind it. */
bool json_out_string(struct json_out *w, const char *s, size_t n);

#endif
