#include "isolate/past.h"

#include <stdlib.h>

struct past {
    unsigned capacity, count, first;
    size_t bytes;
    struct bulletin *ring[];
};

static struct bulletin *at(const struct past *p, unsigned i) {
    return p->ring[(p->first + i) % p->capacity];
}

struct past *past_grow(struct past *p, unsigned count) {
    if (p && p->capacity >= count) return p;
    struct past *grown = malloc(sizeof *grown + count * sizeof(struct bulletin *));
    if (!grown) return NULL;
    *grown = (struct past){.capacity = count};
    if (p) {
        grown->count = p->count;
        grown->bytes = p->bytes;
        for (unsigned i = 0; i < p->count; i++) grown->ring[i] = at(p, i);
    }
    free(p);
    return grown;
}

static struct bulletin *take_oldest(struct past *p) {
    struct bulletin *it = at(p, 0);
    p->first = (p->first + 1) % p->capacity;
    p->count--;
    p->bytes -= it->len;
    return it;
}

void past_free(struct past *p) {
    while (p && p->count) bulletin_unref(take_oldest(p));
    free(p);
}

void past_put(struct past *p, struct bulletin *it, struct bulletin **dead) {
    if (it->cargo_count) return;
    while (p->count &&
           (p->count == p->capacity || p->bytes + it->len > TOPIC_BYTES_MAX))
        bulletin_drop(take_oldest(p), dead);
    bulletin_ref(it);
    p->ring[(p->first + p->count++) % p->capacity] = it;
    p->bytes += it->len;
}

unsigned past_count(const struct past *p) {
    return p ? p->count : 0;
}

struct bulletin *past_at(const struct past *p, unsigned i) {
    return at(p, i);
}

unsigned past_behind(const struct past *p, uint64_t place) {
    unsigned i = 0;
    while (i < past_count(p) && at(p, i)->place <= place) i++;
    return i;
}

uint64_t past_missed(const struct past *p, uint64_t place) {
    unsigned i = past_behind(p, place);
    return place && i < past_count(p) ? at(p, i)->place - place - 1 : 0;
}
