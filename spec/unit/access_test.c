#include "http/access.h"

#include "unit.h"

#include <stdio.h>

#define NOON (INT64_C(1795255913123) * 1000000)

static char out[ACCESS_LINE_MAX + 1];

static const struct access_entry typical = {.remote = SPAN("127.0.0.1"),
                                            .method = SPAN("GET"),
                                            .target = SPAN("/hello/ann?x=1&y"),
                                            .referer = SPAN("http://a/"),
                                            .user_agent = SPAN("curl/7.88.1"),
                                            .request_id = SPAN("4f2a"),
                                            .major = 1,
                                            .minor = 1,
                                            .status = 200,
                                            .bytes_out = 13,
                                            .bytes_in = 7,
                                            .duration_ns = 1000123999,
                                            .wall_ns = NOON};

static bool holds(struct span s, struct span part) {
    return memmem(s.at, s.len, part.at, part.len) != NULL;
}

static struct span line(enum access_format format, const struct access_entry *e) {
    struct access a = {.format = format, .isolate = 3, .second = -1};
    out[ACCESS_LINE_MAX] = '!';
    size_t n = access_line(&a, e, out);
    EXPECT(n <= ACCESS_LINE_MAX && out[ACCESS_LINE_MAX] == '!');
    EXPECT(memchr(out, '\n', n) == out + n - 1);
    return span_of(out, n);
}

TEST(combined_is_apaches_with_id_and_seconds) {
    EXPECT_EQ_SPAN(line(ACCESS_COMBINED, &typical),
                   SPAN("127.0.0.1 - - [21/Nov/2026:10:11:53 +0000] "
                        "\"GET /hello/ann?x=1&y HTTP/1.1\" 200 13 \"http://a/\" "
                        "\"curl/7.88.1\" 4f2a 1.000123\n"));
}

TEST(combined_shows_nothing_as_a_dash) {
    struct access_entry e = {.status = 400, .wall_ns = NOON, .duration_ns = -5};
    EXPECT_EQ_SPAN(line(ACCESS_COMBINED, &e),
                   SPAN("- - - [21/Nov/2026:10:11:53 +0000] \"-\" 400 - \"-\" \"-\" - "
                        "0.000000\n"));
}

TEST(json_has_the_names_of_the_guide) {
    EXPECT_EQ_SPAN(
        line(ACCESS_JSON, &typical),
        SPAN("{\"time\":\"2026-11-21T10:11:53.123Z\",\"level\":\"info\",\"msg\":"
             "\"request\","
             "\"isolate\":3,\"request_id\":\"4f2a\",\"remote\":\"127.0.0.1\","
             "\"method\":\"GET\",\"path\":\"/hello/ann\",\"query\":\"x=1&y\","
             "\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes_out\":13,\"bytes_in\":7,"
             "\"duration_ms\":1000.123,\"referer\":\"http://a/\","
             "\"user_agent\":\"curl/7.88.1\"}\n"));
    struct access_entry e = {.wall_ns = NOON};
    EXPECT_EQ_SPAN(line(ACCESS_JSON, &e),
                   SPAN("{\"time\":\"2026-11-21T10:11:53.123Z\",\"level\":\"info\","
                        "\"msg\":\"request\","
                        "\"isolate\":3,\"status\":0,\"bytes_out\":0,\"bytes_in\":0,"
                        "\"duration_ms\":0.000}\n"));
}

TEST(what_clients_send_is_escaped) {
    struct access_entry e = typical;
    e.target = SPAN("/\"\\\xc3\xa9\x01");
    e.user_agent = SPAN("a\" 200 1 \"\n");
    e.referer = (struct span){0};
    EXPECT_EQ_SPAN(line(ACCESS_COMBINED, &e),
                   SPAN("127.0.0.1 - - [21/Nov/2026:10:11:53 +0000] "
                        "\"GET /\\\"\\\\\\xc3\\xa9\\x01 HTTP/1.1\" 200 13 \"-\" "
                        "\"a\\\" 200 1 \\\"\\x0a\" 4f2a 1.000123\n"));
    struct span got = line(ACCESS_JSON, &e);
    EXPECT(holds(got, SPAN("\"/\\\"\\\\é\\u0001\"")));
    EXPECT(holds(got, SPAN("\"a\\\" 200 1 \\\"\\n\"")));
}

TEST(over_long_fields_are_cut) {
    static char much[100000];
    for (int byte = 1; byte < 256; byte += 2) {
        memset(much, byte, sizeof much);
        struct span s = span_of(much, sizeof much);
        struct access_entry e = {.remote = s,
                                 .method = s,
                                 .target = s,
                                 .referer = s,
                                 .user_agent = s,
                                 .request_id = s,
                                 .major = 255,
                                 .minor = 255,
                                 .status = 65535,
                                 .bytes_out = UINT64_MAX,
                                 .bytes_in = UINT64_MAX,
                                 .duration_ns = INT64_MAX,
                                 .wall_ns = INT64_MAX};
        struct span got = line(ACCESS_COMBINED, &e);
        EXPECT(got.len > 3000 && holds(got, SPAN("...")));
        got = line(ACCESS_JSON, &e);
        EXPECT(got.len > 2000 && holds(got, SPAN("...")));
        e.target = SPAN("/?");
        line(ACCESS_JSON, &e);
    }
}

TEST(the_time_follows_the_second) {
    struct access a = {.format = ACCESS_JSON, .second = -1};
    struct access_entry e = {.wall_ns = NOON};
    struct span head = {out, 34};
    access_line(&a, &e, out);
    EXPECT_EQ_SPAN(head, SPAN("{\"time\":\"2026-11-21T10:11:53.123Z\""));
    e.wall_ns += 876000000;
    access_line(&a, &e, out);
    EXPECT_EQ_SPAN(head, SPAN("{\"time\":\"2026-11-21T10:11:53.999Z\""));
    e.wall_ns += 1000000;
    access_line(&a, &e, out);
    EXPECT_EQ_SPAN(head, SPAN("{\"time\":\"2026-11-21T10:11:54.000Z\""));
    e.wall_ns = -1;
    access_line(&a, &e, out);
    EXPECT_EQ_SPAN(head, SPAN("{\"time\":\"1970-01-01T00:00:00.000Z\""));
}

TEST(numbers_of_every_length) {
    struct access_entry e = typical;
    uint64_t n = 1;
    for (int digits = 1; digits <= 19; digits++, n = n * 10 + (uint64_t)digits % 10) {
        char want[64];
        snprintf(want, sizeof want, " 200 %llu \"", (unsigned long long)n);
        e.bytes_out = n;
        struct span got = line(ACCESS_COMBINED, &e);
        EXPECT(holds(got, span_str(want)));
    }
}

TEST(without_a_log_nothing_is_written) {
    struct access a;
    access_init(&a, ACCESS_COMBINED, 1);
    EXPECT(!access_on(&a));
    access_write(&a, &typical);
    access_done(&a);
}
