#include "http/router.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/err.h"
#include "http/pattern.h"

#include <stdio.h>
#include <stdlib.h>

/* Patterns are a tree of segments, so a place in the tree stands for one depth and a
 * search, which walks it depth first in the order of preference, sees each place at
 * most once: that is the bound. Children are found in one table for the whole tree, by
 * the parent and the segment. Patterns without params are in a second table by the
 * whole path; they are what such a search would find first. Indices, not pointers: the
 * arrays grow while patterns are added. */

enum { NONE = UINT32_MAX, METHOD_IDS = ROUTER_METHODS_MAX + 8 };

struct node {
    struct span segment; /* the literal that leads here; .at is NULL for a param */
    struct span path;    /* the pattern, when no param is in it and it has routes */
    uint32_t parent;
    uint32_t param;        /* the child behind `:name` */
    uint32_t routes, rest; /* that end here; that take what is left from here */
    bool has_literals;
};

struct route {
    struct span pattern;
    const struct span *names;
    uint32_t handler, next;
    uint8_t method, param_count;
};

struct slot {
    uint32_t hash, node;
};

struct table {
    struct slot *slots;
    uint32_t mask, count;
};

struct router {
    struct arena arena;
    struct node *nodes;
    struct route *routes;
    uint32_t node_count, node_capacity, route_count, route_capacity;
    struct table children, paths;
    struct span methods[METHOD_IDS];
    uint8_t sorted[METHOD_IDS];
    uint32_t method_count, any, get, head, options;
    bool compiled;
    char why[160];
};

static const struct span any_methods[] = {SPAN("DELETE"), SPAN("GET"), SPAN("PATCH"),
                                          SPAN("POST"), SPAN("PUT")};

/* For whole paths: eight bytes at a time. */
static uint32_t hash_path(struct span s) {
    const uint64_t k = 0x9e3779b97f4a7c15u;
    uint64_t h = s.len * k, word;
    for (; s.len >= 8; s.at += 8, s.len -= 8) {
        memcpy(&word, s.at, 8);
        h = (h ^ word) * k;
        h ^= h >> 32;
    }
    if (s.len >= 4) { /* two halves that overlap */
        uint32_t half, other;
        memcpy(&half, s.at, 4);
        memcpy(&other, s.at + s.len - 4, 4);
        word = (uint64_t)half << 32 | other;
    } else {
        for (word = 0; s.len; s.at++, s.len--) word = word << 8 | (unsigned char)*s.at;
    }
    h = (h ^ word) * k;
    return (uint32_t)(h ^ h >> 32);
}

/* Finds the end of a segment, and its hash on the way. */
static const char *scan_segment(const char *at, const char *end, uint32_t *hash) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; at < end && *at != '/'; at++) h = (h ^ (unsigned char)*at) * 0x100000001b3u;
    *hash = (uint32_t)(h ^ h >> 32);
    return at;
}

static uint32_t hash_child(uint32_t parent, uint32_t segment) {
    uint32_t h = (segment ^ (parent * 0x9e3779b1u)) * 0x85ebca6bu;
    return h ^ h >> 15;
}

static void table_put(struct table *t, uint32_t hash, uint32_t node) {
    uint32_t i = hash & t->mask;
    while (t->slots[i].node != NONE) i = (i + 1) & t->mask;
    t->slots[i] = (struct slot){hash, node};
    t->count++;
}

/* Room for one more, at most half full. */
static int table_reserve(struct table *t) {
    if (t->slots && (t->count + 1) * 2 <= t->mask + 1) return 0;
    uint32_t size = t->slots ? (t->mask + 1) * 2 : 16;
    struct slot *slots = malloc(size * sizeof *slots);
    if (!slots) return ERR_MEMORY;
    for (uint32_t i = 0; i < size; i++) slots[i].node = NONE;
    struct table bigger = {slots, size - 1, 0};
    for (uint32_t i = 0; t->slots && i <= t->mask; i++)
        if (t->slots[i].node != NONE)
            table_put(&bigger, t->slots[i].hash, t->slots[i].node);
    free(t->slots);
    *t = bigger;
    return 0;
}

/* hash is of the segment alone. */
static uint32_t child(const struct router *r, uint32_t parent, struct span segment,
                      uint32_t hash) {
    const struct table *t = &r->children;
    if (!t->slots) return NONE;
    hash = hash_child(parent, hash);
    for (uint32_t i = hash & t->mask; t->slots[i].node != NONE; i = (i + 1) & t->mask) {
        if (t->slots[i].hash != hash) continue;
        const struct node *n = &r->nodes[t->slots[i].node];
        if (n->parent == parent && span_eq(n->segment, segment))
            return t->slots[i].node;
    }
    return NONE;
}

static void *grown(void *array, uint32_t count, uint32_t *capacity, size_t each) {
    if (count < *capacity) return array;
    uint32_t bigger = *capacity ? *capacity * 2 : 16;
    void *moved = realloc(array, bigger * each);
    if (moved) *capacity = bigger;
    return moved;
}

static uint32_t add_node(struct router *r, uint32_t parent, struct span segment) {
    void *nodes = grown(r->nodes, r->node_count, &r->node_capacity, sizeof *r->nodes);
    if (!nodes) return NONE;
    r->nodes = nodes;
    r->nodes[r->node_count] = (struct node){.segment = segment,
                                            .parent = parent,
                                            .param = NONE,
                                            .routes = NONE,
                                            .rest = NONE};
    return r->node_count++;
}

struct router *router_new(void) {
    struct router *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    arena_init(&r->arena, NULL, 0);
    r->any = r->get = r->head = r->options = NONE;
    if (add_node(r, NONE, (struct span){0}) == NONE) {
        router_free(r);
        return NULL;
    }
    return r;
}

void router_free(struct router *r) {
    if (!r) return;
    arena_reset(&r->arena);
    free(r->nodes);
    free(r->routes);
    free(r->children.slots);
    free(r->paths.slots);
    free(r);
}

/* --- adding --- */

/* A token of RFC 9110 5.6.2, or "*", which is one. */
static bool method_ok(struct span s) {
    if (s.len == 0 || s.len > ROUTER_METHOD_MAX) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c)) return false;
    }
    return true;
}

static bool same(const char *a, const char *b, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* Methods are short: a call of memcmp would cost more. */
static uint32_t find_method(const struct router *r, struct span method) {
    if (r->compiled && method.len == 3 && same(method.at, "GET", 3)) return r->get;
    for (uint32_t i = 0; i < r->method_count; i++)
        if (r->methods[i].len == method.len &&
            same(r->methods[i].at, method.at, method.len))
            return i;
    return NONE;
}

static uint32_t add_method(struct router *r, struct span method) {
    uint32_t id = find_method(r, method);
    if (id != NONE || r->method_count == METHOD_IDS) return id;
    struct span copy = arena_copy(&r->arena, method);
    if (!copy.at) return NONE;
    r->methods[r->method_count] = copy;
    return r->method_count++;
}

/* The place behind the segments, made where it is missing. */
static uint32_t make_place(struct router *r, const struct pattern *p) {
    uint32_t at = 0;
    for (unsigned i = 0; i < p->segment_count - p->has_rest; i++) {
        struct span s = p->segments[i];
        bool param = s.len && s.at[0] == ':';
        uint32_t hash;
        scan_segment(s.at, s.at + s.len, &hash);
        uint32_t next = param ? r->nodes[at].param : child(r, at, s, hash);
        if (next == NONE) {
            if (!param && table_reserve(&r->children)) return NONE;
            next = add_node(r, at, param ? (struct span){0} : s);
            if (next == NONE) return NONE;
            if (param) {
                r->nodes[at].param = next;
            } else {
                r->nodes[at].has_literals = true;
                table_put(&r->children, hash_child(at, hash), next);
            }
        }
        at = next;
    }
    return at;
}

int router_add(struct router *r, struct span method, struct span pattern,
               uint32_t handler, const char **why) {
    CHECK(!r->compiled);
    struct pattern p;
    if (!method_ok(method)) {
        *why = "the method is not a token";
        return ERR_SYNTAX;
    }
    if ((*why = pattern_parse(pattern, &p))) return ERR_SYNTAX;
    if (r->method_count >= ROUTER_METHODS_MAX && find_method(r, method) == NONE) {
        *why = "too many different methods";
        return ERR_SYNTAX;
    }
    *why = "not enough memory";
    uint32_t id = add_method(r, method);
    struct span copy = arena_copy(&r->arena, pattern);
    struct span *names = arena_alloc(&r->arena, (p.param_count + 1) * sizeof *names);
    void *routes =
        grown(r->routes, r->route_count, &r->route_capacity, sizeof *r->routes);
    if (routes) r->routes = routes;
    if (id == NONE || !copy.at || !names || !routes) return ERR_MEMORY;
    for (unsigned i = 0; i < p.param_count; i++)
        names[i] = span_of(copy.at + (p.names[i].at - pattern.at), p.names[i].len);
    for (unsigned i = 0; i < p.segment_count; i++)
        p.segments[i].at = copy.at + (p.segments[i].at - pattern.at);

    uint32_t place = make_place(r, &p);
    if (place == NONE) return ERR_MEMORY;
    struct node *n = &r->nodes[place];
    uint32_t *chain = p.has_rest ? &n->rest : &n->routes;
    for (; *chain != NONE; chain = &r->routes[*chain].next) {
        const struct route *old = &r->routes[*chain];
        if (old->method != id) continue;
        snprintf(r->why, sizeof r->why, "%.*s %.*s is there already", (int)method.len,
                 method.at, old->pattern.len > 100 ? 100 : (int)old->pattern.len,
                 old->pattern.at);
        *why = r->why;
        return -EEXIST;
    }
    *chain = r->route_count;
    if (p.param_count == 0) n->path = copy;
    r->routes[r->route_count++] = (struct route){.pattern = copy,
                                                 .names = names,
                                                 .handler = handler,
                                                 .next = NONE,
                                                 .method = (uint8_t)id,
                                                 .param_count = (uint8_t)p.param_count};
    *why = NULL;
    return 0;
}

static int by_text(struct span a, struct span b) {
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

int router_compile(struct router *r) {
    CHECK(!r->compiled);
    r->any = find_method(r, SPAN("*"));
    r->get = add_method(r, SPAN("GET"));
    r->head = add_method(r, SPAN("HEAD"));
    r->options = add_method(r, SPAN("OPTIONS"));
    if (r->get == NONE || r->head == NONE || r->options == NONE) return ERR_MEMORY;
    for (unsigned i = 0; r->any != NONE && i < sizeof any_methods / sizeof *any_methods;
         i++)
        if (add_method(r, any_methods[i]) == NONE) return ERR_MEMORY;
    for (uint32_t i = 0; i < r->method_count; i++) {
        uint32_t at = i;
        for (; at && by_text(r->methods[i], r->methods[r->sorted[at - 1]]) < 0; at--)
            r->sorted[at] = r->sorted[at - 1];
        r->sorted[at] = (uint8_t)i;
    }
    for (uint32_t i = 0; i < r->node_count; i++) {
        if (!r->nodes[i].path.at) continue;
        if (table_reserve(&r->paths)) return ERR_MEMORY;
        table_put(&r->paths, hash_path(r->nodes[i].path), i);
    }
    r->compiled = true;
    return 0;
}

/* --- matching --- */

struct search {
    const struct router *r;
    const char *end;
    uint32_t method, found, visited;
    uint64_t allowed; /* the ids of the methods that the path has */
    unsigned split;   /* how many of the segments are known */
    struct {
        const char *end;
        uint32_t hash;
    } segments[PATTERN_SEGMENTS_MAX];
    struct span values[ROUTER_PARAMS_MAX];
};

/* Takes the best of the routes at one place for the method, if there is one. */
static bool accept(struct search *s, uint32_t at) {
    const struct router *r = s->r;
    int best = 0;
    for (; at != NONE; at = r->routes[at].next) {
        uint32_t method = r->routes[at].method;
        s->allowed |= UINT64_C(1) << method;
        if (s->method == NONE) continue;
        int rank = method == s->method                        ? 3
                   : method == r->get && s->method == r->head ? 2
                   : method == r->any                         ? 1
                                                              : 0;
        if (rank <= best) continue;
        best = rank;
        s->found = at;
    }
    return best != 0;
}

static bool walk(struct search *s, uint32_t place, unsigned depth, const char *at,
                 unsigned params);

/* Goes on at a child whose segment ends at end. */
static bool step(struct search *s, uint32_t next, unsigned depth, const char *end,
                 unsigned params) {
    if (end != s->end) return walk(s, next, depth + 1, end + 1, params);
    s->visited++;
    return accept(s, s->r->nodes[next].routes);
}

static bool walk(struct search *s, uint32_t place, unsigned depth, const char *at,
                 unsigned params) {
    const struct node *n = &s->r->nodes[place];
    s->visited++;
    if (n->has_literals || n->param != NONE) {
        if (depth == s->split)
            s->segments[s->split++].end =
                scan_segment(at, s->end, &s->segments[depth].hash);
        const char *end = s->segments[depth].end;
        struct span segment = span_of(at, (size_t)(end - at));
        uint32_t next = NONE;
        if (n->has_literals)
            next = child(s->r, place, segment, s->segments[depth].hash);
        if (next != NONE && step(s, next, depth, end, params)) return true;
        if (n->param != NONE && segment.len) {
            s->values[params] = segment;
            if (step(s, n->param, depth, end, params + 1)) return true;
        }
    }
    if (n->rest == NONE || !accept(s, n->rest)) return false;
    s->values[params] = span_of(at, (size_t)(s->end - at));
    return true;
}

static uint32_t find_path(const struct router *r, struct span path) {
    const struct table *t = &r->paths;
    if (!t->slots) return NONE;
    uint32_t hash = hash_path(path);
    for (uint32_t i = hash & t->mask; t->slots[i].node != NONE; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash && span_eq(r->nodes[t->slots[i].node].path, path))
            return t->slots[i].node;
    return NONE;
}

static void start(struct search *s, const struct router *r, uint32_t method,
                  struct span path) {
    CHECK(r->compiled);
    s->r = r;
    s->end = path.at + path.len;
    s->method = method;
    s->found = NONE;
    s->visited = 0;
    s->allowed = 0;
    s->split = 0;
}

/* An unknown method may still be one that "*" takes. */
enum { UNKNOWN = NONE - 1 };

/* The route at place that names the method itself; NONE may still be one that does not.
 */
static uint32_t exact_route(const struct router *r, uint32_t place, uint32_t method) {
    uint32_t at = place == NONE ? NONE : r->nodes[place].routes;
    while (at != NONE && r->routes[at].method != method) at = r->routes[at].next;
    return at;
}

void router_match(const struct router *r, struct span method, struct span path,
                  struct route_match *out) {
    uint32_t id = find_method(r, method), place = find_path(r, path);
    uint32_t exact = exact_route(r, place, id);
    if (exact != NONE) {
        const struct route *route = &r->routes[exact];
        out->outcome = ROUTE_FOUND;
        out->handler = route->handler;
        out->pattern = route->pattern;
        out->visited = 1;
        out->param_count = 0;
        return;
    }
    struct search s;
    start(&s, r, id == NONE ? (uint32_t)UNKNOWN : id, path);
    if (place != NONE) {
        s.visited++;
        accept(&s, r->nodes[place].routes);
    }
    if (s.found == NONE && path.len && path.at[0] == '/') {
        s.visited = 0;
        walk(&s, 0, 0, path.at + 1, 0);
    }
    out->visited = s.visited;
    out->param_count = 0;
    if (s.found == NONE) {
        out->outcome = s.allowed ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
        out->handler = 0;
        out->pattern = (struct span){0};
        return;
    }
    const struct route *route = &r->routes[s.found];
    out->outcome = ROUTE_FOUND;
    out->handler = route->handler;
    out->pattern = route->pattern;
    out->param_count = route->param_count;
    for (unsigned i = 0; i < route->param_count; i++)
        out->params[i] = (struct route_param){route->names[i], s.values[i]};
}

size_t router_allow(const struct router *r, struct span path, char *out) {
    struct search s;
    start(&s, r, NONE, path);
    if (path.len && path.at[0] == '/') walk(&s, 0, 0, path.at + 1, 0);
    if (!s.allowed) return 0;
    uint64_t allowed = s.allowed | UINT64_C(1) << r->options;
    if (r->any != NONE && allowed >> r->any & 1) {
        allowed &= ~(UINT64_C(1) << r->any);
        for (unsigned i = 0; i < sizeof any_methods / sizeof *any_methods; i++)
            allowed |= UINT64_C(1) << find_method(r, any_methods[i]);
    }
    if (allowed >> r->get & 1) allowed |= UINT64_C(1) << r->head;
    char *at = out;
    for (uint32_t i = 0; i < r->method_count; i++) {
        if (!(allowed >> r->sorted[i] & 1)) continue;
        struct span name = r->methods[r->sorted[i]];
        if (at != out) {
            memcpy(at, ", ", 2);
            at += 2;
        }
        memcpy(at, name.at, name.len);
        at += name.len;
    }
    return (size_t)(at - out);
}

uint32_t router_count(const struct router *r) {
    return r->route_count;
}

struct route_entry router_entry(const struct router *r, uint32_t i) {
    CHECK(i < r->route_count);
    const struct route *route = &r->routes[i];
    return (struct route_entry){r->methods[route->method], route->pattern,
                                route->handler};
}

uint32_t router_size(const struct router *r) {
    return r->node_count;
}
