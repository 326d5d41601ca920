#include "isolate/bulletin.h"

#include <stdlib.h>

struct bulletin *bulletin_new(size_t len, unsigned cargo_count) {
    struct bulletin *b = malloc(sizeof *b + len);
    if (!b) return NULL;
    *b = (struct bulletin){.len = len};
    atomic_init(&b->references, 1);
    for (unsigned i = 0; i < BULLETIN_FORMS; i++) atomic_init(&b->forms[i], NULL);
    if (cargo_count && !(b->cargo = calloc(cargo_count, sizeof *b->cargo))) {
        free(b);
        return NULL;
    }
    return b;
}

static bool give_up(struct bulletin *b) {
    return atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1;
}

static void free_one(struct bulletin *b) {
    for (unsigned i = 0; i < b->cargo_count; i++)
        b->cargo[i].kind->drop(b->cargo[i].core);
    for (unsigned i = 0; i < BULLETIN_FORMS; i++) free(bulletin_form(b, i));
    free(b->cargo);
    free(b);
}

void bulletin_unref(struct bulletin *b) {
    if (b && give_up(b)) free_one(b);
}

void bulletin_drop(struct bulletin *b, struct bulletin **dead) {
    if (!give_up(b)) return;
    b->next = *dead;
    *dead = b;
}

void bulletin_free_all(struct bulletin *dead) {
    while (dead) {
        struct bulletin *next = dead->next;
        free_one(dead);
        dead = next;
    }
}

struct bulletin_form *bulletin_form_new(size_t len) {
    struct bulletin_form *form = malloc(sizeof *form + len);
    if (form) form->len = len;
    return form;
}

struct bulletin_form *bulletin_form_set(struct bulletin *b, unsigned which,
                                        struct bulletin_form *form) {
    struct bulletin_form *there = NULL;
    if (atomic_compare_exchange_strong_explicit(
            &b->forms[which], &there, form, memory_order_acq_rel, memory_order_acquire))
        return form;
    free(form);
    return there;
}
