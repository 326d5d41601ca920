/* A WebSocket as Lua sees it: receive, messages, send, ping, close, and what it is. A
 * server's has a handler that runs in a fiber of its own, begun when the request's has
 * answered 101; how the handler ends is how the socket is closed. A client's, or one
 * that came in a message, is whoever's has it.
 *
 * The userdata outlives the socket. A closed one answers nil, "closed", "ECLOSED"; one
 * that was transferred (cargo.h) raises. The thread that the state is on. */
#ifndef API_WEBSOCKET_LUA_H
#define API_WEBSOCKET_LUA_H

#include "api/request_lua.h"
#include "http/websocket.h"
#include "isolate/budget.h"
#include "isolate/cargo.h"

struct websocket_handle {
    uint32_t magic;
    struct websocket *w;       /* NULL: over for this handle */
    bool away;                 /* transferred, or not yet filled */
    bool resumed;              /* came from an older generation */
    uint16_t code;             /* of its end, once w is NULL */
    char *reason;              /* the same */
    struct front *front;       /* that it was of before it was transferred */
    struct fiber *fiber;       /* the handler's, or NULL */
    int arguments;             /* with which that is to be begun; 0 once it was */
    bool served;               /* a handler was begun for it, perhaps it has ended */
    bool asked;                /* new code is there: its function is to be called */
    bool moved;                /* away, to new code */
    struct budget_share share; /* what it has sent, and the peer has not taken */
    struct link member;        /* of the app's sockets that want to know of new code */
    struct waiter reader;
    struct link writers; /* struct writer */
};

/* Pushes a closed handle; websocket_hold gives it w, whose user it becomes. */
struct websocket_handle *websocket_push(lua_State *L);
void websocket_hold(struct websocket_handle *h, struct websocket *w);

/* What w's `ops` is of all websockets that have a handle. */
extern const struct websocket_user websocket_ops;

/* The argument's handle; raises when it is none, or was transferred. */
struct websocket_handle *websocket_check(lua_State *L, int index);

/* The handle lets go of its socket, closing it if it is open, and keeps how it ended.
 */
void websocket_let_go(struct websocket_handle *h, unsigned code);

/* What a handle keeps beside itself. */
enum websocket_kept {
    WEBSOCKET_CACHE = 1, /* what the request had made of itself */
    WEBSOCKET_REQUEST,
    WEBSOCKET_RELOAD, /* a function */
    WEBSOCKET_STATE,
};

/* Takes the value on top; pushes it, or nil. The handle is at index. */
void websocket_keep(lua_State *L, int index, enum websocket_kept what);
void websocket_push_kept(lua_State *L, int index, enum websocket_kept what);

/* receive's continuation: index 1 is the handle. */
int websocket_receiving(lua_State *L, int status, lua_KContext deadline);

/* Whether a fiber waits to send. */
bool websocket_is_awaited(const struct websocket_handle *h);

/* What using a handle raises whose socket was transferred. */
extern const char websocket_away[];

extern const struct cargo_kind websocket_cargo;

/* ws:subscribe(topic[, options]), ws:unsubscribe(topic), and how many messages did not
 * reach it that way. */
int websocket_subscribe(lua_State *L);
int websocket_unsubscribe(lua_State *L);
uint64_t websocket_missed(const struct websocket *w);

/* ---- a server's ---- */

/* Answers the request at index 1 with 101, and then runs the handler. route is a table:
 * handler, takes (whether it takes a request), protocols, message_max, ping. The fields
 * of the answer are prepared. */
int websocket_accept(lua_State *L, struct request *r, int route);

/* Pushes the request that the socket of the handle at index began as, or nil. */
void websocket_push_request(lua_State *L, int index);

/* The handler begins: index 1 to 3 are the handle, the handler and whether it takes a
 * request. f is its fiber. */
int websocket_serve(lua_State *L);
void websocket_serve_with(struct websocket_handle *h, struct fiber *f);

/* The front's, and what the route at index says. */
struct websocket_limits websocket_route_limits(lua_State *L, const struct front *f,
                                               int route);

/* ---- new code ---- */

/* on("reload", fn) */
int websocket_on(lua_State *L);

/* Asks the function, in a receive, and goes on with that. */
int websocket_ask(lua_State *L, lua_KContext deadline);

/* New code is there: all of these are to be asked. */
void websocket_retire(struct link *handles);

/* Adds the functions of servers to the module on top. */
void websocket_open_serving(lua_State *L);

int luaopen_atoll_core_websocket(lua_State *L);

#endif
