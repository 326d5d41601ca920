#include "http/beneath.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    READ = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
    STEP = O_PATH | O_DIRECTORY | O_CLOEXEC,
    TRIES = 4, /* while somebody renames what is on the way */
};

int beneath_open_any(const char *path) {
    int fd;
    do fd = open(path, READ);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* From directory to directory; follows nothing. */
static int walk(int root, const char *name) {
    char segment[NAME_MAX + 1];
    int at = root, fd = -ENOENT;
    for (;;) {
        while (*name == '/') name++;
        size_t n = strcspn(name, "/");
        if (n > NAME_MAX) {
            fd = -ENAMETOOLONG;
            break;
        }
        memcpy(segment, name, n);
        segment[n] = 0;
        name += n;
        bool last = !*name;
        fd = openat(at, segment, O_NOFOLLOW | (last ? READ : STEP));
        if (fd < 0) fd = -errno;
        if (at != root) fd_close(&at);
        if (last || fd < 0) break;
        at = fd;
    }
    return fd;
}

/* Where the links lead, if that is inside. */
static int resolve(const char *root, const char *name) {
    char base[PATH_MAX], path[PATH_MAX], real[PATH_MAX];
    size_t n = strlen(root), len;
    if (n + strlen(name) >= sizeof path) return -ENAMETOOLONG;
    memcpy(path, root, n);
    memcpy(path + n, name, strlen(name) + 1);
    if (!realpath(root, base) || !realpath(path, real)) return -errno;
    len = strcmp(base, "/") == 0 ? 0 : strlen(base);
    if (strncmp(real, base, len) != 0 || real[len] != '/') return -EXDEV;
    /* All links were followed: one that is there now has just been made. */
    int at;
    do at = open(base, STEP | O_NOFOLLOW);
    while (at < 0 && errno == EINTR);
    if (at < 0) return -errno;
    int fd = walk(at, real + len);
    fd_close(&at);
    return fd;
}

static int open_at(int root, const char *name, bool links) {
    struct open_how how = {
        .flags = READ,
        .resolve =
            RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (links ? 0 : RESOLVE_NO_SYMLINKS),
    };
    int fd = -EAGAIN;
    for (int i = 0; i < TRIES && fd == -EAGAIN; i++) {
        fd = (int)syscall(SYS_openat2, root, name, &how, sizeof how);
        if (fd < 0) fd = -errno;
    }
    return fd;
}

int beneath_open(const char *root, const char *name, bool links) {
    while (*name == '/') name++;
    int at;
    do at = open(root, STEP);
    while (at < 0 && errno == EINTR);
    if (at < 0) return -errno;
    int fd = open_at(at, name, links);
    /* Old kernels do not know it, and some containers forbid what they do not know. */
    bool lacking = fd == -ENOSYS || fd == -EPERM || fd == -EAGAIN;
    if (lacking && !links) fd = walk(at, name);
    fd_close(&at);
    /* A link that begins with "/" may still lead to what is inside. */
    return links && (lacking || fd == -EXDEV) ? resolve(root, name - 1) : fd;
}
