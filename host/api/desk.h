/* Where the messages of one state are packed and unpacked: a buffer, the messages being
 * read, and the port that answers to calls come to. An upvalue of all functions that
 * send or receive; what it holds is its own if one of them raises. While one of them
 * packs or unpacks a finalizer may call another.
 *
 * Putting a message takes its cargo out of the handles that a list holds, and puts all
 * of it back when the message does not go. The isolate's thread. */
#ifndef API_DESK_H
#define API_DESK_H

#include "base/buf.h"
#include "isolate/port.h"

#include <lua.h>

struct desk {
    struct message *arrived; /* being unpacked, the innermost first */
    struct port *answers;    /* made with the first call */
    struct link calls;
    uint64_t asked;
};

/* Pushes a new one. */
void desk_push(lua_State *L);

/* The running function's first upvalue. */
static inline struct desk *desk_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Pushes the table of the desk that serves as a list for what is put at once. */
void desk_push_list(lua_State *L);

/* The value at index as a message without its cargo, whose handles are then in the
 * table at `list`. May raise. */
struct message *desk_pack(lua_State *L, int index, int list);

/* Raises when something in the list cannot go now. */
void desk_check_cargo(lua_State *L, int list);

/* Of what was just checked; raises nothing. As port_put; as port_put_answer. */
int desk_put(lua_State *L, struct port *p, struct message *m, int list,
             struct port_wait *w);
int desk_put_answer(lua_State *L, struct port *p, struct message *m, int list);

/* Pushes what m holds; m is the desk's until it is taken back. */
void desk_unpack(lua_State *L, struct desk *d, struct message *m);
void desk_take_back(struct desk *d, struct message *m);

/* nil, sentence, code. */
int desk_failed(lua_State *L, int err);

#endif
