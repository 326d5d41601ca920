/* What is published to a topic: bytes, and beside them what can be copied. It is read
 * only, shared by all who have yet to read it, and goes with the last of them.
 *
 * Who sends it on in another form makes that once for all and leaves it here. Any
 * thread. */
#ifndef ISOLATE_BULLETIN_H
#define ISOLATE_BULLETIN_H

#include "isolate/cargo.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { BULLETIN_FORMS = 4 };

/* What was made of it: bytes for somebody else. One with len 0 says that it cannot. */
struct bulletin_form {
    size_t len;
    char bytes[];
};

struct bulletin {
    atomic_uint references;
    unsigned cargo_count;
    struct cargo *cargo; /* owned */
    struct bulletin *next;
    uint64_t number; /* by order of publishing, from 1 */
    uint64_t place;  /* the same in its topic */
    _Atomic(struct bulletin_form *) forms[BULLETIN_FORMS];
    size_t len;
    char bytes[];
};

/* One reference; the bytes are to be written, cargo_count to be counted up. NULL
 * without memory. */
struct bulletin *bulletin_new(size_t len, unsigned cargo_count);
void bulletin_unref(struct bulletin *b); /* NULL is fine */

static inline void bulletin_ref(struct bulletin *b) {
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
}

/* Gives a reference up; one that was the last is added to *dead, to be freed where no
 * lock is held. */
void bulletin_drop(struct bulletin *b, struct bulletin **dead);
void bulletin_free_all(struct bulletin *dead);

/* NULL when nobody has made it yet. */
static inline struct bulletin_form *bulletin_form(struct bulletin *b, unsigned which) {
    return atomic_load_explicit(&b->forms[which], memory_order_acquire);
}

/* Room for len bytes; NULL without memory. */
struct bulletin_form *bulletin_form_new(size_t len);

/* Leaves it here; if somebody was faster it is freed. What is there now. */
struct bulletin_form *bulletin_form_set(struct bulletin *b, unsigned which,
                                        struct bulletin_form *form);

#endif
