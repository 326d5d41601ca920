/* The lists of a dictionary: an entry whose bytes are the head of a ring of items. */
#include "base/err.h"
#include "isolate/dict_store.h"

static void put_in(struct items *list, struct item *i, enum dict_side side) {
    if (side == DICT_LEFT)
        list_prepend(&list->ring, &i->link);
    else
        list_append(&list->ring, &i->link);
    list->count++;
    list->size += dict_size(i);
}

static void take_out(struct items *list, struct item *i) {
    list_unlink(&i->link);
    list->count--;
    list->size -= dict_size(i);
}

static int push_to(struct visit *v, struct entry *e, struct item *i,
                   enum dict_side side, size_t *length) {
    if (e->cell.kind != DICT_LIST) return ERR_WRONG_TYPE;
    struct items *list = items_of(e);
    /* The others can make room for it, but not itself. */
    if (dict_size_of_entry(e) + dict_size(i) > dict_limit(v->d)) return -ENOMEM;
    put_in(list, i, side);
    dict_resized(v, dict_size(i), 0);
    dict_changed(v, e);
    *length = list->count;
    return 0;
}

static int push_first(struct dict *d, const struct dict_key *k, int64_t now,
                      struct item *i) {
    const struct dict_value none = {.kind = DICT_LIST};
    struct entry *e = dict_entry_new(d, k, &none, NULL, sizeof(struct items));
    if (!e) return -ENOMEM;
    struct items *list = items_of(e);
    *list = (struct items){0};
    list_init(&list->ring);
    put_in(list, i, DICT_LEFT);
    int err = dict_insert(d, k, now, e, (struct dict_condition){DICT_IF_ABSENT, 0},
                          DICT_NEVER);
    if (err == 0) return 0;
    take_out(list, i);
    dict_release_cell(&e->cell);
    return err;
}

int dict_push(struct dict *d, const struct dict_key *k, int64_t now,
              enum dict_side side, const struct dict_value *value, size_t *length) {
    struct item *i = dict_item_new(d, value);
    if (!i) return -ENOMEM;
    int err;
    do {
        struct visit v;
        struct entry *e = dict_enter(&v, d, k, now);
        err = e ? push_to(&v, e, i, side, length) : -ENOENT;
        dict_sweep(&v);
        dict_leave(&v);
        if (err != -ENOENT) break;
        *length = 1;
        err = push_first(d, k, now, i);
    } while (err == -EEXIST);
    if (err) dict_release_cell(&i->cell);
    return err;
}

int dict_pop(struct dict *d, const struct dict_key *k, int64_t now, enum dict_side side,
             struct dict_copy *out) {
    struct visit v;
    struct item *i = NULL;
    struct entry *e = dict_enter(&v, d, k, now);
    int err = e ? 0 : -ENOENT;
    if (e && e->cell.kind != DICT_LIST) err = ERR_WRONG_TYPE;
    if (err == 0) {
        struct items *list = items_of(e);
        struct link *end = side == DICT_LEFT ? list->ring.next : list->ring.prev;
        i = LIST_OF(end, struct item, link);
        err = dict_read(&i->cell, i->bytes, out);
        if (err) {
            i = NULL;
        } else {
            size_t size = dict_size(i);
            take_out(list, i);
            dict_resized(&v, 0, size);
            dict_changed(&v, e);
            if (list->count == 0) dict_detach(&v, e);
        }
    }
    dict_sweep(&v);
    dict_leave(&v);
    if (i) dict_release_cell(&i->cell);
    return err;
}

int dict_length(struct dict *d, const struct dict_key *k, int64_t now, size_t *length) {
    struct visit v;
    struct entry *e = dict_enter(&v, d, k, now);
    int err = e && e->cell.kind != DICT_LIST ? ERR_WRONG_TYPE : 0;
    *length = e && err == 0 ? items_of(e)->count : 0;
    dict_leave(&v);
    return err;
}
