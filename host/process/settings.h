/* The settings: one field for each row of settings.def, filled from the default, the
 * config file, the environment and the command line, the later going before the
 * earlier. Whatever is wrong is refused with the place where it was written; a struct
 * settings that exists is in range.
 *
 * settings_load makes one, also again for a reload or a restarted host from the same
 * source; it does not change afterwards, so threads may share it. Any thread;
 * settings_load reads the environment, which nobody may change meanwhile. */
#ifndef PROCESS_SETTINGS_H
#define PROCESS_SETTINGS_H

#include "base/arena.h"
#include "process/problem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum setting_kind {
    SETTING_COUNT,     /* a whole number; its first word, where it has any, is 0 */
    SETTING_BOOL,      /* true, false; yes, no; on, off; 1, 0 */
    SETTING_SECONDS,   /* 1.5, and with a unit 100ms, 30s, 5m, 1h */
    SETTING_SIZE,      /* bytes; 64K, 16M, 1G by 1024; its words, if any, are 0, 1 */
    SETTING_TEXT,      /* never NULL; "" when there is none */
    SETTING_PATH,      /* likewise */
    SETTING_CHOICE,    /* the position of the word */
    SETTING_WORDS,     /* any of the words, a bit for each; from here on lists */
    SETTING_ADDRESSES, /* a list; in one text separated by commas or blanks; each may
                          be followed by " proxy" */
    SETTING_PATHS,     /* likewise */
    SETTING_SERVERS,   /* the same of IP addresses, without a port the default one */
    SETTING_NETWORKS   /* the same of IP addresses and networks, as of cidr.h */
};

struct setting_list {
    const char **at;
    size_t count;
};

#define FIELD_COUNT unsigned
#define FIELD_BOOL bool
#define FIELD_SECONDS double
#define FIELD_SIZE uint64_t
#define FIELD_TEXT const char *
#define FIELD_PATH const char *
#define FIELD_CHOICE int
#define FIELD_WORDS unsigned
#define FIELD_ADDRESSES struct setting_list
#define FIELD_PATHS struct setting_list
#define FIELD_SERVERS struct setting_list
#define FIELD_NETWORKS struct setting_list

/* SET_listen and so on: the rows' numbers. */
enum setting_id {
#define SETTING(name, ...) SET_##name,
#include "process/settings.def"
#undef SETTING
    SETTINGS
};

/* The values of gc; those of log_level and log_format are base/log_line.h's. */
enum { GC_INCREMENTAL, GC_GENERATIONAL };

/* The words of memory; settings_load puts a number in the place of the first. */
enum { MEMORY_AUTO, MEMORY_NONE };

/* The bits of compat. */
enum { COMPAT_LUA51 = 1, COMPAT_NGX = 2 };

/* Where values come from, the later going before the earlier. */
enum setting_layer {
    LAYER_DEFAULT = 1,
    LAYER_FILE,
    LAYER_ENVIRONMENT,
    LAYER_COMMAND,
    LAYER_KEPT
};

/* One of several apps in one host: an element of `apps` in the config file. */
struct settings_app {
    const char *name; /* where it is: "/shop", "api.example.org/v1", "the rest" */
    const char *host; /* as vhost.h has it */
    const char *path;
    const char *dir;           /* absolute, symlinks as they are */
    const char *given;         /* dir as it was written */
    const char *place;         /* "atoll.lua:3: apps[1]" */
    struct settings *settings; /* the host's, and over them its own; owned */
};

struct settings {
#define SETTING(name, kind, ...) FIELD_##kind name;
#include "process/settings.def"
#undef SETTING
    /* Where the value was written: "atoll.lua:3", "ATOLL_STRICT", "--strict"; "" for
     * the default. */
    const char *origin[SETTINGS];
    unsigned char layer[SETTINGS];
    struct settings_app *apps;
    size_t app_count; /* 0: there is one, which the command line names */
    struct arena texts;
};

struct setting {
    const char *name; /* with underscores */
    enum setting_kind kind;
    const char *fallback; /* the default */
    double least, most;
    const char *words; /* separated by '|' */
    const char *unit;
    bool reloads; /* a change takes effect with a reload */
    const char *help;
    size_t offset; /* of the field */
};

extern const struct setting settings_table[SETTINGS];

/* Whether an element of listen is for proxies; *len: the bytes of its address. */
bool setting_for_proxies(const char *listen, size_t *len);

/* The row of that name, dashes and underscores being the same; or NULL. */
const struct setting *setting_find(const char *name);

/* The known name nearest to a wrong one, or NULL. */
const char *setting_suggest(const char *wrong);

/* "a number", "a size such as 64K": what a value of that row is. */
const char *setting_expects(const struct setting *row);

/* Checks text and stores it. A list grows, but begins anew with another layer. Texts
 * and origin are copied. The problem, of code EX_CONFIG, has no place yet. */
int setting_set(struct settings *s, const struct setting *row, const char *text,
                enum setting_layer layer, const char *origin, struct problem *p);

/* "64K", "auto", "0.05": the value as it could be written; returns out. A list's
 * elements are separated by commas. */
char *setting_text(const struct settings *s, const struct setting *row, char *out,
                   size_t size);

/* Defaults only; NULL when memory has run out. */
struct settings *settings_new(void);

void settings_free(struct settings *s);

/* The same values again, without the apps; NULL when memory has run out. */
struct settings *settings_copy(const struct settings *s);

/* What stands on the command line. */
struct setting_given {
    const struct setting *row;
    const char *value; /* borrowed */
    char option[48];   /* "--isolates", "-n": for messages */
};

struct settings_source {
    const char *config; /* file to read; NULL for none */
    bool required;      /* a missing config is an error */
    const struct setting_given *given;
    size_t given_count;
    const struct setting_given *kept; /* by a program that took over; before all else */
    size_t kept_count;
};

/* NULL with the problem: EX_USAGE for the command line, EX_CONFIG for the rest. */
struct settings *settings_load(const struct settings_source *source, struct problem *p);

/* Takes over what a running host cannot change from running into fresh, also for each
 * of its apps, and calls changed for each such row that had another value. 0, or -1
 * when memory has run out. */
int settings_keep(struct settings *fresh, const struct settings *running,
                  void changed(const struct setting *row));

/* An ATOLL_ variable that is no setting but looks like one mistyped; returns its name
 * (up to the '=') and stores the variable that may be meant. Starts with *at = 0; NULL
 * at the end. */
const char *settings_stray(size_t *at, char *meant, size_t size);

/* For `atoll help settings`, `atoll help settings-file` (etc/atoll.lua). */
void settings_print_help(FILE *out);
void settings_print_file(FILE *out);

/* One line for each value that is not the default, with its origin. */
void settings_print(const struct settings *s, FILE *out);

#endif
