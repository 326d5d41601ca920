#include "base/buf.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALLEST = 256 };

char *buf_grow(struct buf *b, size_t n) {
    size_t len = buf_len(b);
    if (n > BUF_MAX - len) return NULL;
    if (b->memory && len + n <= b->capacity && b->start >= len) {
        memcpy(b->memory, b->memory + b->start, len);
    } else {
        size_t capacity = b->capacity ? b->capacity : SMALLEST;
        while (capacity < len + n) capacity *= 2;
        char *memory = malloc(capacity);
        if (!memory) return NULL;
        if (len) memcpy(memory, b->memory + b->start, len);
        free(b->memory);
        b->memory = memory;
        b->capacity = (uint32_t)capacity;
    }
    b->start = 0;
    b->end = (uint32_t)len;
    return b->memory + b->end;
}

int buf_append(struct buf *b, const void *at, size_t n) {
    if (n == 0) return 0;
    char *to = buf_reserve(b, n);
    if (!to) return ERR_MEMORY;
    memcpy(to, at, n);
    buf_commit(b, n);
    return 0;
}

int buf_printf(struct buf *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0) return ERR_SYNTAX;
    char *to = buf_reserve(b, (size_t)n + 1);
    if (!to) return ERR_MEMORY;
    va_start(arguments, format);
    vsnprintf(to, (size_t)n + 1, format, arguments);
    va_end(arguments);
    buf_commit(b, (size_t)n);
    return 0;
}

void buf_reset(struct buf *b) {
    free(b->memory);
    buf_init(b);
}
