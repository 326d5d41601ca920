/* Runs the unit tests: `unit-tests [PART...] [-PART...]` runs those whose name holds
 * one of the parts (all without one) and none of the parts behind a minus. */
#include "unit.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct unit_test *tests;
static atomic_int expectations, failures;
static char running[256];

static bool before(const struct unit_test *a, const struct unit_test *b) {
    int files = strcmp(a->file, b->file);
    return files < 0 || (files == 0 && a->line < b->line);
}

void unit_register(struct unit_test *test) {
    struct unit_test **at = &tests;
    while (*at && before(*at, test)) at = &(*at)->next;
    test->next = *at;
    *at = test;
}

bool unit_expect(bool holds, const char *what, const char *file, int line) {
    expectations++;
    if (holds) return true;
    failures++;
    printf("%s:%d: expected %s\n", file, line, what);
    return false;
}

bool unit_expect_int(long long got, long long want, const char *what, const char *file,
                     int line) {
    expectations++;
    if (got == want) return true;
    failures++;
    printf("%s:%d: expected %s, got %lld instead of %lld\n", file, line, what, got,
           want);
    return false;
}

/* As a C string literal, so that one line shows any bytes. */
static void print_bytes(struct span s) {
    putchar('"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c == '\r')
            printf("\\r");
        else if (c == '\n')
            printf("\\n");
        else if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            printf("\\%03o", c);
        else
            putchar(c);
    }
    putchar('"');
}

bool unit_expect_span(struct span got, struct span want, const char *what,
                      const char *file, int line) {
    expectations++;
    if (span_eq(got, want)) return true;
    failures++;
    printf("%s:%d: expected %s, got ", file, line, what);
    print_bytes(got);
    printf(" instead of ");
    print_bytes(want);
    putchar('\n');
    return false;
}

bool unit_expect_str(const char *got, const char *want, const char *what,
                     const char *file, int line) {
    if (got && want)
        return unit_expect_span(span_str(got), span_str(want), what, file, line);
    return unit_expect(got == want, what, file, line);
}

/* The end of a broken invariant or a wild pointer: says which test it was. */
static void died(int sig) {
    static const char before_name[] = "not ok ", after_name[] = ": died of a signal\n";
    if (write(STDOUT_FILENO, before_name, sizeof before_name - 1) < 0 ||
        write(STDOUT_FILENO, running, strlen(running)) < 0 ||
        write(STDOUT_FILENO, after_name, sizeof after_name - 1) < 0)
        _exit(70);
    raise(sig); /* the handler was installed for once */
}

static void name_test(const struct unit_test *test) {
    const char *slash = strrchr(test->file, '/');
    const char *file = slash ? slash + 1 : test->file;
    const char *end = strstr(file, "_test.c");
    int length = end ? (int)(end - file) : (int)strlen(file);
    snprintf(running, sizeof running, "%.*s.%s", length, file, test->name);
}

static bool wanted(int argc, char **argv) {
    bool wanted = true, found = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (strstr(running, argv[i] + 1)) return false;
        } else {
            wanted = false;
            if (strstr(running, argv[i])) found = true;
        }
    }
    return wanted || found;
}

int main(int argc, char **argv) {
    int passed = 0, failed = 0;
    struct sigaction once = {.sa_handler = died, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &once, NULL);
#ifndef __SANITIZE_ADDRESS__ /* which tells more about a wild pointer than we do */
    sigaction(SIGSEGV, &once, NULL);
#endif
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct unit_test *test = tests; test; test = test->next) {
        name_test(test);
        if (!wanted(argc, argv)) continue;
        expectations = failures = 0;
        test->run();
        if (expectations == 0) {
            failures++;
            printf("%s:%d: expects nothing\n", test->file, test->line);
        }
        printf("%s %s\n", failures ? "not ok" : "ok", running);
        if (failures)
            failed++;
        else
            passed++;
    }
    printf("unit: %d passed, %d failed\n", passed, failed);
    if (passed + failed == 0) fprintf(stderr, "unit: no such test\n");
    return failed || passed == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
