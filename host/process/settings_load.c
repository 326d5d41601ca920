#include "process/settings.h"

#include "process/cpus.h"
#include "process/ram.h"
#include "process/settings_apps.h"
#include "process/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 64 * 300 }; /* the longest value: a full list of addresses */

static const char *variable(const char *setting, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "ATOLL_%s", setting);
    for (size_t i = 0; i < n; i++) out[i] = (char)toupper((unsigned char)out[i]);
    return out;
}

/* HOST and PORT, which platforms set, change listen's default. */
static int load_default(struct settings *s, struct problem *p) {
    const struct setting *row = &settings_table[SET_listen];
    const char *host = getenv("HOST"), *port = getenv("PORT");
    bool has_host = host && *host, has_port = port && *port;
    if (!has_host && !has_port) return 0;
    const char *colon = strrchr(row->fallback, ':');
    char text[600], fallback[64];
    snprintf(fallback, sizeof fallback, "%.*s", (int)(colon - row->fallback),
             row->fallback);
    if (!has_host) host = fallback;
    bool bare = strchr(host, ':') && *host != '[';
    snprintf(text, sizeof text, "%s%.500s%s:%.40s", bare ? "[" : "", host,
             bare ? "]" : "", has_port ? port : colon + 1);
    /* One address: a separator would be part of the value, not of a list. */
    const char *origin = !has_host ? "PORT" : !has_port ? "HOST" : "HOST and PORT";
    if (strpbrk(text, ", \t\n"))
        return problem_set(p, EX_CONFIG, "%s: '%.200s' is no address", origin, text);
    s->layer[SET_listen] = 0;
    if (setting_set(s, row, text, LAYER_DEFAULT, origin, p) < 0)
        return problem_at(p, origin);
    return 0;
}

static int unknown_key(const struct settings_entry *e, struct problem *p) {
    const char *meant = settings_apps_suggest(e->key, e->app != 0);
    return problem_set(p, EX_CONFIG, "unknown setting '%.60s'%s%s%s", e->key,
                       meant ? "; did you mean '" : "", meant ? meant : "",
                       meant ? "'?" : "");
}

int settings_entry_load(struct settings *s, const struct settings_entry *e,
                        struct problem *p) {
    /* A key has underscores, being a name in Lua. */
    const struct setting *row = strchr(e->key, '-') ? NULL : setting_find(e->key);
    if (!row) return unknown_key(e, p);
    /* Such a list says that there is none, where there may be none. */
    if (e->empty && row->kind >= SETTING_WORDS && row->least == 0)
        return setting_set(s, row, "", LAYER_FILE, e->place, p);
    if (e->wrong)
        return problem_set(p, EX_CONFIG, "%s must be %s, not %s", e->key,
                           setting_expects(row), e->wrong);
    if (e->listed && row->kind < SETTING_WORDS)
        return problem_set(p, EX_CONFIG, "%s must be %s, not a table", e->key,
                           setting_expects(row));
    return setting_set(s, row, e->value, LAYER_FILE, e->place, p);
}

/* Beside the apps' own, which come when all else is known. */
static int load_entry(struct settings *s, const struct settings_entry *e,
                      struct problem *p) {
    int err = 0;
    if (e->app) return 0;
    if (strcmp(e->key, "apps") == 0)
        err = problem_set(p, EX_CONFIG, "apps must be a list of tables, not %s",
                          e->value ? e->value : e->wrong);
    else
        err = settings_entry_load(s, e, p);
    return err < 0 ? problem_at(p, e->place) : 0;
}

struct file {
    struct arena memory;
    struct settings_entry *entries;
    size_t count;
};

static int load_file(struct settings *s, const struct settings_source *source,
                     struct file *f, struct problem *p) {
    if (!source->config) return 0;
    if (!source->required && access(source->config, F_OK) < 0 && errno == ENOENT)
        return 0;
    int err = settings_read(source->config, &f->memory, &f->entries, &f->count, p);
    for (size_t i = 0; !err && i < f->count; i++)
        err = load_entry(s, &f->entries[i], p);
    return err;
}

static int load_environment(struct settings *s, struct problem *p) {
    for (size_t i = 0; i < SETTINGS; i++) {
        char name[64];
        variable(settings_table[i].name, name, sizeof name);
        const char *text = getenv(name);
        if (!text) continue;
        if (setting_set(s, &settings_table[i], text, LAYER_ENVIRONMENT, name, p) < 0)
            return problem_at(p, name);
    }
    return 0;
}

static int load_command(struct settings *s, const struct settings_source *source,
                        struct problem *p) {
    for (size_t i = 0; i < source->given_count; i++) {
        const struct setting_given *g = &source->given[i];
        if (setting_set(s, g->row, g->value, LAYER_COMMAND, g->option, p) == 0)
            continue;
        if (p->code == EX_CONFIG) p->code = EX_USAGE;
        return problem_at(p, g->option);
    }
    return 0;
}

static int load_kept(struct settings *s, const struct settings_source *source,
                     struct problem *p) {
    for (size_t i = 0; i < source->kept_count; i++) {
        const struct setting_given *k = &source->kept[i];
        s->layer[k->row - settings_table] = 0;
        if (setting_set(s, k->row, k->value, LAYER_KEPT, k->option, p) < 0)
            return problem_at(p, k->option);
    }
    return 0;
}

/* Nobody could connect. */
static int check_proxies(const struct settings *s, struct problem *p) {
    size_t len;
    for (size_t i = 0; !s->trusted_proxies.count && i < s->listen.count; i++) {
        if (!setting_for_proxies(s->listen.at[i], &len)) continue;
        int code = s->layer[SET_listen] == LAYER_COMMAND ? EX_USAGE : EX_CONFIG;
        problem_set(
            p, code,
            "listen: '%.200s' needs trusted_proxies, from where the proxies "
            "connect: write trusted_proxies = \"10.0.0.0/8\", or what yours are",
            s->listen.at[i]);
        return problem_at(p, s->origin[SET_listen]);
    }
    return 0;
}

struct settings *settings_load(const struct settings_source *source,
                               struct problem *p) {
    struct settings *s = settings_new();
    if (!s) {
        problem_set(p, EX_OSERR, "out of memory");
        return NULL;
    }
    struct file f = {0};
    arena_init(&f.memory, NULL, 0);
    int err = load_default(s, p);
    if (!err) err = load_file(s, source, &f, p);
    if (!err) err = load_environment(s, p);
    if (!err) err = load_command(s, source, p);
    if (!err) err = load_kept(s, source, p);
    if (!err) err = check_proxies(s, p);
    if (!err) settings_count_isolates(s);
    if (!err) err = settings_apps_load(s, source->config, f.entries, f.count, p);
    arena_reset(&f.memory);
    if (!err) {
        settings_share_memory(s);
        return s;
    }
    settings_free(s);
    return NULL;
}

void settings_count_isolates(struct settings *s) {
    const struct setting *row = &settings_table[SET_isolates];
    if (s->isolates == 0)
        s->isolates = (cpus_allowed() + s->processes - 1) / s->processes;
    if (s->isolates > row->most) s->isolates = (unsigned)row->most;
}

static void share(struct settings *s, uint64_t bytes, uint64_t isolates) {
    const struct setting *row = &settings_table[SET_memory];
    if (s->memory != MEMORY_AUTO) return;
    double each = (double)bytes * 3 / 4 / (double)isolates;
    if (each < row->least) each = row->least;
    s->memory = bytes && each <= row->most ? (uint64_t)each : MEMORY_NONE;
}

void settings_share_memory(struct settings *s) {
    uint64_t bytes = ram_allowed(), isolates = 0;
    for (size_t i = 0; i < s->app_count; i++) isolates += s->apps[i].settings->isolates;
    for (size_t i = 0; i < s->app_count; i++)
        share(s->apps[i].settings, bytes, isolates);
    share(s, bytes, s->app_count ? isolates : s->isolates);
}

struct settings *settings_copy(const struct settings *s) {
    struct settings *copy = settings_new();
    for (size_t i = 0; copy && i < SETTINGS; i++) {
        char text[TEXT_MAX];
        struct problem p;
        setting_text(s, &settings_table[i], text, sizeof text);
        copy->layer[i] = 0;
        int err =
            setting_set(copy, &settings_table[i], text, LAYER_KEPT, s->origin[i], &p);
        copy->layer[i] = 0; /* whatever comes next goes before it */
        if (err == 0) continue;
        settings_free(copy);
        copy = NULL;
    }
    return copy;
}

int settings_keep(struct settings *fresh, const struct settings *running,
                  void changed(const struct setting *row)) {
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &settings_table[i];
        char before[TEXT_MAX], after[TEXT_MAX];
        struct problem p;
        if (row->reloads) continue;
        setting_text(running, row, before, sizeof before);
        setting_text(fresh, row, after, sizeof after);
        if (strcmp(before, after) == 0) continue;
        fresh->layer[i] = 0;
        if (setting_set(fresh, row, before, LAYER_KEPT, running->origin[i], &p) < 0)
            return -1;
        if (changed) changed(row);
    }
    return settings_apps_keep(fresh, running, changed);
}

extern char **environ;

const char *settings_stray(size_t *at, char *meant, size_t size) {
    for (; environ[*at]; ++*at) {
        const char *name = environ[*at];
        size_t len = strcspn(name, "=");
        char wrong[64];
        if (strncmp(name, "ATOLL_", 6) != 0 || len < 6 || len - 6 >= sizeof wrong)
            continue;
        memcpy(wrong, name + 6, len - 6);
        wrong[len - 6] = 0;
        for (char *c = wrong; *c; c++) *c = ascii_lower(*c);
        if (setting_find(wrong) || strcmp(wrong, "config") == 0) continue;
        const char *near = setting_suggest(wrong);
        if (!near) continue;
        variable(near, meant, size);
        ++*at;
        return name;
    }
    return NULL;
}
