/* The one thread of the host that writes logs, so that a slow disk or a reader that
 * stopped reading never holds up an isolate. Events come through one queue under a lock
 * that is held for a memcpy; access lines through a feed of each isolate's own, without
 * a lock. What finds no room is dropped and counted, and a line tells how many were.
 *
 * While lines keep coming the writer naps some milliseconds between two rounds and
 * nobody wakes it; only when it had nothing to do does the next line cost a wake-up.
 * Put, feed_open and reopen from any thread; a feed from the thread that opened it; new
 * and stop from the thread that starts and ends the host. */
#ifndef BASE_LOG_WRITER_H
#define BASE_LOG_WRITER_H

#include "base/log_line.h"
#include "base/log_sink.h"

struct log_writer;
struct log_feed;

struct log_counts {
    uint64_t events_dropped, lines_dropped; /* found no room */
    uint64_t events_lost, lines_lost;       /* could not be written */
};

/* Starts the thread. The sinks (which may be one) stay the caller's and are not to be
 * touched before stop has returned. NULL with errno set when it cannot be started. */
struct log_writer *log_writer_new(struct log_sink *events, struct log_sink *access,
                                  struct log_style style);

/* Queues whole lines; false when they were dropped. */
bool log_writer_put(struct log_writer *w, struct span lines);

/* Reopens the files, soon. */
void log_writer_reopen(struct log_writer *w);

struct log_counts log_writer_counts(struct log_writer *w);

/* Writes what is queued, waiting at most patience for slow readers, and ends the
 * thread. Returns how many lines were given up; feeds may still be closed after it, and
 * what is put into them is dropped. If a disk does not let the thread go, it is left
 * behind with its sinks, *stuck is true, and the process should end. */
uint64_t log_writer_stop(struct log_writer *w, int64_t patience_ns, bool *stuck);

/* A feed of size bytes (a power of two, touched as it is used); NULL when access goes
 * nowhere or memory has run out. */
struct log_feed *log_feed_open(struct log_writer *w, size_t size);

/* One line of at most LOG_LINE_MAX bytes with its newline; false when it was dropped.
 */
bool log_feed_put(struct log_feed *f, struct span line);

/* What was put will still be written. */
void log_feed_close(struct log_feed *f);

#endif
