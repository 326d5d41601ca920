#include "process/processes.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct process *process_new(struct link *list, enum process_role role) {
    struct process *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->role = role;
    c->pipe = c->report = -1;
    list_append(list, &c->member);
    return c;
}

void process_over(struct process *c) {
    c->pid = 0;
    c->ready = c->reloading = false;
    c->kill_at = 0;
    memset(c->waiting, 0, sizeof c->waiting);
    fd_close(&c->pipe);
    fd_close(&c->report);
}

void process_free(struct process *c) {
    list_unlink(&c->member);
    process_over(c);
    free(c);
}

int process_connect(struct process *c, int *writing) {
    int ends[2];
    fd_close(&c->report);
    c->report = memfd_create("atoll crash", MFD_CLOEXEC);
    if (c->report < 0) return -errno;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    fd_close(&c->pipe);
    c->pipe = ends[0];
    *writing = ends[1];
    return 0;
}

void processes_forget(struct link *list) {
    for (EACH_PROCESS(c, list)) {
        fd_close(&c->pipe);
        fd_close(&c->report);
    }
}

bool process_read(struct process *c, struct notice *out) {
    while (c->pipe >= 0) {
        ssize_t n = read(c->pipe, out, sizeof *out);
        if (n == (ssize_t)sizeof *out) return true;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return false;
        fd_close(&c->pipe);
    }
    return false;
}

static void send_signal(const struct process *c, int signal) {
    if (signal == SIGTTIN) signal = HERITAGE_MORE;
    if (signal == SIGTTOU) signal = HERITAGE_LESS;
    kill(c->pid, signal);
}

void process_signal(struct process *c, int signal) {
    bool counts = signal == SIGTTIN || signal == SIGTTOU;
    if (c->pid && c->ready)
        send_signal(c, signal);
    else if (counts || !c->waiting[signal])
        c->waiting[signal]++;
}

void process_signal_waiting(struct process *c, int signal) {
    for (; c->waiting[signal]; c->waiting[signal]--) send_signal(c, signal);
}

char *process_death(int status, char *out, size_t size) {
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, size, "was killed by SIG%s%s", name ? name : "?",
                 WCOREDUMP(status) ? ", leaving a core" : "");
    } else {
        snprintf(out, size, "exited with %d", WEXITSTATUS(status));
    }
    return out;
}

char *process_report(const struct process *c, char *out, size_t size) {
    ssize_t n = c->report >= 0 ? pread(c->report, out, size - 1, 0) : 0;
    if (n < 0) n = 0;
    while (n > 0 && out[n - 1] == '\n') n--;
    out[n] = 0;
    return out;
}
