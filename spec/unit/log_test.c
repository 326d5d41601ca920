#include "base/log.h"

#include "base/clock.h"
#include "base/fd.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory with the log's path, and what stands in the log without the times. */
static char directory[32], path[64], moved[64];

static void begin(void) {
    strcpy(directory, "/tmp/log-test-XXXXXX");
    EXPECT(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(moved, sizeof moved, "%s/log.1", directory);
}

static void end(void) {
    log_close();
    log_set_thread_name(NULL);
    unlink(path);
    unlink(moved);
    EXPECT_EQ_INT(rmdir(directory), 0);
}

static struct span content(const char *name) {
    static char all[65536], out[65536];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, all, sizeof all - 1);
    fd_close(&fd);
    EXPECT(n >= 0);
    all[n < 0 ? 0 : n] = 0;
    size_t len = 0;
    for (char *line = all; *line; line = strchr(line, '\n') + 1) {
        bool timed = line[0] == '2' && strlen(line) > 25;
        char *from = timed ? line + 25 : line;
        size_t part = (size_t)(strchr(from, '\n') + 1 - from);
        memcpy(out + len, from, part);
        len += part;
    }
    return span_of(out, len);
}

static void open_log(enum log_level level) {
    const char *which;
    EXPECT_EQ_INT(
        log_open(&(struct log_options){.events = path, .level = level}, &which), 0);
}

static int evaluated(int *times) {
    return ++*times;
}

TEST(levels_are_filtered_before_anything_is_formatted) {
    begin();
    open_log(LEVEL_WARN);
    int times = 0;
    log_debug("%d", evaluated(&times));
    log_info("%d", evaluated(&times));
    EXPECT_EQ_INT(times, 0);
    errno = ENOENT;
    log_warn("w %d", evaluated(&times));
    log_error("e %s", "x\ny");
    EXPECT_EQ_INT(errno, ENOENT);
    log_set_level(LEVEL_DEBUG);
    log_set_thread_name("isolate 2");
    log_debug("d");
    log_event_for(LEVEL_INFO, SPAN("42"), "i");
    log_lines(LEVEL_ERROR, span_of(NULL, 0), SPAN("a\nb"));
    EXPECT_EQ_SPAN(content(path),
                   SPAN("warn  w 1\nerror e x\\x0ay\ndebug isolate 2: d\n"
                        "info  isolate 2: i request_id=42\n"
                        "error isolate 2: a\n    b\n"));
    struct stat st;
    EXPECT(stat(path, &st) == 0 && (st.st_mode & 0137) == 0);
    end();
}

TEST(levels_have_names) {
    enum log_level level = LEVEL_DEBUG;
    EXPECT(log_level_parse(SPAN("warn"), &level) && level == LEVEL_WARN);
    EXPECT(log_level_parse(SPAN("error"), &level) && level == LEVEL_ERROR);
    EXPECT(!log_level_parse(SPAN("warning"), &level) && level == LEVEL_ERROR);
    EXPECT(!log_level_parse(SPAN(""), &level));
}

TEST(open_names_what_it_cannot_open_and_keeps_what_it_had) {
    begin();
    open_log(LEVEL_INFO);
    const char *which = NULL;
    struct log_options bad = {.events = "off", .access = "/nonexistent/a"};
    EXPECT_EQ_INT(log_open(&bad, &which), -ENOENT);
    EXPECT_EQ_STR(which, "/nonexistent/a");
    log_info("still here");
    EXPECT_EQ_SPAN(content(path), SPAN("info  still here\n"));
    end();
}

TEST(reopens_at_once_without_a_writer) {
    begin();
    open_log(LEVEL_INFO);
    log_info("one");
    EXPECT_EQ_INT(rename(path, moved), 0);
    log_info("two");
    log_reopen();
    log_info("three");
    EXPECT_EQ_SPAN(content(path), SPAN("info  three\n"));
    EXPECT_EQ_SPAN(content(moved), SPAN("info  one\ninfo  two\n"));
    end();
}

TEST(a_failed_reopening_is_told_in_the_old_file) {
    begin();
    open_log(LEVEL_INFO);
    EXPECT(rename(path, moved) == 0 && mkdir(path, 0700) == 0);
    log_reopen();
    log_info("on");
    struct span got = content(moved);
    char want[200];
    snprintf(want, sizeof want,
             "error cannot reopen %s, keeping the old file: Is a directory\ninfo  on\n",
             path);
    EXPECT_EQ_SPAN(got, span_str(want));
    EXPECT_EQ_INT(rmdir(path), 0);
    end();
}

TEST(started_and_stopped_writes_everything) {
    int fds = fd_count();
    begin();
    open_log(LEVEL_INFO);
    log_info("before");
    EXPECT(log_access_feed() == NULL);
    EXPECT_EQ_INT(log_start(), 0);
    for (int i = 0; i < 100; i++) log_info("%d", i);
    EXPECT(log_access_feed() == NULL); /* it is off */
    log_stop(CLOCK_SECOND);
    log_info("after");
    struct span got = content(path);
    EXPECT_EQ_INT(log_count_lines(got), 102);
    EXPECT(got.len > 12 && memcmp(got.at, "info  before", 12) == 0);
    end();
    EXPECT_EQ_INT(fd_count(), fds);
}

/* Runs with fd 2 replaced; stderr comes back. */
static int saved_stderr;

static void replace_stderr(int fd) {
    saved_stderr = fd_dup(2);
    EXPECT_EQ_INT(dup2(fd, 2), 2);
}

static void restore_stderr(void) {
    EXPECT_EQ_INT(dup2(saved_stderr, 2), 2);
    fd_close(&saved_stderr);
}

TEST(the_journal_gets_priorities_and_no_time) {
    int pair[2];
    struct stat st;
    char stream[64], got[200];
    EXPECT_EQ_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    EXPECT_EQ_INT(fstat(pair[1], &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    replace_stderr(pair[1]);
    const char *which;
    int err = log_open(&(struct log_options){.events = "stderr"}, &which);
    log_warn("a\nb");
    log_close();
    restore_stderr();
    unsetenv("JOURNAL_STREAM");
    EXPECT_EQ_INT(err, 0);
    ssize_t n = read(pair[0], got, sizeof got);
    EXPECT_EQ_SPAN(span_of(got, n > 0 ? (size_t)n : 0), SPAN("<4>a\\x0ab\n"));
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

TEST(a_stuck_pipe_neither_stops_us_nor_is_made_non_blocking) {
    int ends[2];
    char line[4000];
    EXPECT_EQ_INT(pipe2(ends, O_CLOEXEC), 0);
    EXPECT(fcntl(ends[1], F_SETPIPE_SZ, 4096) == 4096);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    replace_stderr(ends[1]);
    const char *which;
    int err = log_open(&(struct log_options){.events = "stderr"}, &which);
    log_error("%s", line);
    log_error("%s", line); /* no room: a tenth of a second, then it is dropped */
    int flags = fcntl(ends[1], F_GETFL);
    log_close();
    restore_stderr();
    EXPECT_EQ_INT(err, 0);
    EXPECT_EQ_INT(flags, O_WRONLY);
    static char got[16384];
    ssize_t n = read(ends[0], got, sizeof got);
    EXPECT(n > 4000 && n <= 4096);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
}
