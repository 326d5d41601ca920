/* Start here: the command line, the settings, and then what the verb asks for. */
#include "base/fd.h"
#include "base/log.h"
#include "process/appdir.h"
#include "process/hatch.h"
#include "process/options.h"
#include "process/settings_apps.h"
#include "process/supervisor.h"
#include "process/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct program {
    char **argv;
    struct bequest bequest;
    struct options options;
    struct settings_source source;
    char *config;   /* absolute */
    char *app_path; /* absolute; NULL for verbs without an app, or with several */
    struct settings *settings;
};

/* A closed stdin, stdout or stderr would become the number of a socket. */
static void hold_standard_files(void) {
    struct problem p;
    for (int fd = 0; fd <= 2; fd++) {
        int null;
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        do null = open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
        while (null < 0 && errno == EINTR);
        if (null >= 0) continue;
        problem_errno(&p, EX_OSERR, -errno, "/dev/null");
        _exit(problem_print(&p));
    }
}

/* The exit code. What keeps a program that is tried from serving is told to the
 * supervisor that tries it, which logs it. */
static int refuse(const struct program *g, const struct problem *p) {
    if (g->bequest.role != BEQUEST_HOST) return problem_print(p);
    int err = fd_write_all(g->bequest.report, p->text, strlen(p->text));
    return err ? problem_print(p) : p->code;
}

static int misuse(const struct program *g, const struct problem *p) {
    const struct verb_row *row = &verb_table[g->options.verb];
    int code = refuse(g, p);
    if (g->bequest.role == BEQUEST_HOST) return code;
    fprintf(stderr, "Try 'atoll help%s%s'.\n", row->settings ? " " : "",
            row->settings ? row->name : "");
    return p->code;
}

static int help(const struct program *g, struct problem *p) {
    const char *topic = g->options.word;
    if (!topic) {
        help_usage(stdout);
        return 0;
    }
    if (help_topic(stdout, topic)) return 0;
    const char *meant = verb_suggest(topic, true);
    problem_set(p, EX_USAGE, "no help about '%.200s'%s%s%s", topic,
                meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
    return misuse(g, p);
}

static bool has_app(enum verb verb) {
    return verb == VERB_SERVE || verb == VERB_CHECK || verb == VERB_ROUTES;
}

static const char *app(const struct program *g) {
    return g->options.word ? g->options.word : ".";
}

static int find_app(struct program *g, struct problem *p) {
    char *dir = appdir_resolve(app(g), p);
    if (!dir) return -1;
    free(dir);
    g->app_path = path_absolute(app(g), p);
    return g->app_path ? 0 : -1;
}

/* Finds the app's path, which only the command line or only the config file knows, and
 * the config file, and loads the settings. */
static int load(struct program *g, struct problem *p) {
    const char *config = g->options.config;
    if (!config) config = getenv("ATOLL_CONFIG");
    if (config && !*config) config = NULL;
    g->source = (struct settings_source){.required = config != NULL,
                                         .given = g->options.given,
                                         .given_count = g->options.given_count,
                                         .kept = g->bequest.kept,
                                         .kept_count = g->bequest.kept_count};
    if (g->options.word && has_app(g->options.verb) && find_app(g, p) < 0) return -1;
    if (config) {
        g->source.config = config;
    } else if (has_app(g->options.verb)) {
        if (asprintf(&g->config, "%s/atoll.lua", app(g)) < 0) g->config = NULL;
        if (!g->config) return problem_set(p, EX_OSERR, "out of memory");
        g->source.config = g->config;
    }
    g->settings = settings_load(&g->source, p);
    if (!g->settings) return -1;
    if (!has_app(g->options.verb)) return 0;
    if (!g->settings->app_count) return g->app_path ? 0 : find_app(g, p);
    if (!g->app_path) return settings_apps_check(g->settings, p);
    return problem_set(
        p, EX_USAGE,
        "%.400s has the apps, so there can be no '%.200s' on the command "
        "line; write 'atoll %s --config %.400s'",
        g->source.config, g->options.word, verb_table[g->options.verb].name,
        g->source.config);
}

static void warn_of_strays(void) {
    const char *name;
    char meant[64];
    for (size_t at = 0; (name = settings_stray(&at, meant, sizeof meant));)
        log_warn("%.*s in the environment is no setting; did you mean %s?",
                 (int)strcspn(name, "="), name, meant);
}

/* The log of verbs without a supervisor: for the one who types them. */
static void log_to_terminal(const struct settings *s) {
    const char *which;
    struct log_options options = {.events = "stderr",
                                  .level = (enum log_level)s->log_level,
                                  .format = (enum log_format)s->log_format};
    log_open(&options, &which);
}

/* One app, or one after the other. */
static int with_apps(struct program *g, struct problem *p,
                     int verb(const struct settings *, const struct settings_app *,
                              const char *)) {
    const struct settings *s = g->settings;
    int code = 0;
    for (size_t i = 0; i < s->app_count || (i == 0 && g->app_path); i++) {
        const struct settings_app *a = s->app_count ? &s->apps[i] : NULL;
        char *dir = appdir_resolve(a ? a->dir : g->app_path, p);
        int this = dir ? verb(a ? a->settings : s, a, dir) : problem_print(p);
        if (!code) code = this;
        free(dir);
    }
    return code;
}

static int serve(struct program *g) {
    bool resumed = g->bequest.role == BEQUEST_SUPERVISOR;
    struct supervised what = {.settings = g->settings,
                              .source = &g->source,
                              .app = app(g),
                              .app_path = g->app_path,
                              .argv = g->argv,
                              .bequest = resumed ? &g->bequest : NULL};
    g->settings = NULL;
    return supervise(&what);
}

/* What keeps it from serving its supervisor logs. */
static int serve_tried(struct program *g, struct problem *p) {
    struct hatchling what = {.settings = g->settings,
                             .source = &g->source,
                             .app = app(g),
                             .app_path = g->app_path,
                             .bequest = &g->bequest};
    hatch_tried(&what, p);
    return refuse(g, p);
}

static int work(struct program *g, struct problem *p) {
    const struct options *o = &g->options;
    warn_of_strays();
    if (o->verb == VERB_SERVE && g->bequest.role == BEQUEST_HOST)
        return serve_tried(g, p);
    if (o->verb == VERB_SERVE) return serve(g);
    signal(SIGPIPE, SIG_IGN);
    log_to_terminal(g->settings);
    switch (o->verb) {
    case VERB_CHECK:
        settings_print(g->settings, stdout);
        return with_apps(g, p, verb_check);
    case VERB_ROUTES: return with_apps(g, p, verb_routes);
    case VERB_RUN: return verb_run(g->settings, o->word, o->rest_count, o->rest);
    case VERB_TEST: return verb_test(g->settings, o->rest_count, o->rest);
    default: return EX_SOFTWARE;
    }
}

static void forget(struct program *g) {
    settings_free(g->settings);
    free(g->config);
    free(g->app_path);
    g->settings = NULL;
    g->config = g->app_path = NULL;
}

/* A supervisor that took over has hosts that serve. What they could load a moment ago
 * it cannot: it waits until that is mended, or until it is told to end. */
static int load_with_patience(struct program *g, struct problem *p) {
    const struct timespec second = {.tv_sec = 1};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGQUIT);
    for (bool told = false;; told = true) {
        int err = load(g, p);
        if (!err || g->bequest.role != BEQUEST_SUPERVISOR) return err;
        if (!told) log_error("%s; the hosts serve, their supervisor waits", p->text);
        forget(g);
        if (sigtimedwait(&stop, NULL, &second) > 0) return err;
    }
}

/* The same for the command line, which is the one that the hosts have. */
static int parse_with_patience(struct program *g, int argc, char **argv,
                               struct problem *p) {
    const struct timespec pause = {.tv_nsec = 100000000};
    for (int tries = 0; options_parse(&g->options, argc, argv, p) < 0; tries++) {
        if (g->bequest.role != BEQUEST_SUPERVISOR || p->code != EX_OSERR || tries == 50)
            return -1;
        options_done(&g->options);
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int run(struct program *g, int argc, char **argv, struct problem *p) {
    if (argc < 2) {
        help_usage(stderr);
        return EX_USAGE;
    }
    if (parse_with_patience(g, argc, argv, p) < 0) return misuse(g, p);
    if (g->options.asked_help) {
        help_verb(stdout, g->options.verb);
        return 0;
    }
    if (g->options.verb == VERB_HELP) return help(g, p);
    if (g->options.verb == VERB_VERSION) {
        help_version(stdout);
        return 0;
    }
    if (load_with_patience(g, p) < 0)
        return p->code == EX_USAGE ? misuse(g, p) : refuse(g, p);
    return work(g, p);
}

int main(int argc, char **argv) {
    struct program g = {.argv = argv};
    struct problem p = {0};
    hold_standard_files();
    int code =
        bequest_take(&g.bequest, &p) < 0 ? refuse(&g, &p) : run(&g, argc, argv, &p);
    forget(&g);
    bequest_done(&g.bequest);
    options_done(&g.options);
    if (fflush(stdout) != 0 && code == 0) code = EX_IOERR;
    return code;
}
