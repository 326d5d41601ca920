/* Where the messages of one state are packed and unpacked: a buffer, the messages being
 * written and read, and the port that answers, receipts and returns come to. Found in
 * the registry, or as the upvalue of functions that send or receive; what it holds is
 * its own if one of them raises. A finalizer may send in the middle of a sending.
 *
 * Putting a message takes its cargo out of the handles that a list holds, and puts all
 * of it back when the message does not go. What moves has its handle noted, weakly: if
 * the message comes to nothing later, it comes back and is put into the handle again,
 * or dropped when nobody has that any more. The isolate's thread. */
#ifndef API_DESK_H
#define API_DESK_H

#include "base/buf.h"
#include "isolate/port.h"
#include "isolate/sched.h"

#include <lua.h>

struct desk {
    lua_State *L; /* the state's own */
    struct buf bytes;
    struct message *packed;  /* until it is put or taken over */
    struct message *arrived; /* being unpacked, the innermost first */
    struct port *answers;    /* made when it is first needed */
    struct link calls;       /* struct desk_call */
    uint64_t counted;        /* calls and handles */
    struct deferred tidy;    /* after something was raised */
    bool packing;
    bool over; /* the state is being closed */
};

/* A fiber that waits for an answer or a receipt. In memory of Lua's. */
struct desk_call {
    struct link link;
    struct waiter waiter;
    uint64_t number;        /* 0: it waits for none */
    struct message *answer; /* its own, when it has come */
};

/* Pushes a new one, the state's. */
void desk_push(lua_State *L);

/* The state's; opens atoll.core.port when nobody has. */
struct desk *desk_find(lua_State *L);

/* The running function's first upvalue. */
static inline struct desk *desk_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Pushes a table that serves as a list for what is put at once. */
void desk_push_list(lua_State *L, struct desk *d);

/* Empties one. */
void desk_clear_list(lua_State *L, int list);

/* The value at index as a message, the desk's `packed`, without its cargo, whose
 * handles are then in the table at `list`. May raise. */
struct message *desk_pack(lua_State *L, struct desk *d, int index, int list);

/* The desk's `packed` is the caller's now. */
struct message *desk_take(struct desk *d);

/* The port for answers; NULL before there is an isolate. Raises without memory. */
struct port *desk_answers(lua_State *L, struct desk *d);

/* c waits for what m, which holds what moves or gets desk_answers as its reply, wants.
 */
void desk_expect(struct desk *d, struct desk_call *c, struct message *m,
                 enum message_wants wants);

/* Whether something in the list cannot go in this turn of the loop, but in the next. */
bool desk_is_early(lua_State *L, const struct message *m, int list);

/* Whether something in the list has ended. */
bool desk_is_over(lua_State *L, const struct message *m, int list);

/* Takes the cargo out of its handles, and puts it back. With nothing taken desk_load
 * gives ERR_CLOSED when something in the list has ended, and raises when something else
 * keeps it from going. */
int desk_load(lua_State *L, struct message *m, int list);
void desk_unload(lua_State *L, struct message *m, int list);

/* As port_put; as port_put_answer; with the cargo. May raise as desk_load. A `packed`
 * that was put is no longer the desk's. */
int desk_put(lua_State *L, struct desk *d, struct port *p, struct message *m, int list,
             struct port_wait *w);
int desk_put_answer(lua_State *L, struct desk *d, struct port *p, struct message *m,
                    int list);

/* It will not be put: the handles need not be found again. */
void desk_forget(lua_State *L, struct desk *d, const struct message *m, int list);

/* The desk takes m over, which is freed soon if something raises now. */
void desk_accept(lua_State *L, struct desk *d, struct message *m);

/* Pushes what m, which was accepted, holds, and returns it to the caller. Nothing may
 * raise then until it is freed or belongs to something. */
struct message *desk_unpack(lua_State *L, struct desk *d, struct message *m);

/* nil, sentence, code. */
int desk_failed(lua_State *L, int err);

#endif
