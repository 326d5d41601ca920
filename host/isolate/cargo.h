/* What travels beside a message's bytes: the senders of ports, which are copied, and
 * what moves, such as sockets: it has one owner at any time, and the handle left behind
 * says that it was transferred.
 *
 * A userdata can travel when its metatable has been marked with its kind. A message
 * that is sent first asks all its cargo whether it may go, then takes it: between the
 * two nothing may raise, so either all of it goes or nothing. At the other end handles
 * are made first, which may raise, and filled when nothing can fail any more. What
 * moves and does not arrive comes back and is put into the handle that it came from.
 * The thread that the state is on, but drop and copy: any. */
#ifndef ISOLATE_CARGO_H
#define ISOLATE_CARGO_H

#include <lua.h>
#include <stdbool.h>

struct loop;

struct cargo_kind {
    const char *name; /* "socket" */
    /* Why it cannot go now ("the socket is closed"), or NULL. */
    const char *(*refuse)(void *userdata);
    /* Whether it has ended, as may happen to it at any time: nobody is to blame, and it
       is not asked why it cannot go. NULL: never. */
    bool (*over)(void *userdata);
    /* Whether it can go only when the present turn of the loop is over; NULL: never. */
    bool (*early)(void *userdata);
    /* What travels, out of a userdata that may go: a new reference, or, of what moves,
       what it then leaves behind. */
    void *(*take)(void *userdata);
    /* Pushes a handle that is still empty, as one that was left behind is. The core,
       which may be looked at, is whose it was. */
    void (*make)(lua_State *L, void *core);
    /* Fills such a handle, or the one that the core was taken out of; if that was
       closed since, drops it. l is the isolate's, or NULL before there is one. */
    void (*put)(void *userdata, void *core, struct loop *l);
    /* It will not arrive. */
    void (*drop)(void *core);
    /* One more of it, for one more who gets it; NULL: it moves. */
    void *(*copy)(void *core);
};

static inline bool cargo_moves(const struct cargo_kind *kind) {
    return !kind->copy;
}

struct cargo {
    const struct cargo_kind *kind;
    void *core; /* NULL once it was put */
};

static inline bool cargo_is_over(const struct cargo_kind *kind, void *userdata) {
    return kind->over && kind->over(userdata);
}

/* Marks the metatable on top. kind has static storage. */
void cargo_mark(lua_State *L, const struct cargo_kind *kind);

/* The kind of the value at index, or NULL when it cannot travel. */
const struct cargo_kind *cargo_kind_of(lua_State *L, int index);

#endif
