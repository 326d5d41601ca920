/* Where log lines go: a standard stream, a file, or nowhere. Lines are added to a
 * buffer and flushed without waiting for a reader; only a disk can make a flush wait.
 * Pipes and terminals get an open file description of our own, so that non-blocking
 * does not leak to those who share the stream; sockets are sent to with MSG_DONTWAIT.
 *
 * A failure (a full disk, a reader that went away) drops the lines, counts them in
 * .lost, and is tried again after a second; the line that was being written is then
 * ended first. One thread at a time: the writer thread, or the supervisor. */
#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

enum { LOG_SINK_ROOM = 65536 };

struct log_sink {
    const char *name; /* "stderr", or .path */
    char *path;       /* owned; NULL when it is not a file */
    int fd;           /* owned; negative when it is off */
    enum { SINK_FILE, SINK_OWN, SINK_SOCKET, SINK_SHARED } kind;
    char *buffer; /* LOG_SINK_ROOM bytes, from the first line on */
    size_t start, end;
    bool inside;      /* the last byte written was not a newline */
    bool torn;        /* and what followed it was dropped */
    int error;        /* errno of the failure that lasts; 0 when there is none */
    int64_t retry_at; /* monotonic */
    uint64_t lost;    /* lines, ever */
};

/* destination: "stderr", "stdout", "off", or the path of a file, which is created with
 * mode 0640 and appended to. 0 or a negative errno. */
int log_sink_open(struct log_sink *s, const char *destination);

/* Drops what was not flushed. */
void log_sink_close(struct log_sink *s);

/* Opens a file anew by its path (after logrotate moved it). A negative errno leaves
 * the sink as it was. Nothing to do for the other kinds. */
int log_sink_reopen(struct log_sink *s);

static inline bool log_sink_off(const struct log_sink *s) {
    return s->fd < 0;
}

/* Whether both write to the same file, pipe, terminal or socket. */
bool log_sink_same(const struct log_sink *a, const struct log_sink *b);

/* Where up to *room bytes may be put, which log_sink_commit then adds; whole lines
 * only. NULL when memory has run out. */
char *log_sink_reserve(struct log_sink *s, size_t *room);

static inline void log_sink_commit(struct log_sink *s, size_t n) {
    s->end += n;
}

/* False, and nothing done, when there is no room for the line. */
bool log_sink_add(struct log_sink *s, struct span line);

/* IO_OK: all is written or the sink is off. IO_AGAIN: the reader is slow; wait until
 * .fd is writable. IO_FAIL: .error says why, and everything was dropped. */
enum io log_sink_flush(struct log_sink *s);

/* Drops what is not flushed and counts it as lost. */
void log_sink_drop(struct log_sink *s);

/* How many newlines. */
size_t log_count_lines(struct span s);

#endif
