/* Fibers that stand in line for something: a permit of a semaphore, a value of a
 * channel. Whoever is first is handed it before it runs again, so that nobody who comes
 * later can snatch it away.
 *
 * A place is a userdata on the stack of the function that waits, to be closed there.
 * When the fiber is cancelled, or its time is over, closing takes the place out of the
 * line, and what it had been handed but not taken yet goes to whoever is next. The
 * isolate's thread. */
#ifndef API_LINE_LUA_H
#define API_LINE_LUA_H

#include "isolate/sched.h"

struct place {
    struct waiter waiter;
    struct link link;   /* of the line; in none once it was handed something */
    bool handed;        /* and has not taken it */
    lua_Integer number; /* of what: the object's business */
};

/* Pushes a place at the end of the line, marked to be closed. kind is the name that
 * closing_kind was given, with what is called when a place is left in whatever way;
 * object is the index of what the line belongs to: the place's user value 1, and so
 * kept alive. Raises where a wait is impossible. */
struct place *line_enter(lua_State *L, struct link *line, const char *kind, int object);

/* The first of the line whose fiber still waits, or NULL; those before it are out. */
struct place *line_first(struct link *line);

/* Hands it what it waits for: out of the line, its fiber wakes. */
void line_hand(struct place *p);

/* Ends all waits of the line with nothing in hand. */
void line_clear(struct link *line);

/* Takes p out of its line. Whether it has in hand what its fiber has not taken; from
 * now on it has not. */
bool line_leave(struct place *p);

#endif
