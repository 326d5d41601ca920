#include "base/log_writer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/spsc.h"
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct log_style text = {LOG_TEXT, false};

/* What ends has ended by then, on any machine. */
static const int64_t PATIENCE = 60 * (int64_t)CLOCK_SECOND;

/* A sink on the write end of a pipe of a page. */
static void pipe_sink(struct log_sink *s, int *reader) {
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ_INT(pipe2(ends, O_CLOEXEC), 0);
    EXPECT(fcntl(ends[1], F_SETPIPE_SZ, 4096) == 4096);
    EXPECT_EQ_INT(fd_nonblock(ends[1], true), 0);
    *s = (struct log_sink){.name = "pipe", .fd = ends[1], .kind = SINK_OWN};
    *reader = ends[0];
}

static struct span temporary(void) {
    static char path[64];
    strcpy(path, "/tmp/log-test-XXXXXX");
    int fd = mkstemp(path);
    EXPECT(fd >= 0);
    fd_close(&fd);
    return span_str(path);
}

static char content[8 << 20];

/* All that can be read from fd, which is closed. */
static struct span read_all(int fd) {
    size_t n = 0;
    for (ssize_t got; (got = read(fd, content + n, sizeof content - 1 - n)) > 0;)
        n += (size_t)got;
    fd_close(&fd);
    content[n] = 0;
    return span_of(content, n);
}

static struct span read_file(const char *path) {
    return read_all(open(path, O_RDONLY | O_CLOEXEC));
}

static bool holds(struct span s, const char *part) {
    return memmem(s.at, s.len, part, strlen(part)) != NULL;
}

/* --- spsc --- */

TEST(spsc_wraps_and_refuses_what_does_not_fit) {
    struct spsc q;
    REQUIRE(spsc_init(&q, 4096) == 0);
    char in[4096], out[4096];
    unsigned char next_in = 0, next_out = 0;
    for (int round = 0; round < 500; round++) {
        size_t n = (size_t)(round * 37 % 3000 + 1);
        for (size_t i = 0; i < n; i++) in[i] = (char)next_in++;
        EXPECT(spsc_put(&q, span_of(in, n)));
        EXPECT(!spsc_put(&q, span_of(in, 4097 - n)));
        EXPECT_EQ_INT(spsc_used(&q), n);
        spsc_copy(&q, out, n);
        spsc_drop(&q, n);
        bool same = true;
        for (size_t i = 0; i < n; i++) same = same && out[i] == (char)next_out++;
        EXPECT(same);
    }
    EXPECT(spsc_put(&q, span_of(in, 4096)));
    EXPECT(!spsc_put(&q, span_of(in, 1)));
    spsc_done(&q);
}

/* --- sinks --- */

TEST(a_sink_drops_and_counts_when_the_disk_is_full_and_comes_back) {
    struct log_sink s;
    REQUIRE(log_sink_open(&s, "/dev/full") == 0);
    EXPECT(log_sink_add(&s, SPAN("one\n")) && log_sink_add(&s, SPAN("two\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_FAIL);
    EXPECT_EQ_INT(s.error, ENOSPC);
    EXPECT_EQ_INT(s.lost, 2);
    EXPECT(log_sink_add(&s, SPAN("three\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_FAIL); /* not even tried */
    EXPECT_EQ_INT(s.lost, 3);

    char path[64];
    strcpy(path, temporary().at);
    int good = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    EXPECT(dup3(good, s.fd, O_CLOEXEC) == s.fd);
    fd_close(&good);
    s.retry_at = 0;
    EXPECT(log_sink_add(&s, SPAN("four\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_OK);
    EXPECT_EQ_INT(s.error, 0);
    log_sink_close(&s);
    EXPECT_EQ_SPAN(read_file(path), SPAN("four\n"));
    unlink(path);
}

TEST(a_torn_line_is_ended_before_the_next) {
    struct log_sink s;
    int reader;
    pipe_sink(&s, &reader);
    char line[6000];
    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\n';
    EXPECT(log_sink_add(&s, span_of(line, sizeof line)));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_AGAIN);
    log_sink_drop(&s);
    EXPECT_EQ_INT(s.lost, 1);
    char got[8192];
    EXPECT_EQ_INT(read(reader, got, sizeof got), 4096);
    EXPECT(log_sink_add(&s, SPAN("b\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_OK);
    EXPECT_EQ_INT(read(reader, got, sizeof got), 3);
    EXPECT_EQ_SPAN(span_of(got, 3), SPAN("\nb\n"));
    fd_close(&reader);
    EXPECT(log_sink_add(&s, SPAN("c\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_FAIL);
    EXPECT_EQ_INT(s.error, EPIPE);
    log_sink_close(&s);
}

TEST(a_sink_says_what_it_cannot_open) {
    struct log_sink s;
    EXPECT_EQ_INT(log_sink_open(&s, "/nonexistent/x.log"), -ENOENT);
    EXPECT_EQ_INT(log_sink_open(&s, "/tmp"), -EISDIR);
    EXPECT_EQ_INT(log_sink_open(&s, "off"), 0);
    EXPECT(log_sink_off(&s));
    EXPECT(log_sink_add(&s, SPAN("x\n")));
    EXPECT_EQ_INT(log_sink_flush(&s), IO_OK);
    log_sink_close(&s);
}

/* --- the thread --- */

enum { THREADS = 4, LINES = 20000, OF_FEED = 5000 };
enum { FEEDS = THREADS * LINES / OF_FEED };

struct producer {
    struct log_writer *w;
    int number;
    int accepted, events;
};

static void *produce(void *argument) {
    struct producer *p = argument;
    struct log_feed *feed = NULL;
    for (int i = 0; i < LINES; i++) {
        char line[128];
        if (i % OF_FEED == 0) { /* feeds come and go */
            if (feed) log_feed_close(feed);
            feed = log_feed_open(p->w, 16384);
        }
        int n = snprintf(line, sizeof line, "a %d %d %.*s\n", p->number, i, i % 40,
                         "........................................");
        p->accepted += log_feed_put(feed, span_of(line, (size_t)n));
        if (i % 100) continue;
        n = snprintf(line, sizeof line, "e %d %d\n", p->number, i);
        p->events += log_writer_put(p->w, span_of(line, (size_t)n));
    }
    log_feed_close(feed);
    return NULL;
}

/* What was accepted is there, whole and in its feed's order; the rest was counted. */
TEST(lines_of_many_threads_arrive_whole) {
    char path[64];
    strcpy(path, temporary().at);
    struct log_sink sink;
    REQUIRE(log_sink_open(&sink, path) == 0);
    struct log_writer *w = log_writer_new(&sink, &sink, text);
    REQUIRE(w);
    pthread_t threads[THREADS];
    struct producer producers[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        producers[i] = (struct producer){.w = w, .number = i};
        pthread_create(&threads[i], NULL, produce, &producers[i]);
    }
    int accepted = 0, events = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        accepted += producers[i].accepted;
        events += producers[i].events;
    }
    struct log_counts counts = log_writer_counts(w);
    EXPECT_EQ_INT(counts.lines_dropped, THREADS * LINES - accepted);
    EXPECT_EQ_INT(counts.events_dropped, THREADS * LINES / 100 - events);
    bool stuck;
    EXPECT_EQ_INT(log_writer_stop(w, PATIENCE, &stuck), 0);
    EXPECT(!stuck);
    log_sink_close(&sink);

    struct span all = read_file(path);
    int lines = 0, got_events = 0, told = 0, last[FEEDS], last_event[THREADS];
    memset(last, -1, sizeof last);
    memset(last_event, -1, sizeof last_event);
    for (char *at = content; at < all.at + all.len; at = strchr(at, '\n') + 1) {
        char kind;
        int number, i, dots = 0;
        if (sscanf(at, "%c %d %d", &kind, &number, &i) != 3 || number >= THREADS) {
            int more = 0;
            EXPECT(sscanf(at, "%*s warn access log: %d lines dropped", &more) == 1);
            told += more;
            continue;
        }
        bool event = kind == 'e';
        int feed = number * (LINES / OF_FEED) + i / OF_FEED;
        int *before = event ? &last_event[number] : &last[feed];
        EXPECT((event || kind == 'a') && *before < i);
        *before = i;
        for (char *c = at; *c != '\n'; c++) dots += *c == '.';
        if (!event) EXPECT_EQ_INT(dots, i % 40);
        *(event ? &got_events : &lines) += 1;
    }
    EXPECT_EQ_INT(lines, accepted);
    EXPECT_EQ_INT(got_events, events);
    EXPECT_EQ_INT(told, counts.lines_dropped);
    unlink(path);
}

static void *read_in_thread(void *argument) {
    read_all(*(int *)argument);
    return NULL;
}

TEST(a_reader_that_does_not_read_costs_lines_but_no_time) {
    char path[64], line[100];
    strcpy(path, temporary().at);
    struct log_sink events, access;
    int reader;
    pipe_sink(&access, &reader);
    REQUIRE(log_sink_open(&events, path) == 0);
    struct log_writer *w = log_writer_new(&events, &access, text);
    REQUIRE(w);
    struct log_feed *feed = log_feed_open(w, 16384);
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    int accepted = 0, dropped = 0;
    while (dropped < 1000) /* ends only if a full feed refuses */
        *(log_feed_put(feed, span_of(line, sizeof line)) ? &accepted : &dropped) += 1;
    EXPECT(log_writer_put(w, SPAN("an event\n")));
    pthread_t thread;
    pthread_create(&thread, NULL, read_in_thread, &reader);
    log_feed_close(feed);
    bool stuck;
    EXPECT_EQ_INT(log_writer_stop(w, PATIENCE, &stuck), 0);
    log_sink_close(&access);
    log_sink_close(&events);
    pthread_join(thread, NULL);
    EXPECT_EQ_INT(strlen(content), (size_t)accepted * sizeof line);
    EXPECT_EQ_INT(log_count_lines(span_str(content)), accepted);
    struct span told = read_file(path);
    EXPECT(holds(told, "an event\n"));
    int sum = 0, more;
    for (char *at = content; (at = strstr(at, "access log: ")); at++)
        if (sscanf(at, "access log: %d lines dropped\n", &more) == 1) sum += more;
    EXPECT_EQ_INT(sum, dropped);
    unlink(path);
}

TEST(stop_gives_up_on_a_reader_that_does_not_read) {
    struct log_sink events, access;
    int reader;
    char line[100];
    pipe_sink(&access, &reader);
    REQUIRE(log_sink_open(&events, "off") == 0);
    struct log_writer *w = log_writer_new(&events, &access, text);
    REQUIRE(w);
    struct log_feed *feed = log_feed_open(w, 16384);
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    int accepted = 0;
    while (accepted < 150) accepted += log_feed_put(feed, span_of(line, sizeof line));
    int64_t before = clock_ns();
    bool stuck;
    uint64_t given_up = log_writer_stop(w, CLOCK_SECOND / 20, &stuck);
    int64_t took = clock_ns() - before;
    EXPECT(!stuck && took >= CLOCK_SECOND / 20 && took < PATIENCE);
    log_feed_put(feed, SPAN("late\n"));
    log_feed_close(feed); /* may come after the writer's end */
    log_sink_close(&access);
    log_sink_close(&events);
    struct span got = read_all(reader);
    EXPECT_EQ_INT(log_count_lines(got) + given_up, accepted);
    EXPECT(given_up > 0);
}

TEST(a_full_disk_is_told_and_lines_are_counted) {
    char path[64];
    strcpy(path, temporary().at);
    struct log_sink events, access;
    REQUIRE(log_sink_open(&events, path) == 0);
    REQUIRE(log_sink_open(&access, "/dev/full") == 0);
    struct log_writer *w = log_writer_new(&events, &access, text);
    REQUIRE(w);
    struct log_feed *feed = log_feed_open(w, 65536);
    for (int i = 0; i < 100; i++) EXPECT(log_feed_put(feed, SPAN("line\n")));
    while (log_writer_counts(w).lines_lost < 100) sched_yield();
    log_feed_close(feed);
    bool stuck;
    log_writer_stop(w, PATIENCE, &stuck);
    struct span told = read_file(path);
    EXPECT(holds(told, "access log: cannot write to /dev/full: No space left"));
    EXPECT_EQ_INT(log_count_lines(told), 1);
    log_sink_close(&access);
    log_sink_close(&events);
    unlink(path);
}

TEST(reopen_follows_the_path_and_survives_failing) {
    char directory[] = "/tmp/log-test-XXXXXX", path[64], moved[64];
    REQUIRE(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(moved, sizeof moved, "%s/log.1", directory);
    struct log_sink sink;
    REQUIRE(log_sink_open(&sink, path) == 0);
    bool stuck;

    struct log_writer *w = log_writer_new(&sink, &sink, text);
    log_writer_put(w, SPAN("one\n"));
    log_writer_stop(w, PATIENCE, &stuck);
    EXPECT_EQ_INT(rename(path, moved), 0);
    w = log_writer_new(&sink, &sink, text);
    log_writer_put(w, SPAN("two\n")); /* before the reopening: to the old file */
    log_writer_reopen(w);
    log_writer_stop(w, PATIENCE, &stuck);
    w = log_writer_new(&sink, &sink, text);
    log_writer_put(w, SPAN("three\n"));
    log_writer_stop(w, PATIENCE, &stuck);
    EXPECT_EQ_SPAN(read_file(path), SPAN("three\n"));
    EXPECT_EQ_SPAN(read_file(moved), SPAN("one\ntwo\n"));

    EXPECT(unlink(path) == 0 && mkdir(path, 0700) == 0);
    w = log_writer_new(&sink, &sink, text);
    log_writer_reopen(w);
    log_writer_stop(w, PATIENCE, &stuck);
    EXPECT_EQ_INT(sink.lost, 0);
    EXPECT_EQ_INT(log_sink_reopen(&sink), -EISDIR);
    EXPECT(sink.fd >= 0);
    log_sink_close(&sink);
    rmdir(path);
    unlink(moved);
    rmdir(directory);
}

/* A writer that nobody gives work sleeps, and a line wakes it: nothing else would. */
TEST(a_line_wakes_a_sleeping_writer) {
    struct log_sink events, access;
    int reader;
    pipe_sink(&access, &reader);
    REQUIRE(log_sink_open(&events, "off") == 0);
    struct log_writer *w = log_writer_new(&events, &access, text);
    REQUIRE(w);
    struct log_feed *feed = log_feed_open(w, 16384);
    for (int i = 0; i < 200; i++) {
        char got[8];
        EXPECT(log_feed_put(feed, SPAN("line\n")));
        if (!EXPECT_EQ_INT(read(reader, got, sizeof got), 5)) break;
    }
    log_feed_close(feed);
    bool stuck;
    EXPECT_EQ_INT(log_writer_stop(w, PATIENCE, &stuck), 0);
    log_sink_close(&access);
    log_sink_close(&events);
    fd_close(&reader);
}
