/* What a careful server must make sure of after llhttp has accepted a head: that its
 * bytes are what RFC 9112 says and nothing else, and that all who might read them agree
 * on where the request ends. llhttp is lenient about bare LF, folded lines, old and
 * foreign start lines, Host, and Transfer-Encoding; here nothing is let through.
 *
 * Works on the bytes at head->base and on the parts that llhttp's callbacks recorded.
 * The functions return 0 or the status to refuse with, and then *why is a short static
 * sentence. Called by http1_read only. Any thread. */
#ifndef CODEC_HEAD_CHECK_H
#define CODEC_HEAD_CHECK_H

#include "codec/head.h"

/* What the parser made of the framing, to be compared with what the fields say. */
struct head_framing {
    uint64_t content_length;
    bool has_length, chunked;
};

/* The request line is the first line bytes at base, CRLF included: exactly
 * `method SP target SP "HTTP/1." DIGIT CRLF` around the target in h. Sets method_len
 * and minor (at most 1, RFC 9110 2.5). */
int head_check_line(struct head *h, uint32_t line, const char **why);

/* All fields stand in lines of their own, without a gap or a fold, between the request
 * line and the empty line that ends h->len. Trims the values, then sets authority,
 * keep_alive, has_body, chunked, content_length and the expectations. */
int head_check_fields(struct head *h, uint32_t line, const struct head_framing *framing,
                      const char **why);

/* Judges a request line that the parser refused for its method, of which len bytes have
 * come: -1 when more are needed, 501 or 505 when it is a well-formed line of HTTP, else
 * 400 at the first byte that cannot be. */
int head_judge_line(const char *at, size_t len, const char **why);

#endif
