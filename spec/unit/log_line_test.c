#include "base/log_line.h"

#include "unit.h"

static char out[LOG_LINES_MAX];
static const struct log_style text = {LOG_TEXT, false}, json = {LOG_JSON, false};
#define NOON (INT64_C(1795255913123) * 1000000)

static struct span line(struct log_style style, struct log_event event) {
    event.wall_ns = NOON;
    return span_of(out, log_line(out, style, &event));
}

static bool ends_with(struct span s, struct span end) {
    return s.len >= end.len && memcmp(s.at + s.len - end.len, end.at, end.len) == 0;
}

TEST(text_has_time_level_thread_message) {
    EXPECT_EQ_SPAN(
        line(text, (struct log_event){.level = LEVEL_INFO,
                                      .thread = "isolate 1",
                                      .text = SPAN("message key=value")}),
        SPAN("2026-11-21T10:11:53.123Z info  isolate 1: message key=value\n"));
    EXPECT_EQ_SPAN(line(text, (struct log_event){.level = LEVEL_ERROR,
                                                 .text = SPAN("a"),
                                                 .request_id = SPAN("4f\n")}),
                   SPAN("2026-11-21T10:11:53.123Z error a request_id=4f\\x0a\n"));
}

TEST(nobody_forges_a_line) {
    EXPECT_EQ_SPAN(
        line(text, (struct log_event){.level = LEVEL_WARN,
                                      .text = SPAN("a\n2026 error b\r\x1b")}),
        SPAN("2026-11-21T10:11:53.123Z warn  a\\x0a2026 error b\\x0d\\x1b\n"));
}

TEST(further_lines_are_indented) {
    struct log_event event = {
        .level = LEVEL_ERROR,
        .lines = true,
        .text = SPAN("app.lua:3: boom\nstack traceback:\n\tapp.lua:3: in f\n\n"),
        .request_id = SPAN("7")};
    EXPECT_EQ_SPAN(line(text, event),
                   SPAN("2026-11-21T10:11:53.123Z error app.lua:3: boom request_id=7\n"
                        "    stack traceback:\n        app.lua:3: in f\n"));
    EXPECT_EQ_SPAN(line((struct log_style){LOG_TEXT, true}, event),
                   SPAN("<3>app.lua:3: boom request_id=7\n"
                        "<3>    stack traceback:\n<3>        app.lua:3: in f\n"));
    event.text = SPAN("");
    EXPECT_EQ_SPAN(line(text, event),
                   SPAN("2026-11-21T10:11:53.123Z error  request_id=7\n"));
}

TEST(json_is_one_object) {
    EXPECT_EQ_SPAN(
        line(json, (struct log_event){.level = LEVEL_DEBUG,
                                      .thread = "isolate 12",
                                      .text = SPAN("a \"b\"\n"),
                                      .request_id = SPAN("x")}),
        SPAN("{\"time\":\"2026-11-21T10:11:53.123Z\",\"level\":\"debug\","
             "\"isolate\":12,\"request_id\":\"x\",\"msg\":\"a \\\"b\\\"\\n\"}\n"));
    EXPECT_EQ_SPAN(line(json, (struct log_event){.level = LEVEL_INFO,
                                                 .thread = "isolate 1\"",
                                                 .text = SPAN("a")}),
                   SPAN("{\"time\":\"2026-11-21T10:11:53.123Z\",\"level\":\"info\","
                        "\"thread\":\"isolate 1\\\"\",\"msg\":\"a\"}\n"));
    EXPECT_EQ_SPAN(line((struct log_style){LOG_JSON, true},
                        (struct log_event){.level = LEVEL_INFO,
                                           .lines = true,
                                           .text = SPAN("a\n\tb\n")}),
                   SPAN("<6>{\"time\":\"2026-11-21T10:11:53.123Z\",\"level\":\"info\","
                        "\"msg\":\"a\\n\\tb\"}\n"));
}

TEST(what_is_too_long_is_cut) {
    static char much[40000];
    const char fills[] = {'a', '\n', '\t', '\xff', '"'};
    for (size_t i = 0; i < sizeof fills; i++) {
        memset(much, fills[i], sizeof much);
        struct log_event event = {.level = LEVEL_INFO,
                                  .thread = "isolate 1",
                                  .text = span_of(much, sizeof much),
                                  .request_id = SPAN("77")};
        struct span got = line(text, event);
        EXPECT(got.len <= LOG_LINE_MAX && got.len > LOG_LINE_MAX - 20);
        EXPECT(ends_with(got, SPAN("… request_id=77\n")));
        EXPECT_EQ_INT(memchr(got.at, '\n', got.len) == got.at + got.len - 1, true);
        got = line(json, event);
        EXPECT(got.len <= LOG_LINE_MAX && got.len > LOG_LINE_MAX - 20);
        EXPECT(ends_with(got, SPAN("…\"}\n")));
        event.lines = true;
        much[sizeof much - 1] = 'z';
        event.text = span_of(much, sizeof much);
        got = line(text, event);
        EXPECT(got.len <= LOG_LINES_MAX && got.len > LOG_LINES_MAX - 20);
        EXPECT(ends_with(got, SPAN("…\n")));
        got = line(json, event);
        EXPECT(got.len <= LOG_LINES_MAX && got.len > LOG_LINES_MAX - 20);
    }
    memset(much, '\n', sizeof much); /* as an id and as a name, too */
    much[sizeof much - 1] = 0;
    struct span got = line(text, (struct log_event){.thread = much,
                                                    .text = SPAN("a"),
                                                    .request_id = span_str(much)});
    EXPECT(got.len < 1000 && ends_with(got, SPAN("\\x0a\n")));
}
