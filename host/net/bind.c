#include "net/bind.h"

#include "base/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNIX_MODE = 0660 };

int bind_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

int bind_server(int fd) {
    /* After a minute of silence, then every 15 s; lost after two minutes in all, of
       which TCP_USER_TIMEOUT, where it is set, makes as much. */
    int err = bind_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!err) err = bind_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (!err) err = bind_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    if (!err) err = bind_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    if (!err) err = bind_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    return err;
}

static int bind_to(int fd, const struct addr *a) {
    return bind(fd, (const struct sockaddr *)&a->at, a->len) < 0 ? -errno : 0;
}

static int bind_inet(int fd, const struct addr *a, int type, bool reuseport) {
    int err = 0;
    if (a->at.ss_family == AF_INET6)
        err = bind_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !a->both);
    if (!err && reuseport) err = bind_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err && type == SOCK_STREAM) err = bind_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    /* Connections inherit it: no system call for each. */
    if (!err && type == SOCK_STREAM) err = bind_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return err ? err : bind_to(fd, a);
}

/* 0 when the file in the way is a socket at which nobody listens; or a negative
 * errno. */
static int find_stale(const struct addr *a, int type) {
    struct stat st;
    if (lstat(addr_path(a), &st) < 0) return -errno;
    if (!S_ISSOCK(st.st_mode)) return -EEXIST;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int err = connect(fd, (const struct sockaddr *)&a->at, a->len) < 0 ? errno : 0;
    fd_close(&fd);
    bool listens = !err || err == EAGAIN || err == EACCES || err == EPROTOTYPE;
    return err == ECONNREFUSED ? 0 : listens ? -EADDRINUSE : -err;
}

static int bind_unix(int fd, const struct addr *a, int type) {
    /* The file gets the socket's own mode less the umask: at no moment is it open to
       more than it will be. */
    if (fchmod(fd, UNIX_MODE) < 0) return -errno;
    int err = bind_to(fd, a);
    if (err == -EADDRINUSE) {
        err = find_stale(a, type);
        if (err) return err;
        if (unlink(addr_path(a)) < 0 && errno != ENOENT) return -errno;
        err = bind_to(fd, a);
    }
    if (!err && chmod(addr_path(a), UNIX_MODE) < 0) {
        err = -errno;
        unlink(addr_path(a));
    }
    return err;
}

int bind_socket(const struct addr *a, int type, bool reuseport) {
    int fd = socket(a->at.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int err =
        addr_is_unix(a) ? bind_unix(fd, a, type) : bind_inet(fd, a, type, reuseport);
    if (!err) return fd;
    fd_close(&fd);
    return err;
}

struct bind_file bind_file_of(const struct addr *a) {
    struct stat st;
    if (!addr_is_unix(a) || lstat(addr_path(a), &st) < 0) return (struct bind_file){0};
    return (struct bind_file){st.st_dev, st.st_ino};
}

void bind_remove(const struct addr *a, struct bind_file file) {
    struct bind_file now = bind_file_of(a);
    if (file.inode && now.inode == file.inode && now.device == file.device)
        unlink(addr_path(a));
}
