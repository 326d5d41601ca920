#include "base/err.h"
#include "http/router.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

/* Routes as "METHOD /pattern", numbered from 1 in this order; ends with NULL. */
static struct router *routes(const char *const *list) {
    struct router *r = router_new();
    for (uint32_t i = 0; list[i]; i++) {
        const char *space = strchr(list[i], ' '), *why = NULL;
        struct span method = span_of(list[i], (size_t)(space - list[i]));
        EXPECT_EQ_INT(router_add(r, method, span_str(space + 1), i + 1, &why), 0);
        if (why) printf("%s: %s\n", list[i], why);
    }
    EXPECT_EQ_INT(router_compile(r), 0);
    return r;
}

/* "3 id=7 rest=a/b", "no path" or "no method". */
static const char *answer(const struct router *r, const char *request) {
    static char text[512];
    struct route_match m;
    const char *space = strchr(request, ' ');
    router_match(r, span_of(request, (size_t)(space - request)), span_str(space + 1),
                 &m);
    if (m.outcome == ROUTE_NO_PATH) return "no path";
    if (m.outcome == ROUTE_NO_METHOD) return "no method";
    int n = snprintf(text, sizeof text, "%u", m.handler);
    for (unsigned i = 0; i < m.param_count; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %.*s=%.*s",
                      (int)m.params[i].name.len, m.params[i].name.at,
                      (int)m.params[i].value.len, m.params[i].value.at);
    return text;
}

static void check(const char *const *list, const char *const (*cases)[2]) {
    struct router *r = routes(list);
    for (; (*cases)[0]; cases++)
        if (!EXPECT_EQ_STR(answer(r, (*cases)[0]), (*cases)[1]))
            printf("  for %s\n", (*cases)[0]);
    router_free(r);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define CASES(...) ((const char *const[][2]){__VA_ARGS__, {NULL, NULL}})

TEST(matches_literals_params_and_rests) {
    check(LIST("GET /", "GET /users", "GET /users/", "GET /users/:id",
               "GET /users/:id/posts/:post", "GET /files/*path", "POST /:a/:b/*c",
               "GET /grüße", "GET /a%2Fb"),
          CASES({"GET /", "1"}, {"GET /users", "2"}, {"GET /users/", "3"},
                {"GET /users/7", "4 id=7"}, {"GET /users/a%2Fb", "4 id=a%2Fb"},
                {"GET /users/7/posts/9", "5 id=7 post=9"}, {"GET /files/", "6 path="},
                {"GET /files/a", "6 path=a"}, {"GET /files/a/b/", "6 path=a/b/"},
                {"GET /files//", "6 path=/"}, {"GET /files", "no path"},
                {"POST /x/y/", "7 a=x b=y c="}, {"POST /x/y/z/w", "7 a=x b=y c=z/w"},
                {"POST /x/y", "no path"}, {"GET /grüße", "8"}, {"GET /a%2Fb", "9"},
                {"GET /a/b", "no path"}));
}

TEST(counts_the_trailing_slash_and_empty_segments) {
    check(LIST("GET /a", "GET /b/", "GET /c/:id", "GET /d/:id/"),
          CASES({"GET /a/", "no path"}, {"GET /b", "no path"}, {"GET /b/", "2"},
                {"GET /c/", "no path"}, {"GET /c/1/", "no path"}, {"GET /c", "no path"},
                {"GET /d/1/", "4 id=1"}, {"GET /d/1", "no path"},
                {"GET /d//", "no path"}, {"GET //a", "no path"}));
}

TEST(answers_any_bytes_as_path) {
    struct router *r =
        routes(LIST("GET /*all", "GET /:x", "OPTIONS /*all", "* /lit/eral"));
    EXPECT_EQ_STR(answer(r, "GET "), "no path");
    EXPECT_EQ_STR(answer(r, "OPTIONS *"), "no path");
    EXPECT_EQ_STR(answer(r, "GET a"), "no path");
    EXPECT_EQ_STR(answer(r, "GET /"), "1 all=");
    EXPECT_EQ_STR(answer(r, "GET /\x01\xff"), "2 x=\x01\xff");
    EXPECT_EQ_STR(answer(r, " /lit/eral"), "4");
    struct route_match m;
    router_match(r, SPAN("GET"), (struct span){0}, &m);
    EXPECT_EQ_INT(m.outcome, ROUTE_NO_PATH);
    router_match(r, SPAN("GET"), SPAN("/a\0b"), &m);
    EXPECT_EQ_INT(m.outcome, ROUTE_FOUND);
    EXPECT_EQ_SPAN(m.params[0].value, SPAN("a\0b"));
    router_free(r);
}

TEST(matches_nothing_without_routes) {
    struct router *r = routes((const char *const[]){NULL});
    EXPECT_EQ_STR(answer(r, "GET /"), "no path");
    char allow[ROUTER_ALLOW_MAX];
    EXPECT_EQ_INT(router_allow(r, SPAN("/"), allow), 0);
    router_free(r);
}

TEST(prefers_literal_to_param_to_rest_in_any_order) {
    const char *list[] = {"GET /a/*rest", "GET /a/:id", "GET /a/me", "GET /*rest",
                          NULL};
    for (int turn = 0; turn < 4; turn++) {
        struct router *r = routes(list);
        struct route_match m;
        router_match(r, SPAN("GET"), SPAN("/a/me"), &m);
        EXPECT_EQ_SPAN(m.pattern, SPAN("/a/me"));
        router_match(r, SPAN("GET"), SPAN("/a/you"), &m);
        EXPECT_EQ_SPAN(m.pattern, SPAN("/a/:id"));
        router_match(r, SPAN("GET"), SPAN("/a/you/2"), &m);
        EXPECT_EQ_SPAN(m.pattern, SPAN("/a/*rest"));
        router_match(r, SPAN("GET"), SPAN("/b"), &m);
        EXPECT_EQ_SPAN(m.pattern, SPAN("/*rest"));
        router_free(r);
        const char *first = list[0];
        memmove(list, list + 1, 3 * sizeof *list);
        list[3] = first;
    }
}

TEST(takes_back_a_choice_that_leads_nowhere) {
    check(LIST("GET /a/b/c", "GET /:x/b/d", "GET /a/:y/e", "GET /a/q/*z", "GET /*w"),
          CASES({"GET /a/b/c", "1"}, {"GET /a/b/d", "2 x=a"}, {"GET /a/b/e", "3 y=b"},
                {"GET /a/b/f", "5 w=a/b/f"}, {"GET /a/q/b/d", "4 z=b/d"},
                {"GET /q/b/c", "5 w=q/b/c"}, {"GET /q/b/d", "2 x=q"},
                {"GET /a", "5 w=a"}));
}

TEST(looks_for_the_method_in_less_specific_patterns) {
    check(LIST("GET /users/me", "POST /users/:id", "* /users/*rest", "PUT /other",
               "DELETE /:x"),
          CASES({"GET /users/me", "1"}, {"POST /users/me", "2 id=me"},
                {"PUT /users/me", "3 rest=me"}, {"BREW /users/me", "3 rest=me"},
                {"GET /other", "no method"}, {"DELETE /other", "5 x=other"},
                {"get /users/me", "3 rest=me"}, {"GET /zzz", "no method"}));
}

TEST(answers_head_with_get) {
    check(LIST("GET /a", "HEAD /b", "GET /b", "* /c", "GET /c", "* /d", "POST /e",
               "HEAD /:x"),
          CASES({"HEAD /a", "1"}, {"HEAD /b", "2"}, {"GET /b", "3"}, {"HEAD /c", "5"},
                {"HEAD /d", "6"}, {"HEAD /e", "8 x=e"}, {"PUT /c", "4"}));
}

TEST(names_params_by_the_route_that_matched) {
    check(LIST("GET /u/:id", "POST /u/:name", "GET /u/:user/x", "PUT /u/*all"),
          CASES({"GET /u/1", "1 id=1"}, {"POST /u/1", "2 name=1"},
                {"GET /u/1/x", "3 user=1"}, {"PUT /u/1", "4 all=1"}));
}

static const char *refusal(struct router *r, const char *method, const char *pattern) {
    const char *why = NULL;
    int err = router_add(r, span_str(method), span_str(pattern), 1, &why);
    EXPECT(err == (why ? ERR_SYNTAX : 0));
    return why ? why : "taken";
}

TEST(says_what_is_wrong_with_a_pattern) {
    struct router *r = router_new();
    static const char *const bad[][2] = {
        {"", "a pattern starts with /"},
        {"users", "a pattern starts with /"},
        {"/a//b", "the pattern has an empty segment"},
        {"//", "the pattern has an empty segment"},
        {"/:", "a param has no name"},
        {"/:/x", "a param has no name"},
        {"/:1a", "a param is a whole segment: a name of letters, digits and _"},
        {"/:id.json", "a param is a whole segment: a name of letters, digits and _"},
        {"/:id?", "a pattern has no ? and no #"},
        {"/*rest/x", "*name takes the rest and has to be last"},
        {"/*/x", "*name takes the rest and has to be last"},
        {"/*rest/", "*name takes the rest and has to be last"},
        {"/:a/:a", "two params have the same name"},
        {"/:a/*a", "two params have the same name"},
        {"/a\x1f", "a control byte is in the pattern"},
        {"/a/../b", "a path never has a . or .. segment"},
        {"/.", "a path never has a . or .. segment"},
        {"/100%", "a pattern is not percent-encoded, except that % is %25"},
        {"/%41", "a pattern is not percent-encoded, except that % is %25"},
        {"/:a/:b/:c/:d/:e/:f/:g/:h/:i/:j/:k/:l/:m/:n/:o/:p/*q",
         "the pattern has too many params"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_STR(refusal(r, "GET", bad[i][0]), bad[i][1]);
    EXPECT_EQ_STR(refusal(r, "", "/"), "the method is not a token");
    EXPECT_EQ_STR(refusal(r, "GE T", "/"), "the method is not a token");
    EXPECT_EQ_STR(refusal(r, "GET", "/:a/:b/:c/:d/:e/:f/:g/:h/:i/:j/:k/:l/:m/:n/:o/*p"),
                  "taken");
    EXPECT_EQ_STR(refusal(r, "GET", "/100%25"), "taken");
    EXPECT_EQ_STR(refusal(r, "GET", "/a:b*c"), "taken");
    EXPECT_EQ_STR(refusal(r, "GET", "/*"), "taken");
    char deep[2 * PATTERN_SEGMENTS_MAX + 3] = "";
    for (int i = 0; i < PATTERN_SEGMENTS_MAX; i++) strcat(deep, "/a");
    EXPECT_EQ_STR(refusal(r, "GET", deep), "taken");
    strcat(deep, "/a");
    EXPECT_EQ_STR(refusal(r, "GET", deep), "the pattern has too many segments");
    EXPECT_EQ_INT(router_compile(r), 0);
    EXPECT_EQ_STR(answer(r, "GET /x"), "1 *=x");
    EXPECT_EQ_STR(answer(r, "GET /a:b*c"), "1");
    deep[2 * PATTERN_SEGMENTS_MAX] = '\0';
    char request[sizeof deep + 4];
    snprintf(request, sizeof request, "GET %s", deep);
    EXPECT_EQ_STR(answer(r, request), "1");
    router_free(r);
}

TEST(refuses_a_second_route_at_the_same_place) {
    struct router *r = router_new();
    const char *why;
    EXPECT_EQ_INT(router_add(r, SPAN("GET"), SPAN("/u/:id"), 1, &why), 0);
    EXPECT_EQ_INT(router_add(r, SPAN("GET"), SPAN("/u/:name"), 2, &why), -EEXIST);
    EXPECT_EQ_STR(why, "GET /u/:id is there already");
    EXPECT_EQ_INT(router_add(r, SPAN("POST"), SPAN("/u/:name"), 3, &why), 0);
    EXPECT_EQ_INT(router_add(r, SPAN("*"), SPAN("/u/:any"), 4, &why), 0);
    EXPECT_EQ_INT(router_add(r, SPAN("*"), SPAN("/u/:other"), 5, &why), -EEXIST);
    EXPECT_EQ_INT(router_add(r, SPAN("GET"), SPAN("/u/*id"), 6, &why), 0);
    EXPECT_EQ_INT(router_add(r, SPAN("GET"), SPAN("/u/*"), 7, &why), -EEXIST);
    EXPECT_EQ_INT(router_compile(r), 0);
    EXPECT_EQ_INT(router_count(r), 4);
    EXPECT_EQ_SPAN(router_entry(r, 2).method, SPAN("*"));
    EXPECT_EQ_SPAN(router_entry(r, 2).pattern, SPAN("/u/:any"));
    EXPECT_EQ_INT(router_entry(r, 2).handler, 4);
    router_free(r);
}

TEST(refuses_a_thirty_third_method) {
    struct router *r = router_new();
    const char *why;
    char name[16];
    for (int i = 0; i < ROUTER_METHODS_MAX; i++) {
        snprintf(name, sizeof name, "M%02d", i);
        EXPECT_EQ_INT(router_add(r, span_str(name), SPAN("/"), 1, &why), 0);
    }
    EXPECT_EQ_INT(router_add(r, SPAN("MORE"), SPAN("/"), 1, &why), ERR_SYNTAX);
    EXPECT_EQ_INT(router_add(r, SPAN("M00"), SPAN("/x"), 1, &why), 0);
    EXPECT_EQ_INT(router_compile(r), 0);
    char allow[ROUTER_ALLOW_MAX];
    EXPECT(router_allow(r, SPAN("/"), allow) > 32u * 5 - 2);
    router_free(r);
}

TEST(lists_the_methods_of_a_path) {
    struct router *r = routes(
        LIST("POST /a", "GET /a", "PUT /:x", "* /b", "PURGE /b", "DELETE /c/*r"));
    char allow[ROUTER_ALLOW_MAX];
    size_t n = router_allow(r, SPAN("/a"), allow);
    EXPECT_EQ_SPAN(span_of(allow, n), SPAN("GET, HEAD, OPTIONS, POST, PUT"));
    n = router_allow(r, SPAN("/z"), allow);
    EXPECT_EQ_SPAN(span_of(allow, n), SPAN("OPTIONS, PUT"));
    n = router_allow(r, SPAN("/b"), allow);
    EXPECT_EQ_SPAN(span_of(allow, n),
                   SPAN("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PURGE, PUT"));
    n = router_allow(r, SPAN("/c/d"), allow);
    EXPECT_EQ_SPAN(span_of(allow, n), SPAN("DELETE, OPTIONS"));
    EXPECT_EQ_INT(router_allow(r, SPAN("/no/where"), allow), 0);
    EXPECT_EQ_INT(router_allow(r, SPAN("*"), allow), 0);
    router_free(r);
}

/* Each of these patterns shares prefixes with all others, so that a matcher that tries
 * them apart from each other, or forgets, takes 2^30 steps for the path that none has.
 */
TEST(looks_at_a_place_once_at_most) {
    enum { DEPTH = 30 };
    struct router *r = router_new();
    const char *why;
    for (int literal = 0; literal <= DEPTH; literal++) {
        char pattern[8 * DEPTH] = "";
        for (int i = 0; i < DEPTH; i++) {
            char segment[16];
            snprintf(segment, sizeof segment, i < literal ? "/a" : "/:p%d", i);
            if (i < literal || i - literal < ROUTER_PARAMS_MAX)
                strcat(pattern, segment);
        }
        strcat(pattern, "/end");
        EXPECT_EQ_INT(router_add(r, SPAN("GET"), span_str(pattern), 1, &why), 0);
    }
    /* and all of both kinds down to twelve deep */
    for (unsigned bits = 0; bits < 1u << 12; bits++) {
        char pattern[128] = "/b";
        for (int i = 0; i < 12; i++) {
            char segment[16];
            snprintf(segment, sizeof segment, bits >> i & 1 ? "/a" : "/:p%d", i);
            strcat(pattern, segment);
        }
        strcat(pattern, "/end");
        EXPECT_EQ_INT(router_add(r, SPAN("GET"), span_str(pattern), 1, &why), 0);
    }
    EXPECT_EQ_INT(router_compile(r), 0);
    struct route_match m;
    struct span long_path = SPAN("/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/"
                                 "a/a/a/a/a/a/a/a/a/a/a/a/no");
    router_match(r, SPAN("GET"), long_path, &m);
    EXPECT_EQ_INT(m.outcome, ROUTE_NO_PATH);
    EXPECT(m.visited > DEPTH && m.visited < 2 * DEPTH * DEPTH);
    router_match(r, SPAN("GET"), SPAN("/b/a/a/a/a/a/a/a/a/a/a/a/a/no"), &m);
    EXPECT_EQ_INT(m.outcome, ROUTE_NO_PATH);
    EXPECT(m.visited >= 1u << 12 && m.visited <= router_size(r));
    router_free(r);
}

TEST(finds_each_of_ten_thousand_routes) {
    enum { MANY = 10000 };
    struct router *r = router_new();
    const char *why;
    char text[64];
    uint32_t refused = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        static const char *const ends[] = {"", "/:id", "/x/*rest"};
        snprintf(text, sizeof text, "/r%u%s", i, ends[i % 3]);
        refused += router_add(r, SPAN("GET"), span_str(text), i, &why) != 0;
    }
    EXPECT_EQ_INT(refused, 0);
    EXPECT_EQ_INT(router_compile(r), 0);
    EXPECT_EQ_INT(router_count(r), MANY);
    uint32_t wrong = 0, visited = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        static const char *const ends[] = {"", "/77", "/x/a/b"};
        struct route_match m;
        snprintf(text, sizeof text, "/r%u%s", i, ends[i % 3]);
        router_match(r, SPAN("GET"), span_str(text), &m);
        wrong += m.outcome != ROUTE_FOUND || m.handler != i;
        if (m.visited > visited) visited = m.visited;
    }
    EXPECT_EQ_INT(wrong, 0);
    EXPECT(visited <= 4);
    router_free(r);
}
