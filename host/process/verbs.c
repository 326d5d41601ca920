#include "process/verbs.h"

#include "base/err.h"
#include "http/router.h"
#include "isolate/commons.h"
#include "process/blueprint.h"
#include "process/runner.h"

#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- check and routes: an app in a throw-away state ---- */

static struct generation *load_app(const struct settings *s,
                                   const struct settings_app *a, const char *appdir,
                                   struct commons *commons) {
    struct buf problem;
    buf_init(&problem);
    struct blueprint *b = blueprint_new((struct settings *)(uintptr_t)s, false, appdir);
    if (!commons || !b || (a && !blueprint_under(b, a->path))) {
        if (b) blueprint_release(b);
        fprintf(stderr, "atoll: not enough memory\n");
        return NULL;
    }
    b->plan.commons = commons;
    struct generation *g = blueprint_build(b, 1, &problem);
    blueprint_release(b);
    if (!g)
        fprintf(stderr, "atoll: %s%s%.*s\n", a ? a->name : "", a ? ": " : "",
                (int)buf_len(&problem), buf_data(&problem));
    buf_reset(&problem);
    return g;
}

int verb_check(const struct settings *s, const struct settings_app *a,
               const char *appdir) {
    struct commons *commons = commons_new(s->shared_memory);
    struct generation *g = load_app(s, a, appdir, commons);
    if (!g) {
        commons_free(commons);
        return EX_CONFIG;
    }
    struct app *app = g->app;
    printf("%s%s%s: %u routes, no problem found\n", a ? a->name : "", a ? ", " : "",
           appdir, router_count(app->site.router));
    generation_free(g);
    commons_free(commons);
    return 0;
}

int verb_routes(const struct settings *s, const struct settings_app *a,
                const char *appdir) {
    struct commons *commons = commons_new(s->shared_memory);
    struct generation *g = load_app(s, a, appdir, commons);
    if (!g) {
        commons_free(commons);
        return EX_CONFIG;
    }
    struct app *app = g->app;
    size_t widest = 0, longest = 0;
    if (a) printf("%s, %s:\n", a->name, appdir);
    for (uint32_t i = 0; i < router_count(app->site.router); i++) {
        struct route_entry e = router_entry(app->site.router, i);
        if (e.method.len > longest) longest = e.method.len;
        if (e.pattern.len > widest) widest = e.pattern.len;
    }
    for (uint32_t i = 0; i < router_count(app->site.router); i++) {
        struct route_entry e = router_entry(app->site.router, i);
        printf("%-*.*s  %-*.*s  %s\n", (int)longest, (int)e.method.len, e.method.at,
               (int)widest, (int)e.pattern.len, e.pattern.at,
               app->site.sources[e.handler]);
    }
    generation_free(g);
    commons_free(commons);
    return 0;
}

/* ---- run and test ---- */

int verb_run(const struct settings *s, const char *script, int argc, char **argv) {
    if (access(script, R_OK) != 0) {
        fprintf(stderr, "atoll: %s: %s\n", script, err_text(-errno));
        return errno == EACCES ? EX_NOPERM : EX_NOINPUT;
    }
    struct script p = {.file = script, .argc = argc, .argv = argv};
    /* Isolates are for those who ask for them: most scripts are one program. */
    p.isolates = *s->origin[SET_isolates] ? s->isolates : 1;
    return runner_run(s, &p);
}

int verb_test(const struct settings *s, int argc, char **argv) {
    struct script p = {.module = "atoll.busted", .argc = argc, .argv = argv};
    p.isolates = 1;
    return runner_run(s, &p);
}
