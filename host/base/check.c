#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *what, const char *file, int line) {
    char text[512];
    int n = snprintf(text, sizeof text, "atoll: %s:%d: broken invariant: %s\n", file,
                     line, what);
    if (n > (int)sizeof text - 1) n = sizeof text - 1;
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0) abort();
    abort();
}
