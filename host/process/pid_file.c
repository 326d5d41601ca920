#include "process/pid_file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(struct problem *p, int err, const char *path) {
    int code = err == EACCES || err == EPERM || err == EROFS ? EX_NOPERM : EX_CONFIG;
    return problem_errno(p, code, err, "pid_file '%.400s'", path);
}

/* Is the locked file still the one that path names? Its last owner may have removed it
 * between our open and our lock. */
static bool is_current(int fd, const char *path) {
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static int held(const char *content, const char *path, struct problem *p) {
    return problem_set(p, EX_UNAVAILABLE,
                       "pid_file '%.400s' is held by another atoll, pid %.*s", path,
                       (int)strspn(content, "0123456789"), content);
}

static int take(struct pid_file *f, const char *path, struct problem *p) {
    char content[32] = "";
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (f->fd < 0) return refuse(p, errno, path);
    int lock = flock(f->fd, LOCK_EX | LOCK_NB), lock_err = errno;
    ssize_t n;
    do n = pread(f->fd, content, sizeof content - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return refuse(p, errno, path);
    if (lock < 0 && lock_err == EWOULDBLOCK) return held(content, path, p);
    if (lock < 0) return refuse(p, lock_err, path);
    if (strspn(content, "0123456789\n") != (size_t)n)
        return problem_set(p, EX_CONFIG,
                           "pid_file '%.400s' exists and holds something else", path);
    return 0;
}

int pid_file_open(struct pid_file *f, const char *path, struct problem *p) {
    char line[32];
    *f = (struct pid_file){.fd = -1};
    if (!*path) return 0;
    f->path = strdup(path);
    if (!f->path) return problem_errno(p, EX_OSERR, -ENOMEM, "pid_file");
    do {
        fd_close(&f->fd);
        if (take(f, path, p) < 0) goto fail;
    } while (!is_current(f->fd, path));
    int len = snprintf(line, sizeof line, "%ld\n", (long)getpid());
    int err = ftruncate(f->fd, 0) < 0 ? -errno : fd_write_all(f->fd, line, (size_t)len);
    if (err) { /* empty it would be of no use to anybody */
        refuse(p, -err, path);
        unlink(path);
        goto fail;
    }
    return 0;
fail:
    pid_file_forget(f);
    return -1;
}

int pid_file_adopt(struct pid_file *f, const char *path, int fd, struct problem *p) {
    *f = (struct pid_file){.fd = fd};
    if (fd < 0) return 0;
    f->path = strdup(path);
    return f->path ? 0 : problem_errno(p, EX_OSERR, -ENOMEM, "pid_file");
}

void pid_file_close(struct pid_file *f) {
    if (f->fd < 0) return;
    if (is_current(f->fd, f->path)) unlink(f->path);
    pid_file_forget(f);
}

void pid_file_forget(struct pid_file *f) {
    fd_close(&f->fd);
    free(f->path);
    f->path = NULL;
}
