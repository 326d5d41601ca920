#include "isolate/commons.h"

#include <stdlib.h>

struct commons *commons_new(size_t dictionary) {
    struct commons *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->shared = shared_new(dictionary);
    c->topics = topics_new();
    c->names = names_new();
    if (c->shared && c->topics && c->names) return c;
    commons_free(c);
    return NULL;
}

void commons_free(struct commons *c) {
    if (!c) return;
    shared_free(c->shared);
    topics_free(c->topics);
    names_free(c->names);
    free(c);
}
