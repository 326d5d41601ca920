#include "process/settings_apps.h"

#include "http/vhost.h"
#include "process/appdir.h"
#include "process/suggest.h"

#include <stdlib.h>
#include <string.h>

/* What the sockets and the process have once. Heads are read before it is known whose
 * they are. */
static const enum setting_id of_host[] = {
    SET_listen,
    SET_trusted_proxies,
    SET_forwarded,
    SET_processes,
    SET_reuseport,
    SET_user,
    SET_group,
    SET_new_privileges,
    SET_sandbox,
    SET_sandbox_read,
    SET_sandbox_write,
    SET_pid_file,
    SET_log,
    SET_log_level,
    SET_log_format,
    SET_access_log,
    SET_request_line_max,
    SET_header_bytes_max,
    SET_header_count_max,
    SET_head_timeout,
    SET_idle_timeout,
    SET_connections_max,
    SET_connections_per_address,
    SET_upgrade_timeout,
    SET_drain_delay,
    SET_requests_per_connection,
};

static const char *const own_keys[] = {"dir", "host", "path"};
enum { OWN_KEYS = sizeof own_keys / sizeof *own_keys };

static bool is_of_host(const struct setting *row) {
    for (size_t i = 0; i < sizeof of_host / sizeof *of_host; i++)
        if (row == &settings_table[of_host[i]]) return true;
    return false;
}

const char *settings_apps_suggest(const char *wrong, bool inside) {
    struct suggestion s = suggest_for(wrong);
    for (size_t i = 0; i < SETTINGS; i++)
        if (!inside || !is_of_host(&settings_table[i]))
            suggest_offer(&s, settings_table[i].name);
    for (size_t i = 0; inside && i < OWN_KEYS; i++) suggest_offer(&s, own_keys[i]);
    if (!inside) suggest_offer(&s, "apps");
    return s.word;
}

static int no_memory(struct problem *p) {
    return problem_set(p, EX_OSERR, "out of memory");
}

/* ---- one app ---- */

static const char *copy(struct settings *s, const char *text) {
    return arena_copy(&s->texts, span_str(text)).at;
}

static int set_host(struct settings_app *a, const char *text, struct problem *p) {
    struct span host = span_str(text);
    size_t colon = strcspn(text, ":");
    if (!vhost_host_ok(host))
        return problem_set(p, EX_CONFIG,
                           "host must be a name, such as \"api.example.org\" or "
                           "\"*.example.org\"%s, not '%.200s'",
                           text[colon] && *text != '[' ? ", without a port" : "", text);
    char *lower = strdup(text);
    if (!lower) return no_memory(p);
    for (char *c = lower; *c; c++) *c = ascii_lower(*c);
    a->host = copy(a->settings, lower);
    free(lower);
    return a->host ? 0 : no_memory(p);
}

/* A slash behind it means the same. */
static int set_path(struct settings_app *a, const char *text, struct problem *p) {
    size_t len = strlen(text);
    if (len && text[len - 1] == '/') len--;
    if (strcmp(text, "/") != 0 && !vhost_path_ok(span_of(text, len)))
        return problem_set(p, EX_CONFIG,
                           "path must be the beginning of paths, such as \"/shop\", "
                           "decoded, without : and *; not '%.200s'",
                           text);
    a->path = arena_copy(&a->settings->texts, span_of(text, len)).at;
    return a->path ? 0 : no_memory(p);
}

static int set_dir(struct settings_app *a, const char *text, const char *config,
                   struct problem *p) {
    const char *slash = strrchr(config, '/');
    char *joined = NULL, *absolute = NULL;
    if (!*text) return problem_set(p, EX_CONFIG, "dir must not be empty");
    int in = slash && *text != '/' ? (int)(slash - config) + 1 : 0;
    if (asprintf(&joined, "%.*s%s", in, config, text) < 0) return no_memory(p);
    absolute = path_absolute(joined, p);
    free(joined);
    if (!absolute) return -1;
    a->dir = copy(a->settings, absolute);
    free(absolute);
    a->given = copy(a->settings, text);
    return a->dir && a->given ? 0 : no_memory(p);
}

static int load_field(struct settings_app *a, const struct settings_entry *e,
                      const char *config, struct problem *p) {
    const struct setting *row = setting_find(e->key);
    if (row && is_of_host(row))
        return problem_set(p, EX_CONFIG,
                           "%s is the host's, for all apps: write it beside apps",
                           row->name);
    int which = 0;
    while (which < OWN_KEYS && strcmp(e->key, own_keys[which]) != 0) which++;
    if (which == OWN_KEYS) return settings_entry_load(a->settings, e, p);
    if (!e->value || e->listed)
        return problem_set(p, EX_CONFIG, "%s must be text, not %s", e->key,
                           e->wrong ? e->wrong : "a table");
    if (which == 0) return set_dir(a, e->value, config, p);
    if (which == 1) return set_host(a, e->value, p);
    return set_path(a, e->value, p);
}

static int set_name(struct settings_app *a, struct problem *p) {
    char *name = NULL;
    bool all = !*a->host && !*a->path;
    if (asprintf(&name, "%s%s", a->host, all ? "/" : a->path) < 0) return no_memory(p);
    a->name = copy(a->settings, name);
    free(name);
    return a->name ? 0 : no_memory(p);
}

/* From e, the entry of the app itself, on. */
static int load_app(struct settings_app *a, const struct settings_entry *e,
                    const struct settings_entry *entries, size_t count,
                    const char *config, struct problem *p) {
    if (!e->wrong || strstr(e->wrong, "table") == NULL)
        return problem_set(p, EX_CONFIG,
                           "must be a table, such as { path = \"/shop\", dir = "
                           "\"shop\" }, not %s",
                           e->wrong ? e->wrong : e->value);
    a->host = a->path = "";
    a->place = copy(a->settings, e->place);
    if (!a->place) return no_memory(p);
    for (size_t i = 0; i < count; i++)
        if (entries[i].app == e->app && *entries[i].key &&
            load_field(a, &entries[i], config, p) < 0)
            return -1;
    if (!a->dir)
        return problem_set(p, EX_CONFIG, "dir is missing: the directory of the app");
    settings_count_isolates(a->settings);
    return set_name(a, p);
}

/* ---- all of them ---- */

static int by_number(const void *a, const void *b) {
    const struct settings_entry *const *x = a, *const *y = b;
    return (*x)->app < (*y)->app ? -1 : (*x)->app > (*y)->app;
}

static bool same_place(const struct settings_app *a, const struct settings_app *b) {
    return strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

static int load_next(struct settings *s, const struct settings_entry *e,
                     const struct settings_entry *entries, size_t count,
                     const char *config, struct problem *p) {
    struct settings_app *a = &s->apps[s->app_count];
    *a = (struct settings_app){.settings = settings_copy(s)};
    if (!a->settings) return no_memory(p);
    s->app_count++;
    if (load_app(a, e, entries, count, config, p) < 0) return problem_at(p, e->place);
    for (size_t i = 0; i + 1 < s->app_count; i++) {
        if (!same_place(a, &s->apps[i])) continue;
        problem_set(p, EX_CONFIG, "apps[%zu] has the same host and path: %s", i + 1,
                    a->name);
        return problem_at(p, e->place);
    }
    return 0;
}

int settings_apps_load(struct settings *s, const char *config,
                       const struct settings_entry *entries, size_t count,
                       struct problem *p) {
    size_t apps = 0;
    for (size_t i = 0; i < count; i++) apps += entries[i].app && !*entries[i].key;
    if (!apps) return 0;
    s->apps = arena_alloc(&s->texts, apps * sizeof *s->apps);
    const struct settings_entry **own = malloc(apps * sizeof *own);
    if (!s->apps || !own) {
        free(own);
        return no_memory(p);
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (entries[i].app && !*entries[i].key) own[n++] = &entries[i];
    qsort(own, apps, sizeof *own, by_number);
    int err = 0;
    for (size_t i = 0; i < apps && !err; i++)
        err = load_next(s, own[i], entries, count, config, p);
    free(own);
    return err;
}

static bool same_places(const struct settings *a, const struct settings *b) {
    if (a->app_count != b->app_count) return false;
    for (size_t i = 0; i < a->app_count; i++)
        if (!same_place(&a->apps[i], &b->apps[i])) return false;
    return true;
}

static int copy_apps(struct settings *to, const struct settings *from) {
    for (size_t i = 0; i < to->app_count; i++) settings_free(to->apps[i].settings);
    to->app_count = 0;
    if (!from->app_count) return 0;
    to->apps = arena_alloc(&to->texts, from->app_count * sizeof *to->apps);
    if (!to->apps) return -1;
    for (size_t i = 0; i < from->app_count; i++) {
        const struct settings_app *a = &from->apps[i];
        struct settings *own = settings_copy(a->settings);
        if (!own) return -1;
        to->apps[to->app_count++] = (struct settings_app){
            .name = copy(own, a->name),
            .host = copy(own, a->host),
            .path = copy(own, a->path),
            .dir = copy(own, a->dir),
            .given = copy(own, a->given),
            .place = copy(own, a->place),
            .settings = own,
        };
        const struct settings_app *made = &to->apps[i];
        if (!made->name || !made->host || !made->path || !made->dir || !made->given ||
            !made->place)
            return -1;
    }
    return 0;
}

int settings_apps_keep(struct settings *fresh, const struct settings *running,
                       void changed(const struct setting *row)) {
    static const struct setting apps = {.name = "apps"};
    if (!same_places(fresh, running)) {
        if (changed) changed(&apps);
        return copy_apps(fresh, running);
    }
    for (size_t i = 0; i < fresh->app_count; i++)
        if (settings_keep(fresh->apps[i].settings, running->apps[i].settings, changed) <
            0)
            return -1;
    return 0;
}

int settings_apps_check(const struct settings *s, struct problem *p) {
    for (size_t i = 0; i < s->app_count; i++) {
        char *dir = appdir_resolve(s->apps[i].dir, p);
        if (!dir) return problem_at(p, s->apps[i].place);
        free(dir);
    }
    return 0;
}
