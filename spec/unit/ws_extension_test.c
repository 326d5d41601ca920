#include "codec/ws_extension.h"

#include "base/err.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define PD "permessage-deflate"

static const struct ws_terms none = {0}, bare = {true, false, false, 15, 15},
                             full = {true, true, true, 15, 15},
                             narrow = {true, false, true, 10, 9};

/* Offers to a server that wishes this; the answer, "-" for none, "!" for malformed. */
static const char *answer(const struct ws_terms *wish, const char *offers,
                          struct ws_terms *terms) {
    static char text[WS_EXTENSION_MAX + 1];
    char *copy = strdup(offers); /* no terminator to run up to */
    size_t n = 0, len = strlen(offers);
    memset(text, '#', sizeof text);
    int err = ws_extension_choose(span_of(memcpy(copy, offers, len), len), wish, terms,
                                  text, &n);
    free(copy);
    if (err || !terms->on) return err == ERR_SYNTAX ? "!" : "-";
    text[n] = 0;
    return text;
}

TEST(chooses_from_offers) {
    static const struct {
        const struct ws_terms *wish;
        const char *offers, *answer;
    } rows[] = {
        {&full, PD, PD},
        {&full, PD "; client_max_window_bits", PD},
        {&bare, PD, PD "; server_no_context_takeover; client_no_context_takeover"},
        {&none, PD, "-"},
        {&full, "", "-"},
        {&full, ",, ,", "-"},
        {&full, "x-webkit-deflate-frame", "-"},
        {&full, "Permessage-Deflate", "-"},
        {&full, "foo; bar=\"b\\az\"; x, " PD, PD},
        {&full, PD ";server_no_context_takeover", PD "; server_no_context_takeover"},
        {&full, PD " ; client_no_context_takeover ", PD "; client_no_context_takeover"},
        {&full, PD "; server_max_window_bits=15", PD "; server_max_window_bits=15"},
        {&full, PD "; server_max_window_bits=\"8\"", PD "; server_max_window_bits=8"},
        {&full, PD "; server_max_window_bits=\"\\1\\0\"",
         PD "; server_max_window_bits=10"},
        {&full, PD "; client_max_window_bits=12", PD "; client_max_window_bits=12"},
        {&full, PD "; client_max_window_bits=15", PD},
        {&narrow, PD, PD "; server_no_context_takeover; server_max_window_bits=10"},
        {&narrow, PD "; client_max_window_bits; server_max_window_bits=9",
         PD "; server_no_context_takeover; server_max_window_bits=9; "
            "client_max_window_bits=9"},
        {&narrow, PD "; client_max_window_bits=8; server_max_window_bits=12",
         PD "; server_no_context_takeover; server_max_window_bits=10; "
            "client_max_window_bits=8"},
        /* the second offer when the first cannot be met */
        {&full, PD "; server_max_window_bits, " PD, PD},
        {&full, PD "; x, " PD "; client_no_context_takeover",
         PD "; client_no_context_takeover"},
        {&full, PD "; server_no_context_takeover, " PD,
         PD "; server_no_context_takeover"},
        /* malformed as offers */
        {&full, PD "; server_max_window_bits=7", "-"},
        {&full, PD "; server_max_window_bits=16", "-"},
        {&full, PD "; server_max_window_bits=08", "-"},
        {&full, PD "; server_max_window_bits=1000000000000000000000", "-"},
        {&full, PD "; server_max_window_bits=\"15151515151515151515\"", "-"},
        {&full, PD "; client_max_window_bits=a", "-"},
        {&full, PD "; client_max_window_bits=10; client_max_window_bits=10", "-"},
        {&full, PD "; client_max_window_bits; client_max_window_bits=10", "-"},
        {&full, PD "; server_no_context_takeover=1", "-"},
        {&full, PD "; server_no_context_takeover; server_no_context_takeover", "-"},
        {&full, PD "; client_no_context_takeover=true", "-"},
        /* malformed as a list */
        {&full, PD ";", "!"},
        {&full, PD "; x=", "!"},
        {&full, PD "; =x", "!"},
        {&full, PD "; x=\"", "!"},
        {&full, PD "; x=\"a\\", "!"},
        {&full, PD "; x=\"\"", "!"},
        {&full, PD "; x=\"a b\"", "!"},
        {&full, PD "; x=\"a\"b", "!"},
        {&full, PD " x", "!"},
        {&full, PD ", @", "!"},
        {&full, ";" PD, "!"},
    };
    struct ws_terms terms;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!EXPECT_EQ_STR(answer(rows[i].wish, rows[i].offers, &terms),
                           rows[i].answer))
            printf("  %s\n", rows[i].offers);
}

TEST(keeps_to_what_it_answers) {
    struct ws_terms t;
    answer(&full, PD "; server_no_context_takeover; client_max_window_bits=9", &t);
    EXPECT(t.on && !t.server_takeover && t.client_takeover);
    EXPECT_EQ_INT(t.server_bits, 15);
    EXPECT_EQ_INT(t.client_bits, 9);
    /* One who does not say that it can is not told to use a small window. */
    answer(&narrow, PD "; server_max_window_bits=8", &t);
    EXPECT(t.on && !t.server_takeover && t.client_takeover);
    EXPECT_EQ_INT(t.server_bits, 8);
    EXPECT_EQ_INT(t.client_bits, 15);
}

static const char *offer(const struct ws_terms *wish) {
    static char text[WS_EXTENSION_MAX + 1];
    text[ws_extension_offer(wish, text)] = 0;
    return text;
}

TEST(offers_what_it_wishes) {
    EXPECT_EQ_STR(offer(&full), PD "; client_max_window_bits");
    EXPECT_EQ_STR(offer(&bare),
                  PD "; server_no_context_takeover; client_no_context_takeover; "
                     "client_max_window_bits");
    EXPECT_EQ_STR(offer(&narrow),
                  PD "; server_no_context_takeover; server_max_window_bits=10; "
                     "client_max_window_bits=9");
}

static bool accepts(const struct ws_terms *wish, const char *text, struct ws_terms *t) {
    const char *why = NULL;
    int err = ws_extension_accept(span_str(text), wish, t, &why);
    EXPECT((err == 0) == !why);
    EXPECT(err == 0 || !t->on);
    return err == 0;
}

TEST(judges_answers) {
    struct ws_terms t;
    EXPECT(accepts(&full, "", &t) && !t.on);
    EXPECT(accepts(&none, "", &t) && !t.on);
    EXPECT(!accepts(&none, PD, &t));
    EXPECT(accepts(&full, PD, &t) && t.on && t.server_takeover && t.client_takeover);
    EXPECT(accepts(&full, PD "; server_no_context_takeover", &t));
    EXPECT(!t.server_takeover && t.client_takeover);
    EXPECT(accepts(&full, PD "; client_max_window_bits=\"9\"", &t));
    EXPECT_EQ_INT(t.client_bits, 9);
    EXPECT(accepts(&full, PD "; server_max_window_bits=11", &t));
    EXPECT_EQ_INT(t.server_bits, 11);
    EXPECT(accepts(&bare, PD, &t) && t.server_takeover && !t.client_takeover);
    EXPECT(accepts(&bare, PD "; server_no_context_takeover", &t));
    EXPECT(!t.client_takeover);
    EXPECT(!accepts(&narrow, PD "; server_no_context_takeover", &t));
    EXPECT(!accepts(&narrow,
                    PD "; server_no_context_takeover; server_max_window_bits=11", &t));
    EXPECT(accepts(&narrow, PD "; server_no_context_takeover; server_max_window_bits=9",
                   &t));
    EXPECT_EQ_INT(t.server_bits, 9);
    EXPECT_EQ_INT(t.client_bits, 9);
    EXPECT(!accepts(&full, PD "; client_max_window_bits", &t));
    EXPECT(!accepts(&full, PD "; nonsense", &t));
    EXPECT(!accepts(&full, PD ", " PD, &t));
    EXPECT(!accepts(&full, "other", &t));
    EXPECT(!accepts(&full, PD ", other", &t));
    EXPECT(!accepts(&full, PD "; x=\"", &t));
}
