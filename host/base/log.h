/* Messages for people: one line per event, to stderr or a file. Where they go is the
 * one thing in the program that is the same for everybody and is needed everywhere,
 * down to the allocator, so it is the one singleton: filled by log_open before there is
 * a second thread, hidden in log.c, and from then on only its level changes.
 *
 * In the supervisor an event is written at once (a reader that does not read costs it a
 * tenth of a second, then the line). In the host log_start puts a writer thread behind
 * it, and nothing here ever waits. Before log_open, events go to stderr. SIGPIPE must
 * be ignored. Any thread, but open, start, stop, close: the one that runs the process.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/log_line.h"
#include "base/log_writer.h"

struct log_options {
    const char *events; /* "stderr", "stdout", "off" or a path */
    const char *access; /* the same; NULL is "off" */
    enum log_level level;
    enum log_format format;
};

/* Opens the destinations. A negative errno, with *which the destination that could not
 * be opened (one of the options' strings) and nothing changed. */
int log_open(const struct log_options *options, const char **which);

/* Closes them; what is logged later goes to stderr again. Not while started. */
void log_close(void);

/* Starts the writer thread, in the process that has the other threads (a fork does not
 * take it along). 0 or a negative errno. */
int log_start(void);

/* Writes what is queued, waiting at most patience for slow readers, and ends the
 * thread; events are then written at once again. Threads that still log must have
 * ended. */
void log_stop(int64_t patience_ns);

/* Opens the files anew, for logrotate; soon, when started. Not from a signal handler.
 */
void log_reopen(void);

/* False for a text that is none of "debug", "info", "warn", "error". */
bool log_level_parse(struct span text, enum log_level *level);

void log_set_level(enum log_level level);
bool log_on(enum log_level level);

/* What events of this thread begin with ("isolate 1"); not copied; NULL for nothing. */
void log_set_thread_name(const char *name);
const char *log_thread_name(void);

/* One event in one line, whatever the arguments hold. errno stays as it was. */
__attribute__((format(printf, 2, 3))) void log_event(enum log_level level,
                                                     const char *format, ...);

/* The same, about the request with this id. */
__attribute__((format(printf, 3, 4))) void
log_event_for(enum log_level level, struct span request_id, const char *format, ...);

/* One event of several lines, such as a Lua error with its traceback; the further ones
 * are indented, and it may be longer. An empty request_id is none. */
void log_lines(enum log_level level, struct span request_id, struct span text);

#define log_debug(...)                                                                 \
    (log_on(LEVEL_DEBUG) ? log_event(LEVEL_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...)                                                                  \
    (log_on(LEVEL_INFO) ? log_event(LEVEL_INFO, __VA_ARGS__) : (void)0)
#define log_warn(...)                                                                  \
    (log_on(LEVEL_WARN) ? log_event(LEVEL_WARN, __VA_ARGS__) : (void)0)
#define log_error(...) log_event(LEVEL_ERROR, __VA_ARGS__)

/* This thread's way to the access log, closed by log_feed_close; NULL when there is
 * none (it is off, nothing is started, or memory has run out). */
struct log_feed *log_access_feed(void);

/* What was dropped or lost since log_start; all 0 when not started. */
struct log_counts log_counts(void);

#endif
