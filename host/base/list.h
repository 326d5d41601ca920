/* A doubly linked ring that lives inside its members. An empty ring and a member
 * that is in no ring both point at themselves, so unlinking twice does no harm.
 *
 * Declare `struct link` inside the member, recover the member with LIST_OF. The ring
 * owns nothing. One thread at a time, or under the owner's lock. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next, *prev;
};

#define LIST_OF(pointer, type, member)                                                 \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct link *l) {
    l->next = l->prev = l;
}

static inline bool list_empty(const struct link *l) {
    return l->next == l;
}

static inline void list_unlink(struct link *l) {
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

/* Puts l, which is in no ring, last in the ring of head. */
static inline void list_append(struct link *head, struct link *l) {
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline void list_prepend(struct link *head, struct link *l) {
    list_append(head->next, l);
}

static inline struct link *list_first(struct link *head) {
    return list_empty(head) ? NULL : head->next;
}

/* Moves all members of from to the end of to. */
static inline void list_splice(struct link *to, struct link *from) {
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
