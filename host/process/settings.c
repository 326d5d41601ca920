#include "process/settings.h"

#include "net/cidr.h"
#include "process/suggest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WHEN_START, WHEN_RELOAD };

const struct setting settings_table[SETTINGS] = {
/* clang-format off */
#define SETTING(name, kind, fallback, least, most, words, unit, when, help)            \
    {#name, SETTING_##kind, fallback, least, most, words, unit,                        \
     WHEN_##when == WHEN_RELOAD, help, offsetof(struct settings, name)},
/* clang-format on */
#include "process/settings.def"
#undef SETTING
};

static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '-' && *b == '_')) return false;
    return *a == *b;
}

const struct setting *setting_find(const char *name) {
    for (size_t i = 0; i < SETTINGS; i++)
        if (same_name(name, settings_table[i].name)) return &settings_table[i];
    return NULL;
}

const char *setting_suggest(const char *wrong) {
    struct suggestion s = suggest_for(wrong);
    for (size_t i = 0; i < SETTINGS; i++) suggest_offer(&s, settings_table[i].name);
    return s.word;
}

const char *setting_expects(const struct setting *row) {
    switch (row->kind) {
    case SETTING_COUNT: return "a whole number";
    case SETTING_BOOL: return "true or false";
    case SETTING_SECONDS: return "seconds, or a time such as 100ms, 30s or 5m";
    case SETTING_SIZE: return "bytes, or a size such as 64K or 16M";
    case SETTING_TEXT: return "text";
    case SETTING_PATH: return "a path";
    case SETTING_CHOICE: return "a word";
    case SETTING_WORDS: return "words";
    case SETTING_ADDRESSES: return "addresses";
    case SETTING_PATHS: return "paths";
    case SETTING_SERVERS: return "IP addresses";
    case SETTING_NETWORKS: return "IP addresses or networks";
    }
    return "";
}

/* The position of text among words separated by '|', or -1. */
static int find_word(const char *words, const char *text, size_t len) {
    for (int i = 0; len && *words; i++) {
        size_t n = strcspn(words, "|");
        if (n == len && memcmp(words, text, n) == 0) return i;
        words += n + (words[n] == '|');
    }
    return -1;
}

/* Digits, and at most one point with digits behind it; moves *at behind them. */
static bool read_number(const char **at, double *out) {
    const char *start = *at;
    size_t whole = strspn(start, "0123456789"), more = 0;
    if (start[whole] == '.') more = 1 + strspn(start + whole + 1, "0123456789");
    if ((whole == 0 && more == 0) || more == 1 || whole + more > 30) return false;
    char copy[32];
    memcpy(copy, start, whole + more);
    copy[whole + more] = 0;
    *out = strtod(copy, NULL);
    *at = start + whole + more;
    return true;
}

static bool read_count(const char *text, double *out) {
    return read_number(&text, out) && *text == 0 && *out == floor(*out);
}

static bool read_seconds(const char *text, double *out) {
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 0.001}, {"m", 60}, {"h", 3600}};
    if (!read_number(&text, out)) return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text, units[i].unit) == 0) {
            *out *= units[i].factor;
            return true;
        }
    return false;
}

static bool read_size(const char *text, double *out) {
    static const char units[] = "KMGT";
    if (!read_number(&text, out)) return false;
    const char *unit = *text ? strchr(units, *text & ~0x20) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) *out *= 1024;
        text++;
        if (*text == 'i') text++;
    }
    if (*text == 'B') text++;
    return *text == 0 && *out == floor(*out);
}

static int read_bool(const char *text) {
    int at = find_word("false|true|no|yes|off|on|0|1", text, strlen(text));
    return at < 0 ? -1 : at & 1;
}

static void text_of_size(double bytes, char *out, size_t size) {
    const char *units = " KMGT"; /* the first for bytes */
    while (bytes >= 1024 && fmod(bytes, 1024) == 0 && units[1]) {
        bytes /= 1024;
        units++;
    }
    snprintf(out, size, "%.0f%.1s", bytes, *units == ' ' ? "" : units);
}

static int out_of_range(const struct setting *row, const char *text,
                        struct problem *p) {
    char least[32], most[32];
    if (row->kind == SETTING_SIZE) {
        text_of_size(row->least, least, sizeof least);
        text_of_size(row->most, most, sizeof most);
    } else {
        snprintf(least, sizeof least, "%.10g", row->least);
        snprintf(most, sizeof most, "%.10g", row->most);
    }
    return problem_set(p, EX_CONFIG, "%s must be from %s to %s%s%s, not %.60s",
                       row->name, least, most, *row->unit ? " " : "", row->unit, text);
}

static int not_expected(const struct setting *row, const char *text,
                        struct problem *p) {
    char words[96] = "";
    if (*row->words) snprintf(words, sizeof words, " or %s", row->words);
    return problem_set(p, EX_CONFIG, "%s must be %s%s, not '%.60s'", row->name,
                       setting_expects(row), words, text);
}

static int read_ranged(const struct setting *row, const char *text,
                       bool read(const char *text, double *out), double *out,
                       struct problem *p) {
    if (!read(text, out)) {
        const char *digits = text + (*text == '-');
        double ignored;
        if (*text == '-' && read(digits, &ignored)) return out_of_range(row, text, p);
        return not_expected(row, text, p);
    }
    if (*out < row->least || *out > row->most) return out_of_range(row, text, p);
    return 0;
}

static int set_size(const struct setting *row, const char *text, uint64_t *field,
                    struct problem *p) {
    int word = find_word(row->words, text, strlen(text));
    double number = word;
    if (word < 0 && read_ranged(row, text, read_size, &number, p) < 0) return -1;
    *field = (uint64_t)number;
    return 0;
}

static int no_memory(struct problem *p) {
    return problem_set(p, EX_OSERR, "out of memory");
}

static const char *copy(struct settings *s, const char *text, size_t len) {
    return arena_copy(&s->texts, span_of(text, len)).at;
}

static int set_text(struct settings *s, const struct setting *row, const char *text,
                    const char **field, struct problem *p) {
    size_t len = strlen(text);
    if ((double)len < row->least)
        return problem_set(p, EX_CONFIG, "%s must not be empty", row->name);
    if ((double)len > row->most)
        return problem_set(p, EX_CONFIG, "%s is longer than %.0f bytes", row->name,
                           row->most);
    *field = copy(s, text, len);
    return *field ? 0 : no_memory(p);
}

/* "debug, info or warn" */
static void enumerate(const char *words, char *out, size_t size) {
    size_t n = 0;
    for (const char *w = words; *w && n + 5 < size; w++) {
        if (*w == '|') {
            bool last = !strchr(w + 1, '|');
            n += (size_t)snprintf(out + n, size - n, last ? " or " : ", ");
        } else {
            out[n++] = *w;
        }
    }
    out[n] = 0;
}

static int not_a_word(const struct setting *row, const char *text, size_t len,
                      struct problem *p) {
    char words[128];
    enumerate(row->words, words, sizeof words);
    return problem_set(p, EX_CONFIG, "%s must be %s, not '%.*s'", row->name, words,
                       len < 60 ? (int)len : 60, text);
}

static int set_choice(const struct setting *row, const char *text, int *field,
                      struct problem *p) {
    int at = find_word(row->words, text, strlen(text));
    if (at < 0) return not_a_word(row, text, strlen(text), p);
    *field = at;
    return 0;
}

/* The next piece of a list, moving *at behind it; 0 at the end. */
static size_t next_piece(const char **at, const char **piece) {
    *piece = *at + strspn(*at, ", \t\n");
    size_t len = strcspn(*piece, ", \t\n");
    *at = *piece + len;
    return len;
}

static int set_words(const struct setting *row, const char *text, bool anew,
                     unsigned *field, struct problem *p) {
    unsigned grown = anew ? 0 : *field;
    const char *word;
    for (size_t len; (len = next_piece(&text, &word));) {
        int at = find_word(row->words, word, len);
        if (at < 0) return not_a_word(row, word, len, p);
        grown |= 1u << at;
    }
    *field = grown;
    return 0;
}

static int check_element(const struct setting *row, const char *text,
                         char why[ADDR_WHY]) {
    struct addr address;
    struct cidr_list list = {0};
    switch (row->kind) {
    case SETTING_SERVERS: return addr_numeric(text, 0, &address, why);
    case SETTING_NETWORKS: return cidr_add(&list, text, why);
    case SETTING_ADDRESSES: return addr_check(text, why);
    default: return 0;
    }
}

static const char for_proxies[] = " proxy";

bool setting_for_proxies(const char *listen, size_t *len) {
    *len = strcspn(listen, " ");
    return strcmp(listen + *len, for_proxies) == 0;
}

/* The word behind the last address, which belongs to the same text. */
static int mark_proxy(struct settings *s, const struct setting *row, bool first,
                      struct setting_list *list, struct problem *p) {
    char text[512];
    size_t len;
    const char **last = first ? NULL : &list->at[list->count - 1];
    if (!last || setting_for_proxies(*last, &len))
        return problem_set(p, EX_CONFIG,
                           "%s: the word proxy stands once and behind its address: "
                           "write \"127.0.0.1:8080 proxy\"",
                           row->name);
    int n = snprintf(text, sizeof text, "%.400s%s", *last, for_proxies);
    *last = copy(s, text, (size_t)n);
    return *last ? 0 : no_memory(p);
}

static int add_address(struct settings *s, const struct setting *row, const char *text,
                       size_t len, struct setting_list *list, struct problem *p) {
    char why[ADDR_WHY];
    const char *kept = copy(s, text, len);
    if (!kept) return no_memory(p);
    int err = check_element(row, kept, why);
    if (err < 0)
        return problem_set(p, EX_CONFIG, "%s: '%.200s': %s", row->name, kept, why);
    if ((double)list->count >= row->most)
        return problem_set(p, EX_CONFIG, "%s has more than %.0f %s", row->name,
                           row->most, setting_expects(row));
    const char **at = arena_alloc(&s->texts, (list->count + 1) * sizeof *at);
    if (!at) return no_memory(p);
    if (list->count) memcpy(at, list->at, list->count * sizeof *at);
    at[list->count++] = kept;
    list->at = at;
    return 0;
}

static int set_addresses(struct settings *s, const struct setting *row,
                         const char *text, bool anew, struct setting_list *list,
                         struct problem *p) {
    struct setting_list grown = anew ? (struct setting_list){0} : *list;
    const char *at;
    bool first = true;
    for (size_t len; (len = next_piece(&text, &at)); first = false) {
        bool word = row->kind == SETTING_ADDRESSES &&
                    span_eq(span_of(at, len), span_str(for_proxies + 1));
        int err = word ? mark_proxy(s, row, first, &grown, p)
                       : add_address(s, row, at, len, &grown, p);
        if (err < 0) return err;
    }
    if ((double)grown.count < row->least)
        return problem_set(p, EX_CONFIG, "%s needs an address", row->name);
    *list = grown;
    return 0;
}

int setting_set(struct settings *s, const struct setting *row, const char *text,
                enum setting_layer layer, const char *origin, struct problem *p) {
    size_t id = (size_t)(row - settings_table);
    void *field = (char *)s + row->offset;
    double number = 0;
    int err = 0, at;
    switch (row->kind) {
    case SETTING_COUNT:
        if (find_word(row->words, text, strlen(text)) < 0)
            err = read_ranged(row, text, read_count, &number, p);
        if (!err) *(unsigned *)field = (unsigned)number;
        break;
    case SETTING_SECONDS:
        err = read_ranged(row, text, read_seconds, &number, p);
        if (!err) *(double *)field = number;
        break;
    case SETTING_SIZE: err = set_size(row, text, field, p); break;
    case SETTING_BOOL:
        at = read_bool(text);
        if (at < 0) return not_expected(row, text, p);
        *(bool *)field = at;
        break;
    case SETTING_CHOICE: err = set_choice(row, text, field, p); break;
    case SETTING_WORDS:
        err = set_words(row, text, s->layer[id] != layer, field, p);
        break;
    case SETTING_TEXT:
    case SETTING_PATH: err = set_text(s, row, text, field, p); break;
    case SETTING_ADDRESSES:
    case SETTING_PATHS:
    case SETTING_SERVERS:
    case SETTING_NETWORKS:
        err = set_addresses(s, row, text, s->layer[id] != layer, field, p);
        break;
    }
    if (err) return err;
    s->layer[id] = (unsigned char)layer;
    s->origin[id] = *origin ? copy(s, origin, strlen(origin)) : "";
    return s->origin[id] ? 0 : no_memory(p);
}

static void text_of_list(const struct setting_list *list, char *out, size_t size) {
    size_t n = 0;
    *out = 0;
    for (size_t i = 0; i < list->count && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "," : "", list->at[i]);
}

static void text_of_choice(const char *words, int at, char *out, size_t size) {
    for (; at > 0; at--) words += strcspn(words, "|") + 1;
    snprintf(out, size, "%.*s", (int)strcspn(words, "|"), words);
}

static void text_of_words(const char *words, unsigned set, char *out, size_t size) {
    size_t n = 0;
    *out = 0;
    for (int at = 0; set >> at && n < size; at++) {
        char word[32];
        if (!(set >> at & 1)) continue;
        text_of_choice(words, at, word, sizeof word);
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "", word);
    }
}

char *setting_text(const struct settings *s, const struct setting *row, char *out,
                   size_t size) {
    const void *field = (const char *)s + row->offset;
    switch (row->kind) {
    case SETTING_COUNT:
        if (*(const unsigned *)field == 0 && *row->words)
            text_of_choice(row->words, 0, out, size);
        else
            snprintf(out, size, "%u", *(const unsigned *)field);
        break;
    case SETTING_BOOL:
        snprintf(out, size, "%s", *(const bool *)field ? "true" : "false");
        break;
    case SETTING_SECONDS: snprintf(out, size, "%.10g", *(const double *)field); break;
    case SETTING_SIZE:
        if (*row->words && *(const uint64_t *)field < (uint64_t)row->least)
            text_of_choice(row->words, (int)*(const uint64_t *)field, out, size);
        else
            text_of_size((double)*(const uint64_t *)field, out, size);
        break;
    case SETTING_TEXT:
    case SETTING_PATH: snprintf(out, size, "%s", *(const char *const *)field); break;
    case SETTING_CHOICE:
        text_of_choice(row->words, *(const int *)field, out, size);
        break;
    case SETTING_WORDS:
        text_of_words(row->words, *(const unsigned *)field, out, size);
        break;
    case SETTING_ADDRESSES:
    case SETTING_PATHS:
    case SETTING_SERVERS:
    case SETTING_NETWORKS: text_of_list(field, out, size); break;
    }
    return out;
}

struct settings *settings_new(void) {
    struct problem p;
    struct settings *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    arena_init(&s->texts, NULL, 0);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &settings_table[i];
        if (setting_set(s, row, row->fallback, LAYER_DEFAULT, "", &p) < 0) {
            settings_free(s);
            return NULL;
        }
    }
    return s;
}

void settings_free(struct settings *s) {
    if (!s) return;
    for (size_t i = 0; i < s->app_count; i++) settings_free(s->apps[i].settings);
    arena_reset(&s->texts);
    free(s);
}
