#include "process/settings.h"

#include "process/wrap.h"

#include <string.h>

/* Which is no row: each of them is a table of settings. */
static const char apps_help[] =
    "Several apps in one host, in place of one on the command line. Each is a table "
    "with "
    "dir, which is relative to this file; path, as in path = \"/shop\", or host, as in "
    "host = \"api.example.org\" or \"*.example.org\", or both, or neither for whatever "
    "the others do not have; isolates and any other setting for this app alone.";

/* What a user writes: auto or a number, one of the words, ... */
static void print_kind(FILE *out, const struct setting *row) {
    switch (row->kind) {
    case SETTING_COUNT:
        fprintf(out, "%s%s%.0f to %.0f", row->words, *row->words ? " or " : "",
                row->least, row->most);
        break;
    case SETTING_SECONDS:
        fprintf(out, "%s, %.10g to %.10g", row->unit, row->least, row->most);
        break;
    case SETTING_BOOL: fputs("true or false", out); break;
    case SETTING_SIZE:
        for (const char *w = row->words; *w; w++)
            *w == '|' ? fputs(" or ", out) : fputc(*w, out);
        fprintf(out, "%sbytes, K, M, G", *row->words ? " or " : "");
        break;
    case SETTING_TEXT: fputs("text", out); break;
    case SETTING_PATH: fputs("path", out); break;
    case SETTING_CHOICE: fputs(row->words, out); break;
    case SETTING_WORDS: fprintf(out, "any of %s", row->words); break;
    case SETTING_ADDRESSES: fputs("addresses", out); break;
    case SETTING_PATHS: fputs("paths", out); break;
    case SETTING_SERVERS: fputs("IP addresses", out); break;
    case SETTING_NETWORKS: fputs("IP addresses, networks", out); break;
    }
}

void settings_print_help(FILE *out) {
    fputs(
        "Every setting can be given as a long option (--body-max 1M or --set\n"
        "body_max=1M), in the environment (ATOLL_BODY_MAX=1M) and in the config file\n"
        "(body_max = \"1M\"); the command line goes before the environment, the\n"
        "environment before the file, the file before the default. Times are in\n"
        "seconds or with a unit: 100ms, 30s, 5m, 1h. Settings marked * take effect\n"
        "with a reload, the others when atoll is started again.\n",
        out);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &settings_table[i];
        fprintf(out, "\n%s%s = %s  (", row->name, row->reloads ? "*" : "",
                *row->fallback ? row->fallback : "\"\"");
        print_kind(out, row);
        fputs(")\n", out);
        wrap_text(out, "    ", row->help);
    }
    fputs("\napps* = {}  (tables; only in the config file)\n", out);
    wrap_text(out, "    ", apps_help);
}

static bool is_quoted(const struct setting *row) {
    switch (row->kind) {
    case SETTING_COUNT: return row->fallback[strspn(row->fallback, "0123456789")];
    case SETTING_BOOL:
    case SETTING_SECONDS: return false;
    default: return true;
    }
}

void settings_print_file(FILE *out) {
    fputs(
        "-- Settings of atoll, each with its default. Put what is to be different "
        "into\n"
        "-- atoll.lua beside app.lua, or into a file named by --config. The "
        "environment\n"
        "-- (ATOLL_<NAME>) and the command line (--<name>) go before this file.\n"
        "-- This is Lua without most of Lua; env(\"NAME\", default) reads the "
        "environment.\n"
        "-- Times are in seconds, or texts such as \"100ms\"; sizes such as \"64K\".\n"
        "return {\n",
        out);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &settings_table[i];
        bool list = *row->fallback && row->kind >= SETTING_WORDS;
        const char *quote = is_quoted(row) ? "\"" : "";
        if (i > 0) fputc('\n', out);
        wrap_text(out, "  -- ", row->help);
        if (row->kind == SETTING_CHOICE) fprintf(out, "  -- One of %s.\n", row->words);
        if (row->kind == SETTING_WORDS) fprintf(out, "  -- Any of %s.\n", row->words);
        fprintf(out, "  -- %s = %s%s%s%s%s,\n", row->name, list ? "{ " : "", quote,
                row->fallback, quote, list ? " }" : "");
    }
    fputc('\n', out);
    wrap_text(out, "  -- ", apps_help);
    fputs("  -- apps = {},\n", out);
    fputs("}\n", out);
}

void settings_print(const struct settings *s, FILE *out) {
    for (size_t i = 0; i < SETTINGS; i++) {
        char text[64 * 300];
        if (*s->origin[i] == 0) continue;
        fprintf(out, "%s = %s  (%s)\n", settings_table[i].name,
                setting_text(s, &settings_table[i], text, sizeof text), s->origin[i]);
    }
    for (size_t i = 0; i < s->app_count; i++) {
        const struct settings_app *a = &s->apps[i];
        fprintf(out, "apps[%zu] = %s  (%s)\n", i + 1, a->name, a->place);
        for (size_t k = 0; k < SETTINGS; k++) {
            char text[64 * 300];
            if (strcmp(a->settings->origin[k], a->place) != 0) continue;
            fprintf(out, "apps[%zu].%s = %s\n", i + 1, settings_table[k].name,
                    setting_text(a->settings, &settings_table[k], text, sizeof text));
        }
    }
}
