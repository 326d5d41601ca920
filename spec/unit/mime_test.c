#include "codec/mime.h"
#include "unit.h"

static struct span of(const char *path) {
    return mime_of(span_str(path));
}

#define UNKNOWN SPAN("application/octet-stream")

TEST(goes_by_the_end_of_the_name) {
    EXPECT_EQ_SPAN(of("/a/b.html"), SPAN("text/html; charset=utf-8"));
    EXPECT_EQ_SPAN(of("x.PNG"), SPAN("image/png"));
    EXPECT_EQ_SPAN(of("x.tar.gz"), SPAN("application/gzip"));
    EXPECT_EQ_SPAN(of("x.7z"), SPAN("application/x-7z-compressed"));
    EXPECT_EQ_SPAN(of("x.zst"), SPAN("application/zstd"));
    EXPECT_EQ_SPAN(of("x.webmanifest"), SPAN("application/manifest+json"));
    EXPECT_EQ_SPAN(of("x.js"), SPAN("text/javascript; charset=utf-8"));
}

TEST(does_not_know_everything) {
    EXPECT_EQ_SPAN(of(""), UNKNOWN);
    EXPECT_EQ_SPAN(of("."), UNKNOWN);
    EXPECT_EQ_SPAN(of("html"), UNKNOWN);
    EXPECT_EQ_SPAN(of("x."), UNKNOWN);
    EXPECT_EQ_SPAN(of("x.html/y"), UNKNOWN);
    EXPECT_EQ_SPAN(of("x.webmanifestx"), UNKNOWN);
    EXPECT_EQ_SPAN(of("x.verylongextension"), UNKNOWN);
}

TEST(knows_what_is_compressed) {
    EXPECT(mime_is_packed(SPAN("image/png")));
    EXPECT(mime_is_packed(SPAN("video/mp4; codecs=x")));
    EXPECT(!mime_is_packed(SPAN("image/svg+xml; charset=utf-8")));
    EXPECT(!mime_is_packed(SPAN("text/html")));
    EXPECT(!mime_is_packed(UNKNOWN));
}

TEST(matches_patterns) {
    EXPECT(mime_matches(SPAN("text/* *+json"), SPAN("text/html; charset=utf-8")));
    EXPECT(mime_matches(SPAN("text/*,*+json"), SPAN("application/ld+JSON")));
    EXPECT(mime_matches(SPAN("*"), SPAN("image/png")));
    EXPECT(mime_matches(SPAN("a/b text/html"), SPAN("Text/HTML")));
    EXPECT(!mime_matches(SPAN("text/html"), SPAN("text/htmlx")));
    EXPECT(!mime_matches(SPAN("text/*"), SPAN("image/png")));
    EXPECT(!mime_matches(SPAN(""), SPAN("image/png")));
    EXPECT(!mime_matches(SPAN(" , "), SPAN("image/png")));
    EXPECT(!mime_matches(SPAN("text/*"), SPAN("")));
}
