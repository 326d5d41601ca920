/* Feeds an http1_reader as a connection would and writes down what comes of it, so that
 * the same bytes cut in different ways can be compared. Every call of http1_read gets
 * its bytes in memory of their own and exactly as large, freed behind it.
 *
 * For the unit test and the fuzzer of http1_read. The account of
 * `POST /x HTTP/1.1 ...` with a body "ab" is `POST /x 1.1 len=2 [Host|a] "ab";`, with
 * ` {lines}` before the semicolon when there are trailers, of a refusal ` !400`, of an
 * unfinished request ` ..`. One thread at a time. */
#ifndef UNIT_HTTP1_FEED_H
#define UNIT_HTTP1_FEED_H

#include "codec/http1_read.h"
#include "codec/target.h"

#include <stdio.h>
#include <stdlib.h>

enum { FEED_FIELDS = 64 };

struct http1_feed {
    struct http1_reader reader;
    struct head head;
    struct head_field fields[FEED_FIELDS];
    char *held; /* bytes of an unfinished head */
    size_t held_len;
    FILE *out;
    char *text;
    char *trailers; /* of an unfinished body */
    size_t text_len, body_len, trailers_len;
    bool keep_alive, in_body, over;
};

static inline void feed_check(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "http1_feed: %s\n", what);
    abort();
}

static inline void feed_init(struct http1_feed *f, const struct http1_limits *limits) {
    memset(f, 0, sizeof(*f));
    f->out = open_memstream(&f->text, &f->text_len);
    f->head.fields = f->fields;
    f->head.field_capacity = FEED_FIELDS;
    http1_reader_init(&f->reader, limits);
    http1_read_begin(&f->reader, &f->head);
}

static inline void feed_print(struct http1_feed *f, struct span s) {
    fwrite(s.at, 1, s.len, f->out);
}

/* The grammar once more, with other means: lines end in CRLF and begin with a name, the
 * request line has two spaces, and each of the others is a field. */
static inline void feed_check_lines(const struct head *h) {
    unsigned lines = 0, spaces = 0;
    for (uint32_t i = 0; i < h->len; i++) {
        char c = h->base[i];
        feed_check(c != '\r' || h->base[i + 1] == '\n', "bare CR");
        feed_check(c != '\n' || h->base[i - 1] == '\r', "bare LF");
        feed_check(c != 0, "NUL");
        if (c == ' ' && lines == 0) spaces++;
        if (i > 0 && h->base[i - 1] == '\n')
            feed_check(c != ' ' && c != '\t' && c != ':', "a fold or no name");
        if (c == '\n') lines++;
    }
    feed_check(spaces == 2 && lines == h->field_count + 2u, "not a field a line");
}

static inline void feed_check_framing(const struct head *h) {
    unsigned hosts = 0, encodings = 0, lengths = 0, from = 0;
    struct span value;
    while (head_find(h, SPAN("host"), &from, &value)) hosts++;
    for (from = 0; head_find(h, SPAN("content-length"), &from, &value);) lengths++;
    for (from = 0; head_find(h, SPAN("transfer-encoding"), &from, &value);) {
        feed_check(span_case_eq(value, SPAN("chunked")), "unknown coding");
        encodings++;
    }
    feed_check(hosts <= 1 && (hosts == 1 || h->minor == 0), "Host");
    feed_check(lengths + encodings <= 1 && (encodings == 0 || h->minor == 1),
               "framing");
    if (h->method == HTTP_CONNECT) return;
    feed_check(h->chunked == (encodings == 1), "chunked");
    feed_check(h->content_length == 0 || lengths == 1, "length");
}

/* What a plain target says of itself is what target_parse would say. */
static inline void feed_check_target(const struct head *h) {
    struct target t;
    struct span raw = head_target(h);
    const char *why;
    if (!h->plain) return;
    feed_check(target_parse(raw, false, NULL, &t, &why) == 0, "not plain");
    feed_check(t.form == TARGET_ORIGIN && t.path.at == raw.at &&
                   t.path.len == raw.len && !t.query.at && !t.authority.at &&
                   !t.scheme.at,
               "more than a path");
}

static inline void feed_head(struct http1_feed *f, const char *at, size_t used) {
    const struct head *h = &f->head;
    feed_check(h->base >= at && h->base + h->len == at + used,
               "head outside its bytes");
    feed_check(memcmp(h->base + h->len - 4, "\r\n\r\n", 4) == 0, "head without an end");
    feed_check_lines(h);
    feed_check_target(h);
    feed_check_framing(h);
    feed_print(f, head_method(h));
    fputc(' ', f->out);
    feed_print(f, head_target(h));
    fprintf(f->out, " 1.%d", h->minor);
    if (!h->keep_alive) fputs(" close", f->out);
    if (h->chunked) fputs(" chunked", f->out);
    if (h->content_length)
        fprintf(f->out, " len=%llu", (unsigned long long)h->content_length);
    if (h->expect_continue) fputs(" expect", f->out);
    if (h->expect_unknown) fputs(" expect?", f->out);
    for (unsigned i = 0; i < h->field_count; i++) {
        struct span name = head_name(h, h->fields + i);
        struct span value = head_value(h, h->fields + i);
        for (size_t n = 0; n < value.len; n++)
            feed_check(!memchr("\r\n", value.at[n], 3), "control byte in a value");
        for (size_t n = 0; n < name.len; n++)
            feed_check(name.at[n] > ' ' && name.at[n] != ':', "bad byte in a name");
        feed_check(name.len > 0, "empty name");
        fputs(" [", f->out);
        feed_print(f, name);
        fputc('|', f->out);
        feed_print(f, value);
        fputc(']', f->out);
    }
    feed_check(h->has_body == (h->chunked || h->content_length > 0), "has_body");
    f->keep_alive = h->keep_alive;
    f->in_body = h->has_body;
    f->body_len = 0;
}

static inline void feed_end(struct http1_feed *f) {
    if (f->in_body && f->body_len > 0) fputc('"', f->out);
    if (f->trailers_len) {
        feed_check(f->trailers_len > 4 &&
                       memcmp(f->trailers + f->trailers_len - 4, "\r\n\r\n", 4) == 0,
                   "trailers without an end");
        fputs(" {", f->out);
        feed_print(f, span_of(f->trailers, f->trailers_len - 4));
        fputc('}', f->out);
        f->trailers_len = 0;
    }
    fputc(';', f->out);
    f->in_body = false;
    f->over = !f->keep_alive;
    if (!f->over) http1_read_begin(&f->reader, &f->head);
}

/* One step on the bytes held; false when more are needed. */
static inline bool feed_step(struct http1_feed *f) {
    char *at = malloc(f->held_len ? f->held_len : 1);
    struct span body = {0};
    size_t used = 0;
    if (f->held_len) memcpy(at, f->held, f->held_len);
    enum http1_event event = http1_read(&f->reader, at, f->held_len, &used, &body);
    feed_check(used <= f->held_len, "used more than there was");
    switch (event) {
    case HTTP1_MORE:
        feed_check(!f->in_body || used == f->held_len, "left bytes of a body");
        break;
    case HTTP1_HEAD:
        feed_head(f, at, used);
        if (!f->in_body) feed_end(f);
        break;
    case HTTP1_BODY:
        feed_check(body.len > 0 && body.at >= at && body.at + body.len <= at + used,
                   "body outside its bytes");
        if (f->body_len == 0) fputs(" \"", f->out);
        f->body_len += body.len;
        feed_print(f, body);
        break;
    case HTTP1_TRAILERS:
        feed_check(body.len > 0 && body.at >= at && body.at + body.len <= at + used,
                   "trailers outside their bytes");
        f->trailers = realloc(f->trailers, f->trailers_len + body.len);
        memcpy(f->trailers + f->trailers_len, body.at, body.len);
        f->trailers_len += body.len;
        break;
    case HTTP1_END: feed_end(f); break;
    case HTTP1_BAD:
        fprintf(f->out, " !%d", f->reader.status);
        feed_check(f->reader.reason && f->reader.status >= 400, "no reason");
        http1_read_begin(&f->reader, &f->head);
        feed_check(http1_read(&f->reader, at, f->held_len, &used, &body) == HTTP1_BAD,
                   "not bad for ever");
        f->over = true;
    }
    memset(at, 'X', f->held_len);
    free(at);
    f->held_len -= used;
    memmove(f->held, f->held + used, f->held_len);
    return event != HTTP1_MORE && !f->over;
}

static inline void feed(struct http1_feed *f, const char *at, size_t len) {
    if (f->over) return;
    f->held = realloc(f->held, f->held_len + len + 1);
    memcpy(f->held + f->held_len, at, len);
    f->held_len += len;
    while (feed_step(f)) {
    }
}

/* The account, to be freed; done with f. */
static inline char *feed_done(struct http1_feed *f) {
    if (!f->over && (f->held_len || f->in_body || f->reader.parsed))
        fputs(f->body_len ? "\" .." : " ..", f->out);
    fclose(f->out);
    free(f->held);
    free(f->trailers);
    return f->text;
}

/* Teaches the memo the block of fields that the bytes begin with, by a connection that
 * says it three times. */
static inline void feed_teach(struct head_memo *memo, const struct http1_limits *limits,
                              struct span bytes) {
    const char *lf = bytes.len ? memchr(bytes.at, '\n', bytes.len) : NULL;
    if (!lf) return;
    struct http1_feed f;
    feed_init(&f, limits);
    f.head.memo = memo;
    for (int i = 0; i < 3; i++) {
        feed(&f, "GET / HTTP/1.1\r\n", 16);
        feed(&f, lf + 1, bytes.len - (size_t)(lf + 1 - bytes.at));
    }
    free(feed_done(&f));
}

#endif
