#include "codec/head.h"

bool head_find(const struct head *h, struct span name, unsigned *from,
               struct span *value) {
    for (unsigned i = *from; i < h->field_count; i++) {
        const struct head_field *f = h->fields + i;
        if (f->name_len != name.len || !span_case_eq(head_name(h, f), name)) continue;
        *from = i + 1;
        *value = head_value(h, f);
        return true;
    }
    *from = h->field_count;
    return false;
}
