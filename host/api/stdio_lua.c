#include "api/stdio_lua.h"

#include "api/socket_lua.h"
#include "base/err.h"
#include "base/fd.h"
#include "isolate/budget.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_STDIN = 16 * 1024 * 1024 };

static enum io outcome(ssize_t done, bool reading, size_t *n) {
    if (done > 0 || (done == 0 && !reading)) {
        *n = (size_t)done;
        return IO_OK;
    }
    if (done == 0) return IO_EOF;
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAIL;
}

static enum io shut(struct stream *s) {
    (void)s; /* who reads learns of the end when the program has ended */
    return IO_OK;
}

static void closing(struct stream *s) {
    close(stream_fd(s));
}

/* ---- sockets ---- */

static enum io socket_in(struct stream *s, char *to, size_t room, size_t *n) {
    return outcome(recv(stream_fd(s), to, room, MSG_DONTWAIT), true, n);
}

static enum io socket_out(struct stream *s, const struct iovec *pieces, int count,
                          size_t *n) {
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)pieces,
                       .msg_iovlen = (size_t)count};
    return outcome(sendmsg(stream_fd(s), &m, MSG_DONTWAIT | MSG_NOSIGNAL), false, n);
}

static const struct stream_ops shared_socket = {
    .read = socket_in, .writev = socket_out, .shutdown = shut, .close = closing};

/* ---- what could not be opened anew ---- */

static bool is_ready(struct stream *s, short events) {
    struct pollfd p = {stream_fd(s), events, 0};
    return poll(&p, 1, 0) != 0;
}

static enum io polled_in(struct stream *s, char *to, size_t room, size_t *n) {
    if (!is_ready(s, POLLIN)) return IO_AGAIN;
    return outcome(read(stream_fd(s), to, room), true, n);
}

/* A pipe that is ready takes so much at least. */
static enum io polled_out(struct stream *s, const struct iovec *pieces, int count,
                          size_t *n) {
    (void)count;
    size_t len = pieces->iov_len < PIPE_BUF ? pieces->iov_len : PIPE_BUF;
    if (!is_ready(s, POLLOUT)) return IO_AGAIN;
    return outcome(write(stream_fd(s), pieces->iov_base, len), false, n);
}

static const struct stream_ops polled = {
    .read = polled_in, .writev = polled_out, .shutdown = shut, .close = closing};

/* ---- opening ---- */

/* A descriptor of our own for the standard one, or a negative errno. */
static int open_standard(int fd, const struct stream_ops **ops) {
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    *ops = S_ISSOCK(st.st_mode) ? &shared_socket : NULL;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int mode = fd == STDIN_FILENO ? O_RDONLY : O_WRONLY;
        int again = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (again >= 0) return again;
        *ops = &polled;
    }
    return fd_dup(fd);
}

static int push_standard(lua_State *L, int fd) {
    const struct stream_ops *ops = NULL;
    struct sock **box = socket_push(L);
    int own = open_standard(fd, &ops);
    if (own < 0) return luaL_error(L, "standard file %d: %s", fd, err_text(own));
    if (socket_open(L, box, own) != 0) return budget_raise(L);
    struct sock *s = *box;
    if (ops) s->stream.ops = ops;
    s->patient = true;
    s->line_max = LINE_MAX_STDIN;
    return 1;
}

static int standard_input(lua_State *L) {
    return push_standard(L, STDIN_FILENO);
}

static int standard_output(lua_State *L) {
    return push_standard(L, STDOUT_FILENO);
}

static int standard_errors(lua_State *L) {
    return push_standard(L, STDERR_FILENO);
}

static const luaL_Reg functions[] = {{"stdin", standard_input},
                                     {"stdout", standard_output},
                                     {"stderr", standard_errors},
                                     {NULL, NULL}};

int luaopen_atoll_stdio(lua_State *L) {
    luaopen_atoll_socket(L);
    lua_settop(L, 0);
    luaL_newlib(L, functions);
    return 1;
}
