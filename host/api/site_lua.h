/* A site is what answers requests: the compiled routes of an app, with references to
 * its handlers and to what answers where there is none. A generation has the one of its
 * app directory; a script may have more, one for each http.serve.
 *
 * site_load takes what atoll.compile made. The thread that the state is on. */
#ifndef API_SITE_LUA_H
#define API_SITE_LUA_H

#include "http/router.h"
#include "isolate/sched.h"

#include <lua.h>

enum { SITE_NOT_FOUND = UINT32_MAX }; /* in place of a handler's number */

struct site {
    struct router *router;
    int *handlers;        /* registry references by the router's handler numbers */
    char **sources;       /* "app.lua:12" */
    bool *takes_response; /* the handler looks at a second argument */
    uint32_t count;
    int not_found, on_error; /* references, or LUA_NOREF */
    enum fiber_kind kind;    /* of the fibers that answer */
};

/* Without routes; site_free may follow. */
void site_init(struct site *s);

/* Fills a site without routes from the table on top of the stack. What it has when this
 * raises is for site_free. */
void site_load(lua_State *L, struct site *s);

/* Gives the references back, for a site that ends before its state does. */
void site_unref(lua_State *L, struct site *s);

void site_free(struct site *s);

/* A reference to the field of the table on top of the stack; LUA_NOREF for nil. */
int site_hook(lua_State *L, const char *name);

#endif
