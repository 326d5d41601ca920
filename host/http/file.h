/* Files as answers: from the path of a request to the file, and from the file to the
 * bytes. Conditions (RFC 9110 13), ranges (14), twins that are compressed already, and
 * sending in pieces, so that neither a slow client nor a slow disk holds up others.
 *
 * file_find (or file_pick) takes a file off the shelf of the exchange's front;
 * file_send answers with it and says whether there is more to do: then file_go_on is
 * called when the output has drained, or after others had their turn, and the exchange
 * has the file until it is over. The validators of a file are its times, its size and
 * its inode: the tag is weak while the last change is so recent that another one might
 * bear the same time. The isolate's thread. */
#ifndef HTTP_FILE_H
#define HTTP_FILE_H

#include "codec/coding.h"
#include "http/shelf.h"

struct exchange;

/* A directory that is served. */
struct file_site {
    struct shelf_root root;
    const char *index; /* names that a directory stands for, each with a zero behind
                          it, and one more at the end */
    bool twins;        /* name.br, name.zst, name.gz are sent in place of name */
};

/* A file that has been found. */
struct file_pick {
    struct open_file *file; /* NULL: there is none */
    enum coding coding;     /* it is the twin */
    bool varies;            /* with what the client accepts */
    struct span type;       /* by its name; static */
};

enum file_found {
    FILE_FOUND,
    FILE_MISSING,
    FILE_DIRECTORY, /* without an index; the path ends with "/" */
    FILE_SLASH,     /* a directory, and the path ends without; *out has a type if
                       there is an index */
    FILE_FORBIDDEN,
    FILE_BUSY, /* no descriptors or no memory: 503 */
};

/* The file that the path of the request behind the first `skip` segments stands for. */
enum file_found file_find(struct exchange *x, const struct file_site *site,
                          unsigned skip, struct file_pick *out);

/* The same of any path in that form: decoded, but for %2F and %25. */
enum file_found file_find_path(struct exchange *x, const struct file_site *site,
                               struct span path, struct file_pick *out);

/* Of a path of the program's own. */
enum file_found file_pick(struct exchange *x, const char *path, bool twins,
                          struct file_pick *out);

/* Gives back what was not sent. */
void file_drop(struct file_pick *p);

enum file_step {
    FILE_DONE,
    FILE_WAIT, /* for drained */
    FILE_TURN, /* others first */
};

/* Answers with the file, which the exchange has from now on, with the fields that were
 * added so far, which go before its own, and with status: conditions and ranges count
 * with 200. An empty type is the file's; cache is the value of Cache-Control, or empty.
 */
enum file_step file_send(struct exchange *x, struct file_pick *p, int status,
                         struct span type, struct span cache);
enum file_step file_go_on(struct exchange *x);

/* The exchange is over. */
void file_done(struct exchange *x);

#endif
