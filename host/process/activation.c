#include "process/activation.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 64 };

static int option(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

/* The name that the i-th has in LISTEN_FDNAMES, "" when it has none. */
static struct span name_of(const char *names, int i) {
    if (!names) return SPAN("");
    for (; i > 0; i--) {
        names += strcspn(names, ":");
        if (!*names) return SPAN("");
        names++;
    }
    return span_of(names, strcspn(names, ":"));
}

static int refuse(struct problem *p, int fd, struct span name, const char *what) {
    bool named = name.len > 0;
    int len = name.len > 80 ? 80 : (int)name.len;
    return problem_set(p, EX_CONFIG, "LISTEN_FDS: descriptor %d%s%.*s%s %s", fd,
                       named ? " (" : "", len, name.at, named ? ")" : "", what);
}

static int check(int fd, struct span name, struct problem *p) {
    int domain = option(fd, SO_DOMAIN);
    if (domain < 0)
        return refuse(p, fd, name, errno == EBADF ? "is not open" : "is no socket");
    if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
        return refuse(p, fd, name, "is a socket of another kind than TCP and unix");
    if (option(fd, SO_TYPE) != SOCK_STREAM)
        return refuse(p, fd, name, "is no stream socket; write ListenStream=");
    if (option(fd, SO_ACCEPTCONN) != 1)
        return refuse(p, fd, name, "does not listen; write Accept=no");
    return 0;
}

static int take(struct listener *l, int fd, struct span name, struct problem *p) {
    if (check(fd, name, p) < 0) return -1;
    *l = (struct listener){.proxy = span_eq(name, SPAN("proxy"))};
    int err = fd_cloexec(fd, true);
    if (!err) err = fd_nonblock(fd, true);
    if (!err) err = addr_of_socket(fd, &l->addr);
    /* As for those that are bound here. */
    if (!err && !addr_is_unix(&l->addr)) err = bind_server(fd);
    if (!err && !(l->fds = malloc(sizeof *l->fds))) err = -ENOMEM;
    if (err) return problem_errno(p, EX_OSERR, err, "LISTEN_FDS: descriptor %d", fd);
    l->fds[0] = fd;
    l->count = 1;
    addr_text(&l->addr, l->text);
    return 0;
}

static void forget(void) {
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

int activation_take(struct listeners *all, struct problem *p) {
    const char *whose = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    char *end;
    *all = (struct listeners){0};
    if (!count || !whose || strtol(whose, NULL, 10) != (long)getpid()) return 0;
    long n = strtol(count, &end, 10);
    if (!*count || *end || n < 0 || n > MOST)
        return problem_set(p, EX_CONFIG,
                           "LISTEN_FDS is '%.40s', not a number of up to %d sockets",
                           count, MOST);
    if (n > 0) all->at = calloc((size_t)n, sizeof *all->at);
    if (n > 0 && !all->at) return problem_set(p, EX_OSERR, "out of memory");
    for (int i = 0; i < n; i++) {
        if (take(&all->at[i], FIRST + i, name_of(names, i), p) < 0) return -1;
        all->count++;
    }
    forget();
    return 0;
}
