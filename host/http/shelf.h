/* The files that one isolate keeps open because they may be asked for again, and the
 * way to them that nobody can be led out of.
 *
 * A file on the shelf is looked at again by its path (stat) each time it is asked for:
 * when device, inode, size or one of its two times is another, it is opened anew. So
 * what is changed, replaced, forbidden or removed is so for the next request. Within a
 * root no link is followed that the root's rule forbids, and the kernel holds to it
 * while it opens (openat2; where there is no such call each directory is opened from
 * the one above). That an open file's path still keeps the rule is proved once a
 * second.
 *
 * A file that was not asked for for ten seconds is closed, and the one that was not for
 * the longest time when there are too many, or no descriptors are left. Who has a file
 * may keep it as long as it likes. The isolate's thread. */
#ifndef HTTP_SHELF_H
#define HTTP_SHELF_H

#include "base/span.h"
#include "net/loop.h"

#include <stdint.h>

struct shelf;

enum shelf_links {
    LINKS_INSIDE, /* those that lead to what is below the root */
    LINKS_NONE,
    LINKS_ANYWHERE,
};

struct shelf_root {
    const char *path; /* absolute; "": names are absolute paths, of the program's own */
    enum shelf_links links;
};

/* A regular file, open for reading; read only. */
struct open_file {
    int fd;
    uint64_t size;
    int64_t modified; /* ns since 1970 */
    char etag[56];    /* strong, with its quotes */
    struct shelf_entry *entry;
};

/* Keeps at most so many. NULL without memory. */
struct shelf *shelf_new(struct loop *l, unsigned most);
void shelf_bound(struct shelf *s, unsigned most);

/* Files that somebody has stay open until they are given back. May be NULL. */
void shelf_free(struct shelf *s);

/* The file of that name, which begins with "/", below the root. 0; -EISDIR; -ENOENT for
 * all that is not there to be had: also where a link leads out, and special files;
 * -EACCES, -EMFILE, or another errno. */
int shelf_take(struct shelf *s, const struct shelf_root *root, struct span name,
               struct open_file **out);
void shelf_give_back(struct open_file *f);

#endif
