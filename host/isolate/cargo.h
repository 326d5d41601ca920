/* What travels beside a message's bytes: the senders of ports, which are copied, and
 * what moves, such as sockets: it has one owner at any time, and the handle left behind
 * says that it was transferred.
 *
 * A userdata can travel when its metatable has been marked with its kind. A message
 * that is sent first asks of all its cargo whether it may go, then takes it: between
 * the two nothing may raise, so either all of it goes or nothing. The thread that the
 * state is on, but drop and copy: any. */
#ifndef ISOLATE_CARGO_H
#define ISOLATE_CARGO_H

#include <lua.h>
#include <stdbool.h>

struct cargo_kind {
    const char *name; /* "socket" */
    /* Raises, saying why, when the userdata at index cannot go now. */
    void (*check)(lua_State *L, int index);
    /* What travels, out of the userdata that was just checked: a new reference, or what
       it then leaves behind. */
    void *(*take)(void *userdata);
    /* It did not go: as before take. */
    void (*put_back)(void *userdata, void *core);
    /* Pushes a handle at the other end. It owns core from then on; when it raises, the
       message still does. */
    void (*give)(lua_State *L, void *core);
    /* It will not arrive. */
    void (*drop)(void *core);
    /* One more of it, for one more who gets it; NULL: it moves. */
    void *(*copy)(void *core);
};

struct cargo {
    const struct cargo_kind *kind;
    void *core; /* NULL once it was given */
};

/* Marks the metatable on top. kind has static storage. */
void cargo_mark(lua_State *L, const struct cargo_kind *kind);

/* The kind of the value at index, or NULL when it cannot travel. */
const struct cargo_kind *cargo_kind_of(lua_State *L, int index);

#endif
