/* The access log of one isolate: one line for each answer, as Apache's "combined" with
 * the request id and the seconds it took behind it, or as a JSON object. What a client
 * sent is escaped and cut, so a line is at most ACCESS_LINE_MAX bytes and cannot be
 * forged.
 *
 * Formatting is by hand and costs some hundred instructions; the line goes into the
 * isolate's feed, never waits, and is dropped and counted when the writer is behind.
 * The isolate's thread. */
#ifndef HTTP_ACCESS_H
#define HTTP_ACCESS_H

#include "base/log.h"

enum access_format { ACCESS_COMBINED, ACCESS_JSON };

/* One answer. Spans may be empty, which is shown as "-" or left out of the JSON. */
struct access_entry {
    struct span remote;              /* the client's address, without its port */
    struct span method, target;      /* as they came */
    struct span referer, user_agent; /* the same */
    struct span request_id;
    unsigned char major, minor; /* of HTTP */
    unsigned short status;
    uint64_t bytes_out, bytes_in; /* of the bodies */
    int64_t duration_ns;          /* from the head to the last byte of the answer */
    int64_t wall_ns;              /* when the head came; clock_wall_ns */
};

struct access {
    struct log_feed *feed; /* NULL when there is no access log */
    enum access_format format;
    unsigned isolate;
    int64_t second; /* that time_text shows; -1 at first */
    char time_text[32];
};

enum { ACCESS_LINE_MAX = 4096 };

/* Joins the access log, if there is one. */
void access_init(struct access *a, enum access_format format, unsigned isolate);
void access_done(struct access *a);

/* Whether an entry would be written; without it nobody needs to make one. */
static inline bool access_on(const struct access *a) {
    return a->feed != NULL;
}

/* Writes the line, unless the log is off. */
void access_write(struct access *a, const struct access_entry *e);

/* The line alone, with its newline, in ACCESS_LINE_MAX bytes; its length. */
size_t access_line(struct access *a, const struct access_entry *e, char *out);

#endif
