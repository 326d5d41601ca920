/* The text of one event of the log, from its parts: for people
 *
 *   2026-11-21T10:11:53.123Z info  isolate 1: message request_id=4f2a
 *
 * or one JSON object, each with a newline behind it. Whatever the parts hold, nobody
 * can forge a line: bytes are escaped, and a line that belongs to the one before it (a
 * traceback) is indented. Pure, and bounded: what is too long is cut and ends in "…".
 *
 * Under systemd each line begins with its priority, "<6>", and has no time, since the
 * journal keeps both. Any thread. */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include "base/span.h"

#include <stdint.h>

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_style {
    enum log_format format;
    bool journal; /* the reader is systemd's journal */
};

struct log_event {
    enum log_level level;
    bool lines;             /* newlines and tabs in text lay it out (a traceback) */
    int64_t wall_ns;        /* when */
    const char *thread;     /* "isolate 1"; NULL for none */
    struct span text;       /* any bytes */
    struct span request_id; /* empty for none; not shown beyond 64 bytes */
};

enum {
    LOG_LINE_MAX = 8192,   /* bytes of an event, newline included */
    LOG_LINES_MAX = 16384, /* the same, when it has .lines */
};

/* "debug", "info", "warn", "error". */
const char *log_level_name(enum log_level level);

/* Writes the event to out, which has room for LOG_LINE_MAX (LOG_LINES_MAX) bytes;
 * returns how many were written. */
size_t log_line(char *out, struct log_style style, const struct log_event *event);

#endif
