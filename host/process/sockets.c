#include "process/sockets.h"

#include "base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    NAME_MAX_ADDRS = 8,
};

static int refuse(struct problem *p, int err, const char *text) {
    int code = err == -EACCES || err == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
    return problem_errno(p, code, err, "cannot listen on %.300s", text);
}

static int set_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

/* A bound, not yet listening socket, or a negative errno. */
static int bind_tcp(const struct addr *a, bool reuseport) {
    int fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err && a->at.ss_family == AF_INET6)
        err = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !a->both);
    if (!err && reuseport) err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    /* Connections inherit it: no system call for each. */
    if (!err) err = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!err && bind(fd, (const struct sockaddr *)&a->at, a->len) < 0) err = -errno;
    if (!err) return fd;
    fd_close(&fd);
    return err;
}

/* 0 when the file in the way is a socket at which nobody listens; or a negative
 * errno. */
static int find_stale(const struct addr *a) {
    struct stat st;
    if (lstat(addr_path(a), &st) < 0) return -errno;
    if (!S_ISSOCK(st.st_mode)) return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int err = connect(fd, (const struct sockaddr *)&a->at, a->len) < 0 ? errno : 0;
    fd_close(&fd);
    return err == ECONNREFUSED ? 0 : -EADDRINUSE;
}

static int bind_unix(const struct addr *a, const struct identity *who) {
    const struct sockaddr *to = (const struct sockaddr *)&a->at;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
    if (fd < 0) return -errno;
    /* The mask and not chmod: at no moment is the file open to more. */
    mode_t mask = umask(0117);
    if (bind(fd, to, a->len) < 0) err = -errno;
    if (err == -EADDRINUSE) {
        err = find_stale(a);
        if (!err) unlink(addr_path(a));
        if (!err && bind(fd, to, a->len) < 0) err = -errno;
    }
    umask(mask);
    if (!err && who->changes && lchown(addr_path(a), who->uid, who->gid) < 0) {
        err = -errno;
        unlink(addr_path(a));
    }
    if (!err) return fd;
    fd_close(&fd);
    return err;
}

static void close_one(struct listener *l) {
    for (size_t i = 0; i < l->count; i++) fd_close(&l->fds[i]);
}

/* Binds and listens; with reuseport count sockets at the same port. */
static int open_one(struct listener *l, const struct addr *a, size_t count,
                    bool reuseport, const struct identity *who) {
    struct stat st;
    int err = 0;
    *l = (struct listener){.addr = *a};
    l->fds = malloc(count * sizeof *l->fds);
    if (!l->fds) return -ENOMEM;
    for (; l->count < count; l->count++) {
        /* The first one's real port is the port of all. */
        int fd = addr_is_unix(a) ? bind_unix(a, who) : bind_tcp(&l->addr, reuseport);
        if (fd < 0) {
            err = fd;
            goto fail;
        }
        if (l->count == 0 && !addr_is_unix(a)) err = addr_of_socket(fd, &l->addr);
        if (!err && listen(fd, BACKLOG) < 0) err = -errno;
        l->fds[l->count] = fd;
        if (err) {
            l->count++;
            goto fail;
        }
    }
    if (addr_is_unix(a) && lstat(addr_path(a), &st) == 0) {
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    addr_text(&l->addr, l->text);
    return 0;
fail:
    if (addr_is_unix(a) && l->count) unlink(addr_path(a));
    close_one(l);
    free(l->fds);
    return err;
}

/* All addresses of one text. Of a name's several addresses (localhost) those that this
 * machine does not have are left out, as long as one remains. */
static int open_text(struct listeners *all, const char *text, const struct settings *s,
                     const struct identity *who, struct problem *p) {
    struct addr found[NAME_MAX_ADDRS];
    char why[ADDR_WHY], one[ADDR_TEXT];
    int n = addr_resolve(text, found, NAME_MAX_ADDRS, why), opened = 0, missing = 0;
    if (n < 0)
        return problem_set(p, EX_UNAVAILABLE, "cannot listen on %.300s: %s", text, why);
    struct listener *more =
        realloc(all->at, (all->count + (size_t)n) * sizeof *all->at);
    if (!more) return problem_set(p, EX_OSERR, "out of memory");
    all->at = more;
    for (int i = 0; i < n; i++) {
        bool several = s->reuseport && !addr_is_unix(&found[i]);
        int err = open_one(&all->at[all->count], &found[i], several ? s->isolates : 1,
                           several, who);
        if (err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT)
            missing = err;
        else if (err)
            return refuse(p, err,
                          addr_is_unix(&found[i]) ? text : addr_text(&found[i], one));
        else
            all->count++, opened++;
    }
    return opened ? 0 : refuse(p, missing, text);
}

int sockets_open(struct listeners *all, const struct settings *s,
                 const struct identity *who, struct problem *p) {
    *all = (struct listeners){0};
    for (size_t i = 0; i < s->listen.count; i++)
        if (open_text(all, s->listen.at[i], s, who, p) < 0) {
            sockets_remove(all);
            return -1;
        }
    return 0;
}

void sockets_close(struct listeners *all) {
    for (size_t i = 0; i < all->count; i++) close_one(&all->at[i]);
}

void sockets_remove(struct listeners *all) {
    struct stat st;
    for (size_t i = 0; i < all->count; i++) {
        struct listener *l = &all->at[i];
        if (addr_is_unix(&l->addr) && lstat(addr_path(&l->addr), &st) == 0 &&
            st.st_dev == l->device && st.st_ino == l->inode)
            unlink(addr_path(&l->addr));
        close_one(l);
        free(l->fds);
    }
    free(all->at);
    *all = (struct listeners){0};
}
