#include "process/problem.h"

#include "base/err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int problem_set(struct problem *p, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    p->code = code;
    vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
    return -1;
}

int problem_at(struct problem *p, const char *where) {
    size_t before = strlen(where) + 2, len = strlen(p->text), room = sizeof p->text - 1;
    if (before >= room) return -1;
    if (len > room - before) len = room - before;
    memmove(p->text + before, p->text, len);
    memcpy(p->text, where, before - 2);
    memcpy(p->text + before - 2, ": ", 2);
    p->text[before + len] = 0;
    return -1;
}

int problem_errno(struct problem *p, int code, int err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    p->code = code;
    int n = vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n + 2 >= sizeof p->text) return -1;
    const char *text = err_text(err);
    /* "Permission denied" in the middle of a sentence; "RPC ..." stays as it is. */
    int first = islower((unsigned char)text[1]) ? tolower((unsigned char)text[0])
                                                : (unsigned char)text[0];
    snprintf(p->text + n, sizeof p->text - (size_t)n, ": %c%s", first, text + 1);
    return -1;
}

int problem_print(const struct problem *p) {
    fprintf(stderr, "atoll: %s\n", p->text);
    return p->code;
}
