#include "base/disk.h"

#include "base/err.h"
#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, DEPTH_MAX = 200, NAMES = 100 };

static bool stopped(const atomic_bool *stop) {
    return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

int disk_open(const char *path, int flags, mode_t mode, const atomic_bool *stop) {
    for (;;) {
        int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
        if (fd >= 0) return fd;
        if (errno != EINTR) return -errno;
        if (stopped(stop)) return -ECANCELED;
    }
}

static int close_checked(int fd) {
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

/* ---- reading ---- */

int disk_fill(int fd, size_t n, struct buf *out, const atomic_bool *stop) {
    for (size_t done = 0; done < n;) {
        if (stopped(stop)) return -ECANCELED;
        size_t room = n - done < PIECE ? n - done : PIECE, free = buf_room(out);
        if (free > 0 && free < room) room = free; /* what was reserved suffices */
        char *to = buf_reserve(out, room);
        if (!to) return ERR_MEMORY;
        ssize_t got = read(fd, to, room);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) return 0;
        buf_commit(out, (size_t)got);
        done += (size_t)got;
    }
    return 0;
}

int disk_read(struct disk_reading *r, const char *path, struct buf *out,
              const atomic_bool *stop) {
    struct stat st = {0};
    int err = 0;
    if (r->fd < 0) {
        r->fd = disk_open(path, O_RDONLY, 0, stop);
        if (r->fd < 0) return r->fd;
        err = fstat(r->fd, &st) < 0 ? -errno : 0;
        if (err == 0 && S_ISDIR(st.st_mode)) err = -EISDIR;
        if (err == 0 && S_ISREG(st.st_mode)) r->size = (uint64_t)st.st_size;
        if (r->size > r->max) err = ERR_TOO_LARGE;
    }
    /* One byte more tells the end of the file at once; files in /proc say they have no
       bytes. */
    size_t before = buf_len(out), room = r->max + 1 < r->room ? r->max + 1 : r->room;
    size_t more = r->size >= before ? (size_t)r->size - before + 1 : 0;
    if (more > room - before) more = room - before;
    if (err == 0 && r->size && more && !buf_reserve(out, more)) err = ERR_MEMORY;
    if (err == 0) err = disk_fill(r->fd, room - before, out, stop);
    if (err == 0 && buf_len(out) > r->max) err = ERR_TOO_LARGE;
    r->wants = 0;
    if (err == 0 && buf_len(out) == room)
        r->wants = r->size > room ? (size_t)r->size + 1 : 2 * room;
    else
        fd_close(&r->fd);
    return err;
}

/* ---- writing ---- */

int disk_put(int fd, int64_t offset, struct span data, size_t *written,
             const atomic_bool *stop) {
    *written = 0;
    while (*written < data.len) {
        if (stopped(stop)) return -ECANCELED;
        const char *at = data.at + *written;
        size_t left = data.len - *written;
        ssize_t n = offset < 0
                        ? write(fd, at, left)
                        : pwrite(fd, at, left, (off_t)(offset + (int64_t)*written));
        if (n < 0 && errno != EINTR) return -errno;
        if (n > 0) *written += (size_t)n;
    }
    return 0;
}

static int put_and_close(int fd, struct span data, bool sync, const atomic_bool *stop) {
    size_t written;
    int err = disk_put(fd, -1, data, &written, stop);
    if (err == 0 && sync && fsync(fd) < 0) err = -errno;
    int closed = close_checked(fd);
    return err ? err : closed;
}

/* The directory part of path, "." when there is none, into out. */
static int parent_of(const char *path, char out[PATH_MAX]) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    if (n == 0) {
        memcpy(out, ".", 2);
        return 0;
    }
    if (n >= PATH_MAX) return -ENAMETOOLONG;
    memcpy(out, path, n);
    out[n] = 0;
    return 0;
}

/* So that a name that was changed in it survives a crash. Some file systems do not know
 * how to; then it has to be enough. */
static void sync_parent(const char *path) {
    char parent[PATH_MAX];
    if (parent_of(path, parent) != 0) return;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* prefix and sixteen letters that nobody guesses. */
static int random_name(const char *prefix, char **name) {
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return -EIO;
    int n =
        asprintf(name, "%s%02x%02x%02x%02x%02x%02x%02x%02x", prefix, bytes[0], bytes[1],
                 bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
    if (n < 0) *name = NULL;
    return n < 0 ? ERR_MEMORY : 0;
}

/* Makes what nobody has: a file's descriptor, or 0 for a directory. */
static int make_unique(const char *prefix, bool is_directory, mode_t mode,
                       char **path) {
    for (int i = 0; i < NAMES; i++) {
        int err = random_name(prefix, path);
        if (err) return err;
        int result = is_directory
                         ? mkdir(*path, mode)
                         : open(*path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (result >= 0) return result;
        err = -errno;
        free(*path);
        *path = NULL;
        if (err != -EEXIST && err != -EINTR) return err;
    }
    return -EEXIST;
}

int disk_temporary(const char *directory, bool is_directory, char **path) {
    char *prefix;
    *path = NULL;
    if (asprintf(&prefix, "%s/atoll-", directory) < 0) return ERR_MEMORY;
    int result = make_unique(prefix, is_directory, is_directory ? 0700 : 0600, path);
    free(prefix);
    return result;
}

/* A file that is going to take the place of the one at path. */
struct fresh {
    char target[PATH_MAX]; /* path, or where the link there leads */
    char *path;            /* of the new one; NULL when it has got its place */
    int fd;
};

static int fresh_begin(struct fresh *f, const char *path, mode_t mode) {
    struct stat st;
    char *prefix;
    f->path = NULL;
    f->fd = -1;
    bool keep = stat(path, &st) == 0;
    if (keep && S_ISDIR(st.st_mode)) return -EISDIR;
    if (!keep || !realpath(path, f->target)) {
        if (strlen(path) >= PATH_MAX) return -ENAMETOOLONG;
        memcpy(f->target, path, strlen(path) + 1);
    }
    if (keep && !S_ISREG(st.st_mode)) return -EINVAL; /* a device has no new one */
    if (asprintf(&prefix, "%s.", f->target) < 0) return ERR_MEMORY;
    f->fd = make_unique(prefix, false, mode, &f->path);
    free(prefix);
    if (f->fd < 0) return f->fd;
    if (!keep) return 0;
    /* Root keeps the owner, too; nobody else may, or it is himself. */
    if (fchown(f->fd, st.st_uid, st.st_gid) < 0 && errno != EPERM) return -errno;
    return fchmod(f->fd, st.st_mode & 07777) < 0 ? -errno : 0;
}

/* Puts it into its place unless there is an error; returns that or its own. */
static int fresh_end(struct fresh *f, bool sync, bool exclusive, int err) {
    if (err == 0 && sync && fsync(f->fd) < 0) err = -errno;
    if (f->fd >= 0) {
        int closed = close_checked(f->fd);
        if (err == 0) err = closed;
    }
    if (err == 0 && exclusive && link(f->path, f->target) < 0) err = -errno;
    if (err == 0 && !exclusive && rename(f->path, f->target) < 0) err = -errno;
    if (f->path && (err || exclusive)) unlink(f->path);
    if (err == 0 && sync) sync_parent(f->target);
    free(f->path);
    return err;
}

int disk_write(const char *path, struct span data, const struct disk_how *how,
               const atomic_bool *stop) {
    if (how->atomic) {
        struct fresh f;
        size_t written;
        int err = fresh_begin(&f, path, how->mode);
        if (err == 0) err = disk_put(f.fd, -1, data, &written, stop);
        return fresh_end(&f, true, how->exclusive, err);
    }
    int flags = O_WRONLY | O_CREAT | (how->exclusive ? O_EXCL : 0) |
                (how->append ? O_APPEND : O_TRUNC);
    int fd = disk_open(path, flags, how->mode, stop);
    if (fd < 0) return fd;
    int err = put_and_close(fd, data, how->sync, stop);
    if (err == 0 && how->sync) sync_parent(path);
    return err;
}

int disk_copy(const char *from, const char *to, const atomic_bool *stop) {
    struct stat st;
    struct fresh f;
    struct buf piece;
    int in = disk_open(from, O_RDONLY, 0, stop);
    if (in < 0) return in;
    int err = fstat(in, &st) < 0 ? -errno : 0;
    if (err == 0 && S_ISDIR(st.st_mode)) err = -EISDIR;
    if (err) {
        close(in);
        return err;
    }
    buf_init(&piece);
    err = fresh_begin(&f, to, st.st_mode & 0777);
    for (bool more = err == 0; more && err == 0;) {
        size_t written;
        err = disk_fill(in, PIECE, &piece, stop);
        more = buf_len(&piece) == PIECE;
        if (err == 0) err = disk_put(f.fd, -1, buf_span(&piece), &written, stop);
        buf_consume(&piece, buf_len(&piece));
    }
    buf_reset(&piece);
    close(in);
    return fresh_end(&f, false, false, err);
}

/* ---- directories ---- */

int disk_mkdir(const char *path, mode_t mode, bool parents) {
    char upper[PATH_MAX];
    struct stat st;
    if (mkdir(path, mode) == 0) return 0;
    int err = -errno;
    if (!parents || (err != -ENOENT && err != -EEXIST)) return err;
    if (err == -EEXIST) return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : err;
    size_t n = strlen(path);
    if (n >= PATH_MAX) return -ENAMETOOLONG;
    memcpy(upper, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (upper[i] != '/') continue;
        upper[i] = 0;
        bool made = mkdir(upper, 0777) == 0 || errno == EEXIST || errno == EISDIR;
        if (!made) return -errno;
        upper[i] = '/';
    }
    if (mkdir(path, mode) == 0) return 0;
    err = -errno;
    return err == -EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : err;
}

/* What is in dir, one by one; NULL at its end, or with a negative *err. */
static struct dirent *next_entry(DIR *dir, int *err) {
    struct dirent *e;
    errno = 0;
    do e = readdir(dir);
    while (e && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
    if (!e) *err = -errno;
    return e;
}

/* Removes what is in the directory fd, which it takes. */
static int empty(int fd, int depth, const atomic_bool *stop) {
    DIR *dir = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!dir) {
        int err = depth < DEPTH_MAX ? -errno : -ENAMETOOLONG;
        close(fd);
        return err;
    }
    struct dirent *e;
    int err = 0;
    while (err == 0 && (e = next_entry(dir, &err))) {
        if (stopped(stop)) err = -ECANCELED;
        if (err || unlinkat(dirfd(dir), e->d_name, 0) == 0 || errno == ENOENT) continue;
        err = -errno;
        if (err != -EISDIR && err != -EPERM) continue;
        int inner = openat(dirfd(dir), e->d_name,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0) {
            if (errno != ENOTDIR) err = -errno; /* else what unlinkat said */
            continue;
        }
        err = empty(inner, depth + 1, stop);
        if (err == 0 && unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR) < 0) err = -errno;
    }
    closedir(dir);
    return err;
}

int disk_remove(const char *path, bool tree, const atomic_bool *stop) {
    if (remove(path) == 0) return 0;
    int err = -errno;
    if (!tree || (err != -ENOTEMPTY && err != -EEXIST)) return err;
    int fd;
    do fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return -errno;
    err = empty(fd, 0, stop);
    if (err == 0 && rmdir(path) < 0) err = -errno;
    return err;
}

char disk_type(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return 'f';
    case S_IFDIR: return 'd';
    case S_IFLNK: return 'l';
    case S_IFIFO: return 'p';
    case S_IFSOCK: return 's';
    case S_IFCHR: return 'c';
    case S_IFBLK: return 'b';
    default: return '?';
    }
}

static char type_of(DIR *dir, const struct dirent *e) {
    struct stat st;
    if (e->d_type != DT_UNKNOWN) return disk_type(DTTOIF(e->d_type));
    bool known = fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return known ? disk_type(st.st_mode) : '?';
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a + 1, *(const char *const *)b + 1);
}

/* Puts the entries into the order of their names' bytes. */
static int sort(struct buf *entries) {
    size_t count = 0, n = buf_len(entries);
    const char *end = n ? buf_data(entries) + n : NULL;
    for (size_t i = 0; i < n; i++) count += buf_data(entries)[i] == 0;
    const char **list = malloc((count + 1) * sizeof *list);
    struct buf sorted;
    buf_init(&sorted);
    if (!list || !buf_reserve(&sorted, n + 1)) {
        free(list);
        return ERR_MEMORY;
    }
    count = 0;
    for (const char *at = n ? buf_data(entries) : NULL; at < end; at += strlen(at) + 1)
        list[count++] = at;
    qsort(list, count, sizeof *list, by_name);
    for (size_t i = 0; i < count; i++)
        buf_append(&sorted, list[i], strlen(list[i]) + 1); /* there is room */
    free(list);
    buf_reset(entries);
    *entries = sorted;
    return 0;
}

int disk_list(const char *path, size_t max, struct buf *out, const atomic_bool *stop) {
    DIR *dir = opendir(path);
    if (!dir) return -errno;
    struct dirent *e;
    int err = 0;
    while (err == 0 && (e = next_entry(dir, &err))) {
        char type = type_of(dir, e);
        err = buf_append(out, &type, 1);
        if (err == 0) err = buf_append(out, e->d_name, strlen(e->d_name) + 1);
        if (err == 0 && buf_len(out) > max) err = ERR_TOO_LARGE;
        if (err == 0 && stopped(stop)) err = -ECANCELED;
    }
    closedir(dir);
    return err ? err : sort(out);
}
