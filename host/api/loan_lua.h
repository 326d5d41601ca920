/* Requests that go from isolate to isolate: req:transfer, req:respond and app:handle,
 * and the kind that lets a message carry a request.
 *
 * A request that has come in a message belongs to no fiber: whoever holds it answers,
 * with req:respond or by giving it to an app's routes; one that is dropped unanswered
 * is answered 500, or 503 when its state is closing. The first one makes a front for
 * the state (loan.h), where such requests live. The isolate's thread. */
#ifndef API_LOAN_LUA_H
#define API_LOAN_LUA_H

#include <lua.h>

/* Adds the methods to the table on top, and the kind to the metatable below it. */
void loan_open(lua_State *L);

/* atoll.core.loan: site(compiled) and handle(req, site). */
int luaopen_atoll_core_loan(lua_State *L);

#endif
