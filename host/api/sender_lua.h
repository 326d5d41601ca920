/* The sending end of ports: send, which waits while the queue is full, call, which also
 * waits for the answer, and transfer, the method of all that moves, which waits until
 * the receiver has taken it. A sender may itself be sent: it is a reference to its
 * port.
 *
 * Answers come to one port of the state, on its desk, which knows by number who waits.
 * The isolate's thread. */
#ifndef API_SENDER_LUA_H
#define API_SENDER_LUA_H

#include "api/desk.h"

/* Makes the class known; the desk is on top and stays. */
void sender_open(lua_State *L);

/* Adds send and call to the table on top: methods of handles that may stand for their
 * sender. */
void sender_lend(lua_State *L);

/* Pushes a sender of p, with a reference of its own. */
void sender_push(lua_State *L, struct port *p);

/* The same in two steps, of which only the first may raise: pushes one of no port. */
void *sender_push_empty(lua_State *L);
void sender_fill(void *sender, struct port *p);

/* Pushes a sender of the port of that name, if there is one. The generation has
 * commons.
 */
bool sender_push_named(lua_State *L, struct span name);

/* The port of the sender at index, borrowed; raises when it is none. */
struct port *sender_check(lua_State *L, int index);

/* The same where the handle of an isolate may stand for its sender, which then takes
 * its place on the stack. */
struct port *sender_check_either(lua_State *L, int index);

/* thing:transfer(to[, timeout]), for the methods of whatever is cargo that moves; needs
 * no upvalue. to: a sender, the handle of an isolate, or a name. True, or nil, a
 * sentence and a code, and then the thing is back in its handle. */
int sender_transfer(lua_State *L);

#endif
