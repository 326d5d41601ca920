#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int set_flag(int fd, int get, int set, int flag, bool on) {
    int flags = fcntl(fd, get);
    if (flags < 0) return -errno;
    int wanted = on ? flags | flag : flags & ~flag;
    if (wanted != flags && fcntl(fd, set, wanted) < 0) return -errno;
    return 0;
}

int fd_cloexec(int fd, bool on) {
    return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_nonblock(int fd, bool on) {
    return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_dup(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : copy;
}

void fd_close(int *fd) {
    if (*fd < 0) return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FD_SEND_MAX)];
};

int fd_send(int socket, const void *data, size_t len, const int *fds, size_t count) {
    if (len == 0 || count > FD_SEND_MAX) return -EINVAL;
    union control control;
    struct iovec part = {(void *)(size_t)data, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count) {
        memset(&control, 0, CMSG_SPACE(sizeof(int) * count));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    }
    ssize_t n;
    do n = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    return (size_t)n == len ? 0 : -EMSGSIZE;
}

ssize_t fd_recv(int socket, void *data, size_t size, int *fds, size_t *count) {
    union control control;
    struct iovec part = {data, size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    size_t room = *count, got = 0;
    *count = 0;
    ssize_t n;
    do n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;

    bool too_many = message.msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (got < room) {
                fds[got++] = fd;
            } else {
                too_many = true;
                fd_close(&fd);
            }
        }
    }
    if (too_many) {
        while (got > 0) fd_close(&fds[--got]);
        return -EMSGSIZE;
    }
    *count = got;
    return n;
}

int fd_write_all(int fd, const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n >= 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR) return -errno;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int fd_count(void) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return -errno;
    int count = -1; /* the directory's own */
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}
