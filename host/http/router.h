/* Which handler answers a path: patterns are added while an app loads, compiled once
 * per generation, and matched without allocation from then on. `/users/:id` takes one
 * segment that is not empty, `/files/` followed by `*path` takes all that is left, be
 * it nothing. At each place a literal segment beats `:name` beats `*name`, whatever the
 * order of adding, and a choice that leads nowhere is taken back. The trailing slash
 * counts. A method that the best pattern lacks is looked for in the next best.
 *
 * The path is what codec/target makes: decoded and normalised, but `%2F` and `%25` stay
 * as they came, since a slash inside a segment is no boundary; whoever hands the params
 * on decodes them. Literals are compared with that byte by byte, so a pattern writes a
 * percent sign as `%25`. A compiled router is immutable; any thread may match, the
 * loading thread adds. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include "base/span.h"
#include "http/pattern.h"

#include <stdint.h>

enum {
    ROUTER_PARAMS_MAX = PATTERN_PARAMS_MAX,
    ROUTER_METHODS_MAX = 32, /* distinct ones in one router */
    ROUTER_METHOD_MAX = 30,  /* bytes in a method's name */
    ROUTER_ALLOW_MAX = (ROUTER_METHODS_MAX + 8) * (ROUTER_METHOD_MAX + 2),
};

struct router;

enum route_outcome { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

struct route_param {
    struct span name, value; /* the name lives with the router, the value in the path */
};

struct route_match {
    enum route_outcome outcome;
    uint32_t handler;
    uint32_t visited;    /* places looked at: at most router_size() */
    uint8_t param_count; /* in the order of the pattern */
    struct span pattern; /* lives with the router */
    struct route_param params[ROUTER_PARAMS_MAX];
};

struct route_entry {
    struct span method, pattern; /* live with the router */
    uint32_t handler;
};

/* NULL when memory has run out. */
struct router *router_new(void);
void router_free(struct router *r);

/* method is a token, compared with its case (RFC 9110 9.1), or "*" for all. Copies what
 * it keeps. 0, or ERR_SYNTAX, -EEXIST or ERR_MEMORY with *why saying what is wrong; the
 * text is valid until the next call on r. */
int router_add(struct router *r, struct span method, struct span pattern,
               uint32_t handler, const char **why);

/* Ends the adding; only then may r be matched. 0 or ERR_MEMORY. */
int router_compile(struct router *r);

/* HEAD is answered by GET where it has no route of its own. Of out->params only the
 * first param_count are written. Bounded by the size of the table and the length of the
 * path, whatever they hold. */
void router_match(const struct router *r, struct span method, struct span path,
                  struct route_match *out);

/* Writes "GET, HEAD, OPTIONS" for the methods that have a route for path, sorted, with
 * HEAD where GET is and OPTIONS always, and returns its length; 0 for a path that no
 * route knows. out has room for ROUTER_ALLOW_MAX bytes; no NUL is written. */
size_t router_allow(const struct router *r, struct span path, char *out);

/* The routes in the order of their adding. */
uint32_t router_count(const struct router *r);
struct route_entry router_entry(const struct router *r, uint32_t i);

/* Places in the compiled table. */
uint32_t router_size(const struct router *r);

#endif
