#include "process/wrap.h"

#include <string.h>

void wrap_text(FILE *out, const char *prefix, const char *text) {
    enum { COLUMNS = 79 };
    size_t column = 0;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (column && column + 1 + len > COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        if (column)
            column += (size_t)fprintf(out, " ");
        else
            column = (size_t)fprintf(out, "%s", prefix);
        column += (size_t)fprintf(out, "%.*s", (int)len, text);
        text += len;
        if (*text == '\n') {
            fputs("\n", out);
            column = 0;
        }
        if (*text) text++;
    }
    if (column) fputc('\n', out);
}
