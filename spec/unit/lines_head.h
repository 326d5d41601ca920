/* A request's head for tests of what reads its fields, from "Name: value" lines. */
#ifndef UNIT_LINES_HEAD_H
#define UNIT_LINES_HEAD_H

#include "codec/head.h"

enum { LINES_MAX = 8 };

struct lines_head {
    struct head head;
    struct head_field fields[LINES_MAX];
};

/* text lives as long as the head; lines end with '\n'. */
static inline const struct head *lines_head(struct lines_head *h, const char *text) {
    *h = (struct lines_head){0};
    h->head.base = text;
    h->head.fields = h->fields;
    h->head.field_capacity = LINES_MAX;
    for (const char *at = text; *at && h->head.field_count < LINES_MAX;) {
        const char *colon = strchr(at, ':'), *end = strchr(at, '\n');
        h->fields[h->head.field_count++] =
            (struct head_field){.name = (uint32_t)(at - text),
                                .name_len = (uint16_t)(colon - at),
                                .value = (uint32_t)(colon + 2 - text),
                                .value_len = (uint32_t)(end - colon - 2)};
        at = end + 1;
    }
    return &h->head;
}

#endif
