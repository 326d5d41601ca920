/* Feeds an answer_reader as a connection would and writes down what comes of it, so
 * that the same bytes cut in different ways can be compared. Every call of answer_read
 * gets its bytes in memory of their own and exactly as large, freed behind it.
 *
 * For the unit test and the fuzzer of http1_answer. The account of a 200 with a field
 * and the body "ab" is `200 1.1 length [Name|value] "ab";`, of a 100 `(100) `, of a
 * trailer `{Name|value}`, of a refusal `!`, of an unfinished answer `..`. One thread at
 * a time. */
#ifndef UNIT_ANSWER_FEED_H
#define UNIT_ANSWER_FEED_H

#include "codec/http1_answer.h"

#include <stdio.h>
#include <stdlib.h>

struct answer_feed {
    struct answer_reader reader;
    char *held;
    size_t held_len;
    FILE *out;
    char *text;
    size_t text_len;
    bool over, in_body;
    uint64_t body;
};

static inline void feed_check(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "answer_feed: %s\n", what);
    abort();
}

static inline void feed_init(struct answer_feed *f, enum answer_to to) {
    memset(f, 0, sizeof *f);
    f->out = open_memstream(&f->text, &f->text_len);
    answer_begin(&f->reader, to);
}

/* Each line is a field, and no byte may do harm. */
static inline void feed_fields(struct answer_feed *f, struct span lines, char open,
                               char close) {
    struct span name, value;
    for (size_t i = 0; i < lines.len; i++) {
        char c = lines.at[i];
        feed_check(c != '\r' || (i + 1 < lines.len && lines.at[i + 1] == '\n'),
                   "bare CR");
        feed_check(c != '\n' || (i > 0 && lines.at[i - 1] == '\r'), "bare LF");
        feed_check(c != 0, "NUL");
    }
    while (lines.len) {
        feed_check(answer_field(&lines, &name, &value), "not a field a line");
        feed_check(name.len > 0, "no name");
        fprintf(f->out, "%c%.*s|%.*s%c ", open, (int)name.len, name.at, (int)value.len,
                value.at, close);
    }
}

static inline void feed_head(struct answer_feed *f, const char *at) {
    static const char *const framings[] = {"none", "length", "chunked", "close",
                                           "tunnel"};
    const struct answer_head *h = &f->reader.head;
    feed_check(h->len >= 16 && memcmp(at + h->len - 4, "\r\n\r\n", 4) == 0, "end");
    feed_check(h->status >= 200 || f->reader.to == ANSWER_TO_UPGRADE,
               "interim as final");
    feed_check(h->framing != ANSWER_UNTIL_CLOSE || !h->keep_alive, "keep-alive");
    fprintf(f->out, "%u 1.%u %s%s ", h->status, h->minor, framings[h->framing],
            h->keep_alive ? "" : " last");
    feed_fields(f, span_of(at + h->fields, h->len - 2 - h->fields), '[', ']');
}

static inline void feed_body(struct answer_feed *f, struct span piece) {
    feed_check(piece.len > 0, "empty piece");
    if (!f->in_body) fputc('"', f->out);
    f->in_body = true;
    f->body += piece.len;
    fwrite(piece.at, 1, piece.len, f->out);
}

static inline void feed_close_body(struct answer_feed *f) {
    if (f->in_body) fputs("\" ", f->out);
    f->in_body = false;
}

/* One event; false when more bytes are needed. */
static inline bool feed_event(struct answer_feed *f) {
    char *copy = malloc(f->held_len ? f->held_len : 1);
    size_t used = 0;
    struct span body = {0};
    memcpy(copy, f->held, f->held_len);
    enum answer_event event = answer_read(&f->reader, copy, f->held_len, &used, &body);
    feed_check(used <= f->held_len, "used too much");
    feed_check(!body.len || (body.at >= copy && body.at + body.len <= copy + used),
               "a piece from elsewhere");
    switch (event) {
    case ANSWER_MORE: break;
    case ANSWER_INTERIM: fprintf(f->out, "(%u) ", f->reader.head.status); break;
    case ANSWER_HEAD: feed_head(f, copy); break;
    case ANSWER_BODY: feed_body(f, body); break;
    case ANSWER_TRAILERS:
        feed_close_body(f);
        feed_fields(f, body, '{', '}');
        break;
    case ANSWER_END:
        feed_close_body(f);
        const struct answer_head *h = &f->reader.head;
        feed_check(h->framing != ANSWER_LENGTH || h->length == f->body, "length");
        fputc(';', f->out);
        f->over = true;
        break;
    case ANSWER_BAD:
        feed_close_body(f);
        feed_check(f->reader.why != NULL, "no reason");
        fputc('!', f->out);
        f->over = true;
        break;
    }
    free(copy);
    f->held_len -= used;
    memmove(f->held, f->held + used, f->held_len);
    return event != ANSWER_MORE && !f->over;
}

static inline void feed(struct answer_feed *f, const char *at, size_t len) {
    if (f->over) return;
    f->held = realloc(f->held, f->held_len + len + 1);
    memcpy(f->held + f->held_len, at, len);
    f->held_len += len;
    while (feed_event(f)) {
    }
}

/* The account, to be freed. */
static inline char *feed_done(struct answer_feed *f) {
    if (!f->over) {
        feed_close_body(f);
        fputs(answer_end(&f->reader) == ANSWER_END ? ";" : "..", f->out);
    }
    fclose(f->out);
    free(f->held);
    return f->text;
}

#endif
