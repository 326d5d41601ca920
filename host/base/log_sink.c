#include "base/log_sink.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_file(const char *path) {
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags, 0640);
    return fd < 0 ? -errno : fd;
}

/* Non-blocking is a flag of the open file description, which the shell, systemd or a
 * parent may share with us; opening it again through /proc makes one of our own. That
 * may be refused when privileges were dropped. */
static int open_own(int fd) {
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

static int open_stream(struct log_sink *s, int stream) {
    struct stat st;
    s->fd = fd_dup(stream);
    if (s->fd < 0 || fstat(s->fd, &st) < 0) return s->fd < 0 ? s->fd : -errno;
    if (S_ISSOCK(st.st_mode)) s->kind = SINK_SOCKET;
    if (!S_ISFIFO(st.st_mode) && !isatty(s->fd)) return 0;
    int own = open_own(s->fd);
    s->kind = own < 0 ? SINK_SHARED : SINK_OWN;
    if (own >= 0) {
        fd_close(&s->fd);
        s->fd = own;
    }
    return 0;
}

/* Absolute, since the process may change its directory before it reopens. */
static char *absolute(const char *path) {
    char *out = NULL, directory[PATH_MAX];
    if (path[0] == '/') return strdup(path);
    if (!getcwd(directory, sizeof directory)) return NULL;
    if (asprintf(&out, "%s/%s", directory, path) < 0) return NULL;
    return out;
}

int log_sink_open(struct log_sink *s, const char *destination) {
    *s = (struct log_sink){.name = destination, .fd = -1, .kind = SINK_FILE};
    int err = 0;
    if (strcmp(destination, "off") == 0) {
        s->name = "off";
    } else if (strcmp(destination, "stderr") == 0 ||
               strcmp(destination, "/dev/stderr") == 0) {
        s->name = "stderr";
        err = open_stream(s, STDERR_FILENO);
    } else if (strcmp(destination, "stdout") == 0 ||
               strcmp(destination, "/dev/stdout") == 0) {
        s->name = "stdout";
        err = open_stream(s, STDOUT_FILENO);
    } else {
        errno = ENOMEM;
        s->path = absolute(destination);
        if (!s->path) return -errno;
        s->name = s->path;
        s->fd = open_file(s->path);
        if (s->fd < 0) err = s->fd;
    }
    if (err) log_sink_close(s);
    return err;
}

void log_sink_close(struct log_sink *s) {
    fd_close(&s->fd);
    free(s->path);
    free(s->buffer);
    *s = (struct log_sink){.name = "off", .fd = -1};
}

int log_sink_reopen(struct log_sink *s) {
    if (!s->path) return 0;
    int fd = open_file(s->path);
    if (fd < 0) return fd;
    fd_close(&s->fd);
    s->fd = fd;
    s->inside = s->torn = false;
    s->retry_at = 0;
    return 0;
}

bool log_sink_same(const struct log_sink *a, const struct log_sink *b) {
    struct stat x, y;
    return a->fd >= 0 && b->fd >= 0 && fstat(a->fd, &x) == 0 && fstat(b->fd, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *log_sink_reserve(struct log_sink *s, size_t *room) {
    if (!s->buffer) s->buffer = malloc(LOG_SINK_ROOM);
    if (!s->buffer) return NULL;
    if (s->start > 0) {
        memmove(s->buffer, s->buffer + s->start, s->end - s->start);
        s->end -= s->start;
        s->start = 0;
    }
    *room = LOG_SINK_ROOM - s->end;
    return s->buffer + s->end;
}

static ssize_t put(struct log_sink *s, const char *at, size_t n) {
    if (s->kind == SINK_SOCKET) return send(s->fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (s->kind == SINK_SHARED) {
        /* A pipe that is writable takes PIPE_BUF bytes without blocking. */
        struct pollfd ready = {.fd = s->fd, .events = POLLOUT};
        if (poll(&ready, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        if (n > PIPE_BUF) n = PIPE_BUF;
    }
    return write(s->fd, at, n);
}

bool log_sink_add(struct log_sink *s, struct span line) {
    size_t room;
    if (log_sink_off(s)) return true;
    char *out = log_sink_reserve(s, &room);
    if (!out) return put(s, line.at, line.len) == (ssize_t)line.len;
    if (room < line.len) return false;
    memcpy(out, line.at, line.len);
    log_sink_commit(s, line.len);
    return true;
}

enum io log_sink_flush(struct log_sink *s) {
    if (log_sink_off(s)) s->start = s->end = 0;
    if (s->start == s->end) return IO_OK;
    if (s->error && clock_ns() < s->retry_at) {
        log_sink_drop(s);
        return IO_FAIL;
    }
    while (s->torn || s->start < s->end) {
        ssize_t n =
            s->torn ? put(s, "\n", 1) : put(s, s->buffer + s->start, s->end - s->start);
        if (n > 0) {
            if (!s->torn) s->start += (size_t)n;
            s->inside = !s->torn && s->buffer[s->start - 1] != '\n';
            s->torn = false;
            s->error = 0;
        } else if (n < 0 && errno == EAGAIN) {
            return IO_AGAIN;
        } else if (n == 0 || errno != EINTR) {
            s->error = n == 0 ? EIO : errno;
            s->retry_at = clock_ns() + CLOCK_SECOND;
            log_sink_drop(s);
            return IO_FAIL;
        }
    }
    s->start = s->end = 0;
    return IO_OK;
}

void log_sink_drop(struct log_sink *s) {
    if (s->start == s->end) return;
    s->lost += log_count_lines(span_of(s->buffer + s->start, s->end - s->start));
    s->start = s->end = 0;
    s->torn = s->torn || s->inside;
}

size_t log_count_lines(struct span s) {
    size_t lines = 0;
    while (s.len > 0) {
        const char *newline = memchr(s.at, '\n', s.len);
        if (!newline) break;
        s.len -= (size_t)(newline + 1 - s.at);
        s.at = newline + 1;
        lines++;
    }
    return lines;
}
