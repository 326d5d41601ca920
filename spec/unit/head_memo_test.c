#include "http1_feed.h"
#include "unit.h"

static const struct http1_limits limits = {256, 1024, 16};

struct talk {
    struct http1_feed feed;
    struct head_memo *memo;
};

static void begin(struct talk *t, struct head_memo *memo) {
    feed_init(&t->feed, &limits);
    t->feed.head.memo = memo;
}

static void say(struct talk *t, const char *text) {
    feed(&t->feed, text, strlen(text));
}

static unsigned kept(const struct head_memo *m) {
    unsigned count = 0;
    for (unsigned i = 0; i < HEAD_MEMO_SLOTS; i++) count += m->blocks[i] != NULL;
    return count;
}

#define BLOCK "Host: a\r\nX-Y:  z \r\nEmpty:\r\n\r\n"

TEST(keeps_what_is_said_twice_in_a_row) {
    struct head_memo memo = {0};
    struct talk t;
    begin(&t, &memo);
    say(&t, "GET / HTTP/1.1\r\n" BLOCK);
    EXPECT_EQ_INT(kept(&memo), 0);
    say(&t, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ_INT(kept(&memo), 0);
    say(&t, "GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ_INT(kept(&memo), 1);
    free(feed_done(&t.feed));
    head_memo_done(&memo);
    EXPECT_EQ_INT(kept(&memo), 0);
}

TEST(recalls_for_others_and_behind_other_request_lines) {
    struct head_memo memo = {0};
    struct talk t;
    feed_teach(&memo, &limits, SPAN("GET / HTTP/1.1\r\n" BLOCK));
    EXPECT_EQ_INT(kept(&memo), 1);
    begin(&t, &memo);
    say(&t, "GET /other?x=1 HTTP/1.1\r\n" BLOCK "GET /next HTTP/1.1\r\n" BLOCK
            "GET / HTTP/1.1\r\nHost: b\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    EXPECT(t.feed.reader.habit.hash != 0);
    char *account = feed_done(&t.feed);
    EXPECT_EQ_STR(account, "GET /other?x=1 1.1 [Host|a] [X-Y|z] [Empty|];"
                           "GET /next 1.1 [Host|a] [X-Y|z] [Empty|];"
                           "GET / 1.1 [Host|b];GET / 1.0 close;");
    free(account);
    head_memo_done(&memo);
}

TEST(knows_which_targets_are_nothing_but_a_path) {
    static const char *const each[] = {"/",     "/a//b", "/a.b",   "/a?b", "/%41",
                                       "/a/..", "/a#b",  "/a\x7f", "*",    "/~a!$&'()"};
    static const bool plain[] = {true,  true,  false, false, false,
                                 false, false, false, false, true};
    struct head_memo memo = {0};
    feed_teach(&memo, &limits, SPAN("GET / HTTP/1.1\r\n" BLOCK));
    for (unsigned i = 0; i < sizeof each / sizeof *each; i++) {
        struct talk t;
        char text[128];
        begin(&t, &memo);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" BLOCK, each[i]);
        size_t used;
        struct span body;
        http1_read(&t.feed.reader, text, strlen(text), &used, &body);
        EXPECT_EQ_INT(t.feed.head.plain, plain[i]);
        free(feed_done(&t.feed));
    }
    head_memo_done(&memo);
}

TEST(keeps_the_end_of_a_connection_and_no_body) {
    struct head_memo memo = {0};
    struct talk t;
    begin(&t, &memo);
    for (int i = 0; i < 3; i++) {
        say(&t, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        say(&t, "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
        say(&t, "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    }
    EXPECT_EQ_INT(kept(&memo), 0);
    free(feed_done(&t.feed));
    feed_teach(&memo, &limits,
               SPAN("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    head_memo_done(&memo);
}

TEST(limits_hold_for_what_is_known) {
    static const struct http1_limits narrow = {256, 1024, 2}, small = {256, 16, 16};
    struct head_memo memo = {0};
    struct http1_feed f;
    const struct http1_limits *each[] = {&narrow, &small};
    feed_teach(&memo, &limits, SPAN("GET / HTTP/1.1\r\n" BLOCK));
    for (int i = 0; i < 2; i++) {
        feed_init(&f, each[i]);
        f.head.memo = &memo;
        feed(&f, "GET / HTTP/1.1\r\n" BLOCK, sizeof "GET / HTTP/1.1\r\n" BLOCK - 1);
        char *account = feed_done(&f);
        EXPECT_EQ_STR(account, " !431");
        free(account);
    }
    head_memo_done(&memo);
}

TEST(never_holds_more_than_its_slots) {
    struct head_memo memo = {0};
    struct talk t;
    char text[96];
    begin(&t, &memo);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nCookie: %d\r\n\r\n",
                 i / 2);
        say(&t, text);
    }
    EXPECT(kept(&memo) > HEAD_MEMO_SLOTS / 2);
    free(feed_done(&t.feed));
    head_memo_done(&memo);
}
