/* What programs do with whole files and directories: read, write at one stroke, copy,
 * list, make and remove trees. Every call may wait for a disk as long as it likes, so
 * it is made on a thread that nobody else needs.
 *
 * Results are 0 or a negative errno. `stop` may be NULL; when it becomes true, what
 * takes long ends with -ECANCELED. Descriptors are close-on-exec. Any thread. */
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

/* open(2), tried again when a signal comes. A descriptor or a negative errno. */
int disk_open(const char *path, int flags, mode_t mode, const atomic_bool *stop);

/* Appends what can be read from fd, up to its end or until *out has grown by n bytes.
 * 0, with *out grown by less at the end of the file only; what came before an error is
 * in *out. */
int disk_fill(int fd, size_t n, struct buf *out, const atomic_bool *stop);

/* Writes all of it, at offset or with -1 where the descriptor stands; *written says how
 * much was, in the case of an error, too. */
int disk_put(int fd, int64_t offset, struct span data, size_t *written,
             const atomic_bool *stop);

/* A whole file on its way into memory; fd is -1 at first, and is closed when all of it
 * is there or has failed, or by whoever gives up. */
struct disk_reading {
    int fd;
    size_t max;    /* bytes that the file may have, else it is ERR_TOO_LARGE */
    size_t room;   /* bytes that *out may have for now */
    size_t wants;  /* after a read: so many, as there is more; or 0 */
    uint64_t size; /* as the file says; 0 when it does not */
};

int disk_read(struct disk_reading *r, const char *path, struct buf *out,
              const atomic_bool *stop);

struct disk_how {
    mode_t mode; /* of a file that is made, before the umask */
    bool append;
    bool exclusive; /* the file must not exist */
    bool sync;      /* on disk when it returns */
    bool atomic;    /* another file takes the place of the old one, which is whole until
                       then, and takes over its mode; implies sync */
};

int disk_write(const char *path, struct span data, const struct disk_how *how,
               const atomic_bool *stop);

/* The file at `to` is whole, the old or the new one, at any time. */
int disk_copy(const char *from, const char *to, const atomic_bool *stop);

/* parents: those that are missing are made, too, and a directory that is there already
 * is no error. */
int disk_mkdir(const char *path, mode_t mode, bool parents);

/* A file, a link or an empty directory; with tree, all that is in it, too. Links are
 * removed and never followed. */
int disk_remove(const char *path, bool tree, const atomic_bool *stop);

/* Into *out, which is empty, for each entry but . and .. the letter of its type
 * (disk_type), its name and a zero byte, in the order of the names' bytes.
 * ERR_TOO_LARGE beyond max bytes. */
int disk_list(const char *path, size_t max, struct buf *out, const atomic_bool *stop);

/* 'f' a file, 'd' directory, 'l' link, 'p' fifo, 's' socket, 'c', 'b' device, '?'. */
char disk_type(mode_t mode);

/* Makes a file (an open descriptor) or a directory (0) with a name that nobody has in
 * directory; *path is malloc'ed. */
int disk_temporary(const char *directory, bool is_directory, char **path);

#endif
