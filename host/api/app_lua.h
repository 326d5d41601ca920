/* The app that a generation has loaded, as the front sees it: the compiled router, the
 * handlers' references, the hooks; and the way of a request into a fiber and of what
 * the handler returned into a response.
 *
 * app_open is the generation plan's `open`: it makes every module known, runs boot.lua,
 * and loads the app directory or leaves a script to be run. app_http are the functions
 * that an isolate's front calls; front->app_data is the isolate. The isolate's thread,
 * but app_open: the loader's. */
#ifndef API_APP_LUA_H
#define API_APP_LUA_H

#include "api/site_lua.h"
#include "http/exchange.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

struct form_limits;
struct nursery;
struct clones;
struct once;
struct script_signals;

/* What app_open is given as plan->data; borrowed. */
struct app_options {
    const char *appdir; /* absolute; NULL for a script */
    const char *prefix; /* of all its paths, "/shop"; or NULL */
    const char *script; /* a file to run instead, or NULL */
    const char *module; /* a module to run instead, or NULL */
    int argc;           /* of the script */
    char **argv;
    bool strict, compat_path, compat_lua51, compat_ngx, dev;
    int links; /* enum shelf_links of files where the app says nothing */
    unsigned isolates;
    bool bare;                      /* a state of atoll.blocking: no app is loaded */
    struct blocking_site *blocking; /* that of such states; NULL: there are none */
    const char *version;
    struct nursery *nursery; /* of spawned isolates; NULL: there are none */
    bool child;              /* one of these: appdir is only where its modules are */
    const struct front_limits *limits; /* for what a script serves */
    const struct form_limits *forms;   /* NULL: the defaults */
    bool json_access;                  /* how it logs requests given to it */
    struct clones *clones; /* its listening sockets; NULL: none are shared */
    struct once *once;     /* the host's jobs; NULL when it has none to share */
    struct script_signals *signals; /* of a script or module */
    /* Lua ran out of memory in a request; called on the isolate's thread, outside Lua.
     */
    void (*out_of_memory)(struct generation *g);
    /* The script or module ends the program: the fiber never goes on. The same. */
    void (*exit)(struct generation *g, int code);
    /* The app of a generation was closed and needs the options no more. */
    void (*closed)(const struct app_options *o);
    /* A copy of them is in use, until closed is called for it. */
    void (*copied)(const struct app_options *o);
    void *owner;
};

struct app {
    uint32_t magic;
    struct site site;        /* without routes in a script's generation */
    int start, reload, stop; /* references, or LUA_NOREF */
    int request_metatable;
    int code;              /* with which a script has ended */
    struct link listeners; /* a script's, for signals */
    struct link sockets;   /* websocket_handle, those that want to know of new code */
    struct link streams;   /* of events: struct vigil */
    const struct app_options *options;
};

extern const struct http_app app_http;

/* Answers x with the site's handlers, in a fiber of its generation, as app_http.request
 * does with those of the isolate's current one. The site outlives the exchange. */
void app_serve(struct exchange *x, struct generation *g, const struct site *site);

/* The same from inside a fiber: x is answered at the end of the turn. */
void app_serve_later(struct exchange *x, struct generation *g, const struct site *site);

/* f, whose request was elsewhere, answers x again. */
void app_take_back(struct fiber *f, struct exchange *x);

int app_open(lua_State *L, struct generation *g, void *data);
/* The generation plan's `unopened`. */
void app_unopened(void *options);

struct app *app_of(lua_State *L);

/* Pushes the request that the fiber of L answers; nil in another fiber or outside any.
 */
void app_push_request(lua_State *L);

#endif
