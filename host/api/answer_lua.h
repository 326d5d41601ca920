/* The answers that come on a socket to our own HTTP requests: bytes go from the loop's
 * shared buffer through the parser to where the body is collected, without a Lua string
 * between. One reader per connection, used for one answer after the other.
 *
 * `reader(socket)` makes one. `head` waits for the head of the answer to the request
 * that was just written, `text` and `read` for its body; what goes wrong is nil, a
 * message and a code, and stays. `rest` puts the connection aside: it is then closed
 * when it has been idle for too long, and `wake` tells whether it can be used again.
 * All waits have two limits: one of their own, and one for the whole request.
 *
 * The thread that the state is on. */
#ifndef API_ANSWER_LUA_H
#define API_ANSWER_LUA_H

#include <lua.h>

/* Pushes the function that makes readers. */
void answer_push_maker(lua_State *L);

#endif
