#include "base/crash.h"

#include "base/log.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK = 65536, FRAMES = 48, BUILD_ID_MAX = 20, OWN_FRAMES = 1 };

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};

/* A signal handler gets no argument of ours, and a process dies but once. */
static struct {
    int fd;
    void (*describe)(const void *who);
    char build[2 * BUILD_ID_MAX + 1];
    atomic_flag begun;
} the = {.fd = -1, .begun = ATOMIC_FLAG_INIT};

static _Thread_local const void *who_runs;
static _Thread_local void *own_stack;

/* ---- writing ---- */

void crash_put(struct span text) {
    char out[256];
    while (text.len) {
        size_t n = text.len < sizeof out ? text.len : sizeof out;
        for (size_t i = 0; i < n; i++) {
            char c = text.at[i];
            out[i] = (c >= ' ' && c < 127) || c == '\n' ? c : '?';
        }
        ssize_t written;
        do written = write(the.fd, out, n);
        while (written < 0 && errno == EINTR);
        if (written <= 0) return;
        text.at += written;
        text.len -= (size_t)written;
    }
}

static void put_base(uint64_t n, unsigned base) {
    char digits[24];
    size_t at = sizeof digits;
    do digits[--at] = "0123456789abcdef"[n % base];
    while (n /= base);
    crash_put(span_of(digits + at, sizeof digits - at));
}

void crash_put_number(long long n) {
    if (n < 0) crash_put(SPAN("-"));
    put_base(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
}

/* ---- the handler ---- */

static struct span name_of(int signal) {
    switch (signal) {
    case SIGSEGV: return SPAN("SIGSEGV");
    case SIGBUS: return SPAN("SIGBUS");
    case SIGFPE: return SPAN("SIGFPE");
    case SIGILL: return SPAN("SIGILL");
    case SIGABRT: return SPAN("SIGABRT");
    default: return SPAN("SIGSYS");
    }
}

static void put_head(int signal, const siginfo_t *info) {
    const char *thread = log_thread_name();
    crash_put(name_of(signal));
    if (info->si_code <= 0) {
        crash_put(SPAN(" by process "));
        crash_put_number(info->si_pid);
    } else {
        crash_put(SPAN(" at 0x"));
        put_base((uintptr_t)info->si_addr, 16);
    }
    crash_put(SPAN(" in "));
    crash_put(thread ? span_str(thread) : SPAN("the main thread"));
    crash_put(SPAN("; build "));
    crash_put(span_str(the.build));
    crash_put(SPAN("\n"));
}

static void tell(int signal, siginfo_t *info, void *context) {
    (void)context;
    while (atomic_flag_test_and_set(&the.begun)) pause(); /* another thread does */
    void *frames[FRAMES];
    put_head(signal, info);
    int n = backtrace(frames, FRAMES);
    if (n > OWN_FRAMES)
        backtrace_symbols_fd(frames + OWN_FRAMES, n - OWN_FRAMES, the.fd);
    if (the.describe && who_runs) the.describe(who_runs);
    /* Blocked until this returns, and then the end. */
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    raise(signal);
}

/* ---- before ---- */

/* The program's build id, from the notes that the kernel has mapped. */
static int find_build(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_NOTE) continue;
        const char *at = (const char *)info->dlpi_addr + p->p_vaddr;
        const char *end = at + p->p_memsz;
        while (end - at > (ptrdiff_t)sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *note = (const void *)at;
            const unsigned char *id =
                (const unsigned char *)(note + 1) + ((note->n_namesz + 3) & ~3U);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= BUILD_ID_MAX) {
                for (unsigned k = 0; k < note->n_descsz; k++) {
                    the.build[2 * k] = "0123456789abcdef"[id[k] >> 4];
                    the.build[2 * k + 1] = "0123456789abcdef"[id[k] & 15];
                }
                return 1;
            }
            at = (const char *)id + ((note->n_descsz + 3) & ~3U);
        }
    }
    return 1; /* the program is the first */
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

void crash_install(int fd, void (*describe)(const void *who)) {
    if (fd < 0 || sanitized) return;
    void *first[2];
    the.fd = fd;
    the.describe = describe;
    dl_iterate_phdr(find_build, NULL);
    backtrace(first, 2); /* which loads a library the first time */
    struct sigaction action = {.sa_sigaction = tell,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigaction(faults[i], &action, NULL);
    crash_begin(NULL);
}

void crash_begin(const void *who) {
    who_runs = who;
    if (the.fd < 0 || own_stack) return;
    own_stack = malloc(STACK);
    stack_t stack = {.ss_sp = own_stack, .ss_size = STACK};
    if (own_stack) sigaltstack(&stack, NULL);
}

void crash_end(void) {
    stack_t none = {.ss_flags = SS_DISABLE};
    who_runs = NULL;
    if (!own_stack) return;
    sigaltstack(&none, NULL);
    free(own_stack);
    own_stack = NULL;
}
