#include "process/help.h"

#include "process/wrap.h"

#include "codec/http1_read.h" /* llhttp */
#include "net/loop.h"         /* libev */
#include "process/settings.h"
#include "process/settings_read.h"
#include "process/suggest.h"

#include <openssl/opensslv.h>
#include <string.h>

#define OPTIONS "[OPTION...]"

const struct verb_row verb_table[VERBS] = {
    [VERB_SERVE] =
        {"serve", TAKES_WORD, true, "[APPDIR] " OPTIONS, "serve the app in APPDIR (.)",
         "Serves the app in APPDIR: app.lua, routes/ or public/, or several of them; "
         "or, "
         "without APPDIR, the apps that the config file names. "
         "One "
         "line on stderr says when it is ready, and on which addresses.\n"
         "Signals: HUP reloads; TERM and QUIT finish what is in flight and stop; INT "
         "does the same, and a second INT stops at once; USR1 opens log files anew; "
         "USR2 goes on with a new program file; TTIN and TTOU start and stop an "
         "isolate."},
    [VERB_CHECK] =
        {"check", TAKES_WORD, true, "[APPDIR] " OPTIONS,
         "load config and app, say what is wrong (-t)",
         "Reads the config and loads the app in APPDIR (.) in a throw-away isolate. "
         "Nothing is served. Exits 0 when all is well, 78 when not."},
    [VERB_ROUTES] = {"routes", TAKES_WORD, true, "[APPDIR] " OPTIONS,
                     "print the route table",
                     "Loads the app in APPDIR (.) and prints its routes."},
    [VERB_RUN] =
        {"run", TAKES_SCRIPT, true, OPTIONS " SCRIPT [ARG...]",
         "run one Lua script, in a fiber",
         "Runs SCRIPT in an isolate, where it may wait, connect and serve; with -n N "
         "in "
         "each of N isolates. Everything behind SCRIPT is the script's own. Exits with "
         "what it returns or gives to atoll.exit, 1 after an error; INT, TERM and HUP "
         "cancel it and end atoll by that signal, unless it listens for them."},
    [VERB_TEST] =
        {"test", TAKES_REST, false, "[BUSTED ARG...]", "run busted inside the host",
         "Runs busted in an isolate, so that specs may wait, connect and serve. "
         "All arguments are busted's; settings come from the environment."},
    [VERB_HELP] = {"help", TAKES_WORD, false, "[VERB | settings | settings-file]",
                   "say how something is used",
                   "Prints help about a verb, the table of "
                   "settings, or a config file with every "
                   "setting at its default."},
    [VERB_VERSION] = {"version", TAKES_WORD, false, "", "print versions",
                      "Prints the versions of atoll and of what it was built with."},
};

int verb_find(const char *name) {
    for (int i = 0; i < VERBS; i++)
        if (strcmp(name, verb_table[i].name) == 0) return i;
    return -1;
}

const char *verb_suggest(const char *wrong, bool topics) {
    struct suggestion s = suggest_for(wrong);
    for (int i = 0; i < VERBS; i++) suggest_offer(&s, verb_table[i].name);
    if (topics) {
        suggest_offer(&s, "settings");
        suggest_offer(&s, "settings-file");
    }
    return s.word;
}

void help_usage(FILE *out) {
    fputs("usage: atoll VERB ...\n\n", out);
    for (int i = 0; i < VERBS; i++) {
        char use[64];
        snprintf(use, sizeof use, "%s %s", verb_table[i].name, verb_table[i].word);
        fprintf(out, "  atoll %-40s %s\n", use, verb_table[i].summary);
    }
    fputs("\n'atoll help VERB' tells more, 'atoll help settings' lists all settings.\n",
          out);
}

static void print_options(FILE *out) {
    fputs(
        "\nOptions:\n"
        "  -l, --listen ADDR     listen there (repeatable): HOST:PORT, [IPV6]:PORT,\n"
        "                        :PORT, unix:/PATH; default 127.0.0.1:8080; \"ADDR "
        "proxy\"\n"
        "                        for the PROXY protocol (see trusted_proxies)\n"
        "  -n, --isolates N      threads that serve; default auto\n"
        "  -c, --config FILE     settings to read; default APPDIR/atoll.lua if there\n"
        "      --set NAME=VALUE  any setting; --NAME VALUE is the same\n"
        "  -h, --help            this text\n"
        "  -V, --version         versions\n\n"
        "Every setting of 'atoll help settings' is also a long option and, as\n"
        "ATOLL_<NAME>, a variable in the environment.\n",
        out);
}

void help_verb(FILE *out, enum verb verb) {
    const struct verb_row *row = &verb_table[verb];
    fprintf(out, "usage: atoll %s%s%s\n\n", row->name, *row->word ? " " : "",
            row->word);
    wrap_text(out, "", row->more);
    if (row->settings) print_options(out);
    if (verb == VERB_SERVE)
        fputs("\nExit codes: 64 wrong use, 66 no app, 69 cannot listen, 70 internal\n"
              "error, 77 no permission, 78 bad config or an app that does not load.\n",
              out);
}

bool help_topic(FILE *out, const char *topic) {
    int verb = verb_find(topic);
    if (verb >= 0)
        help_verb(out, (enum verb)verb);
    else if (strcmp(topic, "settings") == 0)
        settings_print_help(out);
    else if (strcmp(topic, "settings-file") == 0)
        settings_print_file(out);
    else
        return false;
    return true;
}

static const char *compiler(void) {
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

static const char *flags(void) {
#if defined __SANITIZE_ADDRESS__
    return "address sanitizer";
#elif defined __SANITIZE_THREAD__
    return "thread sanitizer";
#elif defined __OPTIMIZE__
    return "optimised";
#else
    return "not optimised";
#endif
}

void help_version(FILE *out) {
    fprintf(out,
            "atoll " ATOLL_VERSION " (%s, libev %d.%d, llhttp %d.%d.%d, %s, %s, %s)\n",
            settings_read_lua(), ev_version_major(), ev_version_minor(),
            LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH,
            OPENSSL_VERSION_TEXT, compiler(), flags());
}
