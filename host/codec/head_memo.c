#include "codec/head_memo.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

/* The fields' offsets count from the block's first byte. */
struct head_block {
    uint32_t hash, len;
    uint32_t authority, authority_len;
    uint16_t field_count;
    bool keep_alive;
    struct head_field fields[]; /* and behind them the bytes */
};

static const char *bytes_of(const struct head_block *b) {
    return (const char *)(b->fields + b->field_count);
}

void head_memo_done(struct head_memo *m) {
    for (unsigned i = 0; i < HEAD_MEMO_SLOTS; i++) free(m->blocks[i]);
    memset(m, 0, sizeof *m);
}

/* Where strangers can make it collide, they only miss what they would have saved. */
static uint32_t hash_of(const char *at, size_t len) {
    uint64_t h = len, word;
    for (size_t i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, at + i, 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    if (len >= 8) {
        memcpy(&word, at + len - 8, 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return (uint32_t)(h >> 32) | 1; /* 0 is none */
}

enum { TWICE = 1, BAD = 2 };

/* What target_parse looks at twice, and what the parser does not take. */
static const uint8_t kinds[256] = {
    [0 ... ' '] = BAD, ['#'] = BAD,   ['%'] = TWICE,
    ['.'] = TWICE,     ['?'] = TWICE, [0x7f ... 0xff] = BAD,
};

/* The kinds of byte in the path, for `GET /path HTTP/1.1`; BAD for all else. */
static unsigned kinds_in(const char *at, uint32_t line) {
    enum { BEFORE = 4, AFTER = 11 }; /* "GET ", " HTTP/1.1\r\n" */
    if (line < BEFORE + 1 + AFTER || memcmp(at, "GET /", BEFORE + 1) != 0 ||
        memcmp(at + line - AFTER, " HTTP/1.1\r\n", AFTER) != 0)
        return BAD;
    unsigned found = 0;
    const char *end = at + line - AFTER;
    for (at += BEFORE + 1; at < end; at++) found |= kinds[(unsigned char)*at];
    return found;
}

bool head_memo_recall(struct head_memo *m, struct head_habit *habit, struct head *h,
                      uint32_t line, size_t len, uint32_t fields_max,
                      uint32_t bytes_max) {
    unsigned slot = habit->known ? habit->slot : m->last;
    const struct head_block *b = m->blocks[slot];
    if (!b || len - line < b->len || memcmp(h->base + line, bytes_of(b), b->len) != 0)
        return false;
    unsigned found = kinds_in(h->base, line);
    if (found & BAD) return false;
    if (b->field_count > fields_max || b->field_count > h->field_capacity ||
        b->len - 2 > bytes_max)
        return false;
    habit->known = true;
    habit->slot = (uint8_t)slot;
    habit->hash = b->hash;
    h->method = HTTP_GET;
    h->method_len = 3;
    h->target = 4;
    h->target_len = line - 15;
    h->plain = !found;
    h->minor = 1;
    h->len = line + b->len;
    h->keep_alive = b->keep_alive;
    h->authority = b->authority + line;
    h->authority_len = b->authority_len;
    h->field_count = b->field_count;
    for (unsigned i = 0; i < b->field_count; i++) {
        h->fields[i] = b->fields[i];
        h->fields[i].name += line;
        h->fields[i].value += line;
    }
    return true;
}

static void keep(struct head_memo *m, unsigned slot, uint32_t hash,
                 const struct head *h, uint32_t line) {
    uint32_t len = h->len - line;
    struct head_block *b = malloc(sizeof *b + h->field_count * sizeof *b->fields + len);
    if (!b) return;
    *b = (struct head_block){
        .hash = hash,
        .len = len,
        .authority = h->authority - line,
        .authority_len = h->authority_len,
        .field_count = h->field_count,
        .keep_alive = h->keep_alive,
    };
    for (unsigned i = 0; i < h->field_count; i++) {
        b->fields[i] = h->fields[i];
        b->fields[i].name -= line;
        b->fields[i].value -= line;
    }
    memcpy((char *)(b->fields + b->field_count), h->base + line, len);
    free(m->blocks[slot]);
    m->blocks[slot] = b;
}

void head_memo_learn(struct head_memo *m, struct head_habit *habit,
                     const struct head *h, uint32_t line) {
    uint32_t len = h->len - line;
    habit->known = false;
    if (h->method != HTTP_GET || h->minor != 1 || h->has_body ||
        len > HEAD_MEMO_BYTES || h->field_count > HEAD_MEMO_FIELDS)
        return;
    uint32_t hash = hash_of(h->base + line, len);
    unsigned slot = hash >> 1 & (HEAD_MEMO_SLOTS - 1); /* the lowest bit is set */
    bool again = habit->hash == hash;
    habit->hash = hash;
    bool same = m->blocks[slot] && m->blocks[slot]->hash == hash;
    if (!same && !again) return;
    if (!same) keep(m, slot, hash, h, line);
    habit->slot = m->last = (uint8_t)slot;
    habit->known = true;
}
