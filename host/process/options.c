#include "process/options.h"

#include "process/suggest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The options with letters, and those that are no settings. */
struct flag {
    char letter;
    const char *name;
    enum { FLAG_SETTING, FLAG_CONFIG, FLAG_SET, FLAG_HELP, FLAG_VERSION } what;
};

static const struct flag flags[] = {
    {'l', "listen", FLAG_SETTING}, {'n', "isolates", FLAG_SETTING},
    {'c', "config", FLAG_CONFIG},  {0, "set", FLAG_SET},
    {'h', "help", FLAG_HELP},      {'V', "version", FLAG_VERSION},
};
enum { FLAGS = sizeof flags / sizeof *flags };

struct parser {
    struct options *o;
    char **argv;
    int argc, at;
    struct problem *problem;
};

static int misuse(struct parser *s, const char *what, const char *argument,
                  const char *meant_before, const char *meant) {
    return problem_set(s->problem, EX_USAGE, "%s '%.200s'%s%s%s%s", what, argument,
                       meant ? "; did you mean '" : "", meant ? meant_before : "",
                       meant ? meant : "", meant ? "'?" : "");
}

static int give(struct parser *s, const struct setting *row, const char *value,
                const char *option) {
    struct setting_given *g = &s->o->given[s->o->given_count++];
    *g = (struct setting_given){.row = row, .value = value};
    /* "-n" of "-n4", "--isolates" of "--isolates=4" */
    int len = option[1] == '-' ? (int)strcspn(option, "=") : 2;
    snprintf(g->option, sizeof g->option, "%.*s", len, option);
    return 0;
}

/* The value behind the option at hand, whether after '=' or in the next argument. */
static int take_value(struct parser *s, const char *attached, const char **value) {
    const char *option = s->argv[s->at];
    *value = attached;
    if (!attached && s->at + 1 < s->argc) *value = s->argv[++s->at];
    if (*value) return 0;
    return problem_set(s->problem, EX_USAGE, "option '%.200s' needs a value", option);
}

static int unknown_option(struct parser *s, const char *argument, const char *name) {
    struct suggestion near = suggest_for(name);
    char dashed[64];
    for (int i = 0; i < FLAGS; i++) suggest_offer(&near, flags[i].name);
    for (size_t i = 0; i < SETTINGS; i++) suggest_offer(&near, settings_table[i].name);
    if (near.word) {
        snprintf(dashed, sizeof dashed, "%s", near.word);
        for (char *c = dashed; *c; c++)
            if (*c == '_') *c = '-';
    }
    return misuse(s, "unknown option", argument, "--", near.word ? dashed : NULL);
}

static int take_set(struct parser *s, const char *attached) {
    const char *option = s->argv[s->at], *text;
    char name[64];
    if (take_value(s, attached, &text) < 0) return -1;
    size_t len = strcspn(text, "=");
    if (text[len] == 0 || len == 0 || len >= sizeof name)
        return problem_set(s->problem, EX_USAGE, "--set needs NAME=VALUE, not '%.200s'",
                           text);
    memcpy(name, text, len);
    name[len] = 0;
    const struct setting *row = setting_find(name);
    if (!row) return misuse(s, "unknown setting", name, "", setting_suggest(name));
    return give(s, row, text + len + 1, option);
}

static bool is_yes_or_no(const char *text) {
    static const char *const words[] = {"true", "false", "yes", "no",
                                        "on",   "off",   "1",   "0"};
    for (size_t i = 0; text && i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) return true;
    return false;
}

static int take_setting(struct parser *s, const struct setting *row,
                        const char *attached) {
    const char *option = s->argv[s->at], *value = attached;
    if (row->kind == SETTING_BOOL) {
        if (!value && is_yes_or_no(s->argv[s->at + 1])) value = s->argv[++s->at];
        return give(s, row, value ? value : "true", option);
    }
    if (take_value(s, attached, &value) < 0) return -1;
    return give(s, row, value, option);
}

static int take_flag(struct parser *s, const struct flag *flag, const char *attached) {
    switch (flag->what) {
    case FLAG_SETTING: return take_setting(s, setting_find(flag->name), attached);
    case FLAG_CONFIG: return take_value(s, attached, &s->o->config);
    case FLAG_SET: return take_set(s, attached);
    case FLAG_HELP: s->o->asked_help = true; return 0;
    case FLAG_VERSION: s->o->verb = VERB_VERSION; return 0;
    }
    return 0;
}

static int take_long(struct parser *s, const char *argument) {
    char name[64];
    size_t len = strcspn(argument + 2, "=");
    const char *attached = argument[2 + len] ? argument + 2 + len + 1 : NULL;
    if (len >= sizeof name) return misuse(s, "unknown option", argument, "", NULL);
    memcpy(name, argument + 2, len);
    name[len] = 0;
    for (int i = 0; i < FLAGS; i++) {
        if (strcmp(name, flags[i].name) != 0) continue;
        if (attached && (flags[i].what == FLAG_HELP || flags[i].what == FLAG_VERSION))
            return problem_set(s->problem, EX_USAGE, "option '--%s' takes no value",
                               name);
        return take_flag(s, &flags[i], attached);
    }
    const struct setting *row = setting_find(name);
    if (row) return take_setting(s, row, attached);
    row = strncmp(name, "no-", 3) == 0 ? setting_find(name + 3) : NULL;
    if (row && row->kind == SETTING_BOOL && !attached)
        return give(s, row, "false", argument);
    return unknown_option(s, argument, name);
}

static int take_short(struct parser *s, const char *argument) {
    for (const char *letter = argument + 1; *letter; letter++) {
        const struct flag *flag = NULL;
        for (int i = 0; i < FLAGS; i++)
            if (*letter == flags[i].letter) flag = &flags[i];
        if (!flag) return misuse(s, "unknown option", argument, "", NULL);
        bool has_value = flag->what == FLAG_SETTING || flag->what == FLAG_CONFIG;
        const char *attached = has_value && letter[1] ? letter + 1 : NULL;
        if (attached && *attached == '=') attached++;
        if (take_flag(s, flag, attached) < 0) return -1;
        if (has_value) break;
    }
    return 0;
}

static int take_word(struct parser *s, char *word) {
    if (s->o->word)
        return problem_set(s->problem, EX_USAGE, "one argument too many: '%.200s'",
                           word);
    s->o->word = word;
    return 0;
}

static int take_arguments(struct parser *s) {
    struct options *o = s->o;
    enum verb_takes takes = verb_table[o->verb].takes;
    bool ended = takes == TAKES_REST;
    for (; s->at < s->argc; s->at++) {
        char *argument = s->argv[s->at];
        int err = 0;
        if (ended && takes == TAKES_REST) break;
        if (takes == TAKES_SCRIPT && o->word) break;
        if (!ended && strcmp(argument, "--") == 0)
            ended = true;
        else if (!ended && strncmp(argument, "--", 2) == 0)
            err = take_long(s, argument);
        else if (!ended && argument[0] == '-' && argument[1])
            err = take_short(s, argument);
        else
            err = take_word(s, argument);
        if (err) return err;
    }
    o->rest = s->argv + s->at;
    o->rest_count = s->argc - s->at;
    return 0;
}

/* `atoll apps/hello` is meant as `atoll serve apps/hello`. */
static int unknown_verb(struct parser *s, const char *word) {
    struct stat st;
    if (stat(word, &st) == 0 && S_ISDIR(st.st_mode))
        return problem_set(s->problem, EX_USAGE,
                           "no verb; did you mean 'atoll serve %.200s'?", word);
    return misuse(s, "unknown verb", word, "", verb_suggest(word, false));
}

static int take_verb(struct parser *s) {
    static const struct {
        const char *option;
        enum verb verb;
    } spelled[] = {{"-h", VERB_HELP},
                   {"--help", VERB_HELP},
                   {"-V", VERB_VERSION},
                   {"--version", VERB_VERSION},
                   {"-t", VERB_CHECK}};
    if (s->argc < 2) return problem_set(s->problem, EX_USAGE, "no verb");
    const char *word = s->argv[s->at++];
    int verb = verb_find(word);
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
        if (strcmp(word, spelled[i].option) == 0) verb = (int)spelled[i].verb;
    if (verb < 0 && *word == '-')
        return problem_set(s->problem, EX_USAGE,
                           "a verb comes before options such as '%.200s'", word);
    if (verb < 0) return unknown_verb(s, word);
    s->o->verb = (enum verb)verb;
    return 0;
}

static int check(struct parser *s) {
    const struct options *o = s->o;
    const struct verb_row *row = &verb_table[o->verb];
    if (o->asked_help || o->verb == VERB_VERSION) return 0;
    if (!row->settings && (o->given_count || o->config))
        return problem_set(s->problem, EX_USAGE, "'atoll %s' has no settings",
                           row->name);
    if (row->takes == TAKES_SCRIPT && !o->word)
        return problem_set(s->problem, EX_USAGE, "a script to run is missing");
    return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct problem *p) {
    struct parser s = {.o = o, .argv = argv, .argc = argc, .at = 1, .problem = p};
    *o = (struct options){.verb = VERB_HELP, .rest = argv + argc};
    o->given = calloc((size_t)argc + 1, sizeof *o->given);
    if (!o->given) return problem_set(p, EX_OSERR, "out of memory");
    if (take_verb(&s) < 0 || take_arguments(&s) < 0 || check(&s) < 0) return -1;
    return 0;
}

void options_done(struct options *o) {
    free(o->given);
    o->given = NULL;
}
