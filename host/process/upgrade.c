#include "process/upgrade.h"

#include "base/err.h"
#include "base/fd.h"
#include "process/appdir.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

int upgrade_init(struct upgrade *u, char **argv, struct problem *p) {
    /* What the kernel was given: a search in PATH is behind it already. */
    const char *path = (const char *)getauxval(AT_EXECFN);
    u->argv = argv;
    u->program = path_absolute(path && *path ? path : "/proc/self/exe", p);
    return u->program ? 0 : -1;
}

void upgrade_done(struct upgrade *u) {
    free(u->program);
}

int upgrade_try(const struct upgrade *u, const struct estate *e, struct process *c) {
    int writing = -1, will = -1;
    int err = process_connect(c, &writing);
    if (!err) {
        will = bequest_for_host(e, c, writing);
        if (will < 0) err = will;
    }
    pid_t pid = -1;
    if (!err) {
        fflush(NULL); /* nothing is to be printed twice */
        pid = fork();
        if (pid < 0) err = -errno;
    }
    if (pid == 0) {
        err = bequest_expose_host(e, c, writing, true);
        if (!err) err = fd_cloexec(will, false);
        if (!err) err = bequest_name(will);
        if (!err) execv(u->program, u->argv);
        if (!err) err = -errno;
        dprintf(c->report, "cannot start %s: %s\n", u->program, err_text(err));
        _exit(EX_UNAVAILABLE);
    }
    fd_close(&writing);
    fd_close(&will);
    if (!err) c->pid = pid;
    return err;
}

int upgrade_exec(const struct upgrade *u, const struct estate *e) {
    int will = bequest_for_supervisor(e);
    if (will < 0) return will;
    int err = bequest_expose_supervisor(e, true);
    if (!err) err = fd_cloexec(will, false);
    if (!err) err = bequest_name(will);
    fflush(NULL);
    if (!err) execv(u->program, u->argv);
    if (!err) err = -errno;
    bequest_name(-1);
    bequest_expose_supervisor(e, false);
    fd_close(&will);
    return err;
}
