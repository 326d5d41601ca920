#include "base/log.h"

#include "base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    FEED_SIZE = 524288, /* of one isolate: some 10 ms of its shortest requests */
    DIRECT_WAIT_MS = 100,
};

#define UNOPENED                                                                       \
    { .name = "stderr", .fd = 2 }

/* The one object of file scope in the program; the header says why. */
static struct {
    atomic_int level;
    struct log_style style;
    struct log_sink events, access;
    struct log_sink *access_sink; /* &events when both write to the same place */
    bool opened, off;
    pthread_mutex_t direct; /* writing without a writer */
    struct log_writer *_Atomic writer;
} the = {.level = LEVEL_INFO,
         .events = UNOPENED,
         .access = {.name = "off", .fd = -1},
         .direct = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local const char *thread_name;

/* systemd tells the device and inode of the socket that it reads (systemd.exec(5)). */
static bool is_journal(int fd) {
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

int log_open(const struct log_options *options, const char **which) {
    struct log_sink events, access;
    const char *access_name = options->access ? options->access : "off";
    *which = options->events;
    int err = log_sink_open(&events, options->events);
    if (err) return err;
    *which = access_name;
    err = log_sink_open(&access, access_name);
    if (err) {
        log_sink_close(&events);
        return err;
    }
    log_close();
    the.events = events;
    the.access = access;
    the.opened = true;
    the.off = log_sink_off(&the.events);
    bool same = log_sink_same(&the.events, &the.access);
    the.access_sink = same ? &the.events : &the.access;
    the.style = (struct log_style){options->format, is_journal(events.fd)};
    log_set_level(options->level);
    return 0;
}

void log_close(void) {
    if (the.opened) {
        log_sink_close(&the.events);
        log_sink_close(&the.access);
    }
    free(the.events.buffer);
    the.events = (struct log_sink)UNOPENED;
    the.access_sink = &the.access;
    the.style = (struct log_style){LOG_TEXT, false};
    the.opened = the.off = false;
    log_set_level(LEVEL_INFO);
}

int log_start(void) {
    struct log_sink *access = the.access_sink ? the.access_sink : &the.access;
    struct log_writer *w = log_writer_new(&the.events, access, the.style);
    if (!w) return -errno;
    atomic_store(&the.writer, w);
    return 0;
}

void log_stop(int64_t patience_ns) {
    struct log_writer *w = atomic_load(&the.writer);
    if (!w) return;
    bool stuck;
    uint64_t lines = log_writer_stop(w, patience_ns, &stuck);
    if (stuck) return; /* the thread still has the sinks; events go on to queue up */
    atomic_store(&the.writer, NULL);
    if (lines)
        log_warn("log: gave up %llu lines that nobody read", (unsigned long long)lines);
}

void log_reopen(void) {
    struct log_writer *w = atomic_load(&the.writer);
    if (w) {
        log_writer_reopen(w);
        return;
    }
    struct log_sink *sinks[] = {&the.events, &the.access};
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&the.direct);
        int err = log_sink_reopen(sinks[i]);
        pthread_mutex_unlock(&the.direct);
        if (err)
            log_error("cannot reopen %s, keeping the old file: %s", sinks[i]->name,
                      err_text(err));
    }
}

bool log_level_parse(struct span text, enum log_level *level) {
    for (int i = LEVEL_DEBUG; i <= LEVEL_ERROR; i++) {
        if (!span_eq(text, span_str(log_level_name(i)))) continue;
        *level = (enum log_level)i;
        return true;
    }
    return false;
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&the.level, (int)level, memory_order_relaxed);
}

bool log_on(enum log_level level) {
    return (int)level >= atomic_load_explicit(&the.level, memory_order_relaxed);
}

void log_set_thread_name(const char *name) {
    thread_name = name;
}

const char *log_thread_name(void) {
    return thread_name;
}

static void write_now(struct span line) {
    pthread_mutex_lock(&the.direct);
    int64_t until = clock_ns() + DIRECT_WAIT_MS * CLOCK_MS;
    if (log_sink_add(&the.events, line)) {
        while (log_sink_flush(&the.events) == IO_AGAIN) {
            int64_t left = (until - clock_ns()) / CLOCK_MS;
            struct pollfd ready = {.fd = the.events.fd, .events = POLLOUT};
            if (left > 0) poll(&ready, 1, (int)left);
            if (left <= 0) log_sink_drop(&the.events);
        }
    }
    pthread_mutex_unlock(&the.direct);
}

static void emit(struct log_event *event) {
    char line[LOG_LINES_MAX];
    if (the.off) return;
    event->wall_ns = clock_wall_ns();
    event->thread = thread_name;
    struct span text = span_of(line, log_line(line, the.style, event));
    struct log_writer *w = atomic_load(&the.writer);
    if (w)
        log_writer_put(w, text);
    else
        write_now(text);
}

__attribute__((format(printf, 2, 0))) static void
emit_format(struct log_event *event, const char *format, va_list arguments) {
    char text[LOG_LINE_MAX + 1];
    int n = vsnprintf(text, sizeof text, format, arguments);
    if (n < 0) return;
    if (n > LOG_LINE_MAX) n = LOG_LINE_MAX;
    event->text = span_of(text, (size_t)n);
    emit(event);
}

void log_event(enum log_level level, const char *format, ...) {
    if (!log_on(level)) return;
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    emit_format(&(struct log_event){.level = level}, format, arguments);
    va_end(arguments);
    errno = saved;
}

void log_event_for(enum log_level level, struct span request_id, const char *format,
                   ...) {
    if (!log_on(level)) return;
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    emit_format(&(struct log_event){.level = level, .request_id = request_id}, format,
                arguments);
    va_end(arguments);
    errno = saved;
}

void log_lines(enum log_level level, struct span request_id, struct span text) {
    if (!log_on(level)) return;
    int saved = errno;
    emit(&(struct log_event){
        .level = level, .request_id = request_id, .text = text, .lines = true});
    errno = saved;
}

struct log_feed *log_access_feed(void) {
    struct log_writer *w = atomic_load(&the.writer);
    return w ? log_feed_open(w, FEED_SIZE) : NULL;
}

struct log_counts log_counts(void) {
    struct log_writer *w = atomic_load(&the.writer);
    return w ? log_writer_counts(w) : (struct log_counts){0};
}
