/* `req`: a parsed request in Lua's hands. A userdata that points at its exchange while
 * the request lasts; afterwards every use raises "the request is over". Fields are made
 * when first read.
 *
 * `res` shares it. Both are made inside the fiber that answers. The isolate's thread.
 */
#ifndef API_REQUEST_LUA_H
#define API_REQUEST_LUA_H

#include "http/exchange.h"
#include "isolate/sched.h"

#include <lua.h>

struct headers;
struct litter;
struct vigil;

enum request_end { REQUEST_OVER, REQUEST_TRANSFERRED, REQUEST_HANDED_ON };

struct request {
    uint32_t magic;
    struct exchange *x;      /* NULL when it is over, or elsewhere */
    struct fiber *fiber;     /* that answers, or has; NULL when it has ended */
    struct front *front;     /* where it comes back to, when it was transferred */
    struct headers *headers; /* NULL until it is asked for */
    struct litter *litter;   /* files to remove */
    struct vigil *vigil;     /* the same */
    struct waiter body, output;
    int64_t kept; /* until when the client kept it waiting for the body; 0: never */
    struct buf scratch;   /* an encoded body on its way */
    size_t sent;          /* of the piece being sent */
    int status;           /* res.status; 0 when not set */
    bool has_res;         /* a res was made: its headers count */
    bool has_trailers;    /* so do those */
    bool in_piece;        /* of the body, which waits to be sent on */
    bool left;            /* as x said when it was still there */
    bool came_with_fiber; /* and not in a message */
    uint8_t end;          /* enum request_end: why x is NULL */
};

/* Pushes a new one for x, whose handle it becomes; f answers. */
struct request *request_push(lua_State *L, struct exchange *x, struct fiber *f);

bool request_is(lua_State *L, int index);

/* The request at index; raises when it is none or, with alive, over. */
struct request *request_check(lua_State *L, int index, bool alive);

/* The same for what is known to be one, as at index 1 of a fiber's own functions. */
struct request *request_alive(lua_State *L, int index);

/* The exchange is let go: r answers no more. */
void request_over(struct request *r);

/* A handle without an exchange. Pushed. */
struct request *request_new(lua_State *L);

/* r and its exchange know of each other; or r not of it any more. */
void request_join(struct request *r, struct exchange *x);
void request_part(struct request *r, enum request_end how);

/* What using r raises now that it is over. */
const char *request_why_over(const struct request *r);

/* Pushes the table of what was made for the request at index (ctx, query, ...). */
void request_cache(lua_State *L, int index);

enum { REQUEST_CACHE = 1 }; /* the user value that is that table, or nil */

/* atoll.core.request: the methods, to which Lua adds its own. */
int luaopen_atoll_core_request(lua_State *L);

/* http_app's functions pointing up. */
void request_woken_body(struct exchange *x);
void request_woken_output(struct exchange *x);
void request_gone(struct exchange *x);

#endif
