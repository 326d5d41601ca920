#include "process/notify.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int64_t find_watchdog(void) {
    const char *text = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    char *end;
    if (!text || (whose && strtol(whose, NULL, 10) != (long)getpid())) return 0;
    errno = 0;
    unsigned long long us = strtoull(text, &end, 10);
    if (errno || *end || us == 0 || us > INT64_MAX / 1000) {
        log_warn("WATCHDOG_USEC is '%.40s', which is no time: there is no watchdog",
                 text);
        return 0;
    }
    return (int64_t)us * 1000;
}

void notify_init(struct notify *n) {
    const char *path = getenv("NOTIFY_SOCKET");
    *n = (struct notify){0};
    if (!path || !*path) return;
    if ((*path != '/' && *path != '@') || strlen(path) >= sizeof n->path) {
        log_warn("NOTIFY_SOCKET is '%.120s', which is no socket that can be told",
                 path);
        return;
    }
    strcpy(n->path, path);
    n->on = true;
    n->watchdog = find_watchdog();
}

static int send_text(const struct notify *n, const char *text, size_t len, bool wait) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t size = strlen(n->path);
    memcpy(to.sun_path, n->path, size);
    if (*n->path == '@') to.sun_path[0] = 0;
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (*n->path == '/') to_len++;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
    if (fd < 0) return -errno;
    /* A full queue is waited for, but not for ever. */
    struct timeval patience = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (sendto(fd, text, len, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT),
               (struct sockaddr *)&to, to_len) < 0)
        err = -errno;
    fd_close(&fd);
    return err;
}

void notify_send(const struct notify *n, const char *format, ...) {
    char text[512];
    va_list arguments;
    if (!n->on) return;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len < 0) return;
    if ((size_t)len >= sizeof text) len = sizeof text - 1;
    bool again = strcmp(text, NOTIFY_ALIVE) == 0; /* another one comes */
    int err = send_text(n, text, (size_t)len, !again);
    if (err && !again)
        log_warn("cannot tell '%.*s' to %s: %s", (int)strcspn(text, "\n"), text,
                 n->path, err_text(err));
}

void notify_reloading(const struct notify *n) {
    notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reloading",
                (long long)(clock_ns() / 1000));
}

void notify_forget(void) {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}
