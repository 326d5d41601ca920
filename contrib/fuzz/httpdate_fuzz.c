/* Any text as a date, and back: what was read is written as a date that reads the same.
 * The text is also a list of tags and of codings, whose readers only have to stay
 * within it. Build with -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "base/clock.h"
#include "codec/coding.h"
#include "codec/condition.h"
#include "codec/httpdate.h"
#include "codec/mime.h"

#include <stdlib.h>

static void as_list(const char *text, size_t len) {
    char line[4096 + 16] = "Accept-Encoding:";
    struct head_field field = {
        .name_len = 15, .value = 16, .value_len = (uint32_t)(len > 4096 ? 4096 : len)};
    struct head h = {.base = line, .fields = &field, .field_count = 1};
    struct coding_weights w;
    memcpy(line + 16, text, field.value_len);
    coding_accepted(&h, &w);
    for (int i = 0; i < CODINGS; i++)
        if (w.at[i] > 1000) abort();
    enum coding c = coding_choose(&w, 1u << CODING_GZIP | 1u << CODING_BR);
    if (c == CODING_ZSTD || (c && !w.at[c])) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t at, again, now = 1800000000;
    char written[CLOCK_IMF_LEN];
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    struct span s = span_of(text, size);
    if (httpdate_parse(s, now, &at) && at >= 0) {
        clock_imf(written, at);
        if (!httpdate_parse(span_of(written, sizeof written), now, &again)) abort();
        if (again != at) abort();
    }
    bool strong = condition_lists(s, SPAN("\"tag\""), true);
    if (strong && !condition_lists(s, SPAN("\"tag\""), false)) abort();
    if (!mime_of(s).len) abort();
    mime_matches(s, SPAN("text/html"));
    as_list(text, size);
    free(text);
    return 0;
}
