#include "codec/multipart.h"

#include "base/err.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static const struct multipart_limits limits = {4, 300, 40};

#define TYPE SPAN("multipart/form-data; boundary=Zz")

static void print_param(FILE *out, const struct param *p, bool extended) {
    char *text = malloc(p->value.len + 1);
    size_t n;
    if (extended)
        EXPECT(params_decode_extended(p, text, &n));
    else
        n = params_decode(p, text);
    fwrite(text, 1, n, out);
    free(text);
}

/* "<name|file name|type>" at a part, its bytes, ";" behind it, "." at the end, or
 * "!status reason". Fed in pieces of at most so many bytes, the first of another
 * length; each in memory of its own. */
static char *account(struct span type, struct span body, size_t first, size_t piece) {
    struct multipart m;
    struct param p;
    char *text;
    size_t text_len, at = 0;
    bool extended, over = false;
    FILE *out = open_memstream(&text, &text_len);
    int err = multipart_init(&m, type, &limits);
    if (err) {
        fprintf(out, "%s", err_name(err));
        over = true;
    }
    while (!over && at < body.len) {
        size_t n = at == 0 && first ? first : piece, used, done = 0;
        if (n > body.len - at) n = body.len - at;
        char *copy = malloc(n);
        memcpy(copy, body.at + at, n);
        enum multipart_event event;
        do {
            struct span data = span_of(NULL, 0);
            event = multipart_read(&m, copy + done, n - done, &used, &data);
            done += used;
            if (event == MULTIPART_PART) {
                fputc('<', out);
                multipart_name(&m, &p);
                print_param(out, &p, false);
                if (multipart_file_name(&m, &p, &extended)) {
                    fputc('|', out);
                    print_param(out, &p, extended);
                }
                struct span is = multipart_value(&m, SPAN("content-type"));
                if (is.len) fprintf(out, "|%.*s", (int)is.len, is.at);
                fputc('>', out);
            } else if (event == MULTIPART_DATA) {
                EXPECT(data.len > 0);
                fwrite(data.at, 1, data.len, out);
            } else if (event == MULTIPART_OVER) {
                fputc(';', out);
            } else if (event == MULTIPART_END) {
                fputc('.', out);
            } else if (event == MULTIPART_BAD) {
                fprintf(out, "!%d %s", m.status, m.reason);
            }
        } while (event != MULTIPART_MORE && event != MULTIPART_BAD);
        if (event == MULTIPART_MORE) EXPECT_EQ_INT(done, n);
        over = event == MULTIPART_BAD;
        free(copy);
        at += n;
    }
    if (!over && !multipart_complete(&m)) fputs("...", out);
    multipart_done(&m);
    fclose(out);
    return text;
}

/* Whole, in two pieces cut at every byte, and byte by byte. */
static void check(struct span type, struct span body, const char *want) {
    char *whole = account(type, body, 0, body.len + 1);
    EXPECT_EQ_STR(whole, want);
    for (size_t cut = 1; cut < body.len; cut++) {
        char *text = account(type, body, cut, body.len);
        EXPECT_EQ_STR(text, want);
        free(text);
    }
    for (size_t piece = 1; piece < 4; piece++) {
        char *text = account(type, body, 0, piece);
        EXPECT_EQ_STR(text, want);
        free(text);
    }
    free(whole);
}

#define HAS(body, want) check(TYPE, SPAN(body), want)

#define NAMED(rest) "--Zz\r\nContent-Disposition: form-data; " rest "\r\n\r\n"
#define PART NAMED("name=a")

TEST(reads_parts) {
    HAS(NAMED("name=\"a\"") "one\r\n" NAMED("name=\"b\"") "two\r\n--Zz--\r\n",
        "<a>one;<b>two;.");
    HAS(NAMED("name=f; filename=\"x.txt\"\r\nContent-Type: a/b") "\r\n\r\n--Zz--",
        "<f|x.txt|a/b>\r\n;.");
    HAS("--Zz--", ".");
    HAS("--Zz--\r\n", ".");
    HAS("\r\n--Zz--", ".");
}

TEST(skips_what_is_around) {
    HAS("preamble\r\n--X\r\n--ZzY\r\n-- Zz\r\n" PART
        "1\r\n--Zz-- \r\nepilogue\r\n" PART,
        "<a>1;.");
    HAS("\r\n" PART "1\r\n--Zz--", "<a>1;.");
    HAS("x--Zz\r\n\r\n" PART "1\r\n--Zz--", "<a>1;.");
}

TEST(knows_a_boundary_from_what_looks_like_one) {
    HAS(PART "\r\n--X\r\n-Zz\r\n--ZzZ\r\n--Zz-\r\n--Zz-x\r\n--\r\n\r\r\n--Zz--",
        "<a>\r\n--X\r\n-Zz\r\n--ZzZ\r\n--Zz-\r\n--Zz-x\r\n--\r\n\r;.");
    HAS(PART "--Zzx--Zz\r\n--Zz--", "<a>--Zzx--Zz;.");
    HAS(PART "--\r\n--Zz--", "<a>--;.");
    HAS(PART "\n--Zz\n--Zz--\r\n--Zz--", "<a>\n--Zz\n--Zz--;.");
    HAS(PART
        "a\r\n--Zz \t \r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n--Zz--",
        "<a>a;<b>;.");
    HAS(PART "\r\n--Zz \r--Zz--", "<a>!400 a malformed boundary");
}

TEST(takes_empty_parts) {
    HAS(PART "\r\n--Zz--", "<a>;.");
    HAS(PART "--Zz--", "<a>;.");
    HAS(PART PART "x\r\n--Zz--", "<a>;<a>x;.");
}

TEST(reads_names_as_browsers_write_them) {
    HAS(NAMED("name=\"a%22b\\\"c\\\\d\\e%0d%0A%41\"") "\r\n--Zz--",
        "<a\"b\"c\\d\\e\r\n%41>;.");
    HAS(NAMED("name=\"a\"; filename=\"C:\\dir\\x\\\"") "\r\n--Zz--",
        "<a|C:\\dir\\x\\>;.");
    HAS(NAMED("filename=\"\xc3\xa4;=\" ;name=\"a\";") "\r\n--Zz--", "<a|\xc3\xa4;=>;.");
    HAS(NAMED("NAME=a;; filename=") "\r\n--Zz--", "<a|>;.");
    HAS(NAMED("name=\"\"") "\r\n--Zz--", "<>;.");
    HAS(NAMED("name=a; filename*=UTF-8''%e2%82%ac-x") "\r\n--Zz--",
        "<a|\xe2\x82\xac-x>;.");
    HAS(NAMED("name=a; filename*=utf-8'de'%e2%82%ac; filename=e") "\r\n--Zz--",
        "<a|e>;.");
}

TEST(refuses_headers_that_could_mean_two_things) {
    static const char *const bad[] = {
        "name=a; name=b",
        "name=a; filename=x; filename=y",
        "filename=x",
        "name=\"a",
        "name=a b",
        "name=a; =x",
        "name=a; filename*=latin1''x",
        "name=a; filename*=UTF-8''%00",
        "name=a; filename*=UTF-8''%ff",
        "name=a; filename*=UTF-8''%e",
        "name=a\r\nContent-Disposition: form-data; name=b",
        "name=a\r\nContent-Type: a/b\r\nContent-Type: a/b",
        "name=a\r\n folded: x",
        "name=a\r\nno field",
        "name=a\r\n: x",
        "name=a\r\nX: a\x01",
        "name=a\r\nX : a",
        "name=a\nX: a",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char body[300];
        int n = snprintf(body, sizeof body, NAMED("%s") "1\r\n--Zz--", bad[i]);
        for (size_t piece = 1; piece < 400; piece *= 7) {
            char *text = account(TYPE, span_of(body, (size_t)n), 0, piece);
            if (!EXPECT(strncmp(text, "!400 ", 5) == 0))
                printf("%s: %s\n", bad[i], text);
            free(text);
        }
    }
    HAS("--Zz\r\n\r\n1\r\n--Zz--", "!400 a part without one Content-Disposition");
    HAS("--Zz\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--Zz--",
        "!400 a malformed Content-Disposition");
    HAS(NAMED("name=a\r\nContent-Transfer-Encoding: base64") "MQ==\r\n--Zz--",
        "!415 an encoded part");
    HAS(NAMED("name=a\r\nContent-Transfer-Encoding: 8BIT") "1\r\n--Zz--", "<a>1;.");
}

TEST(keeps_its_limits) {
    HAS(PART PART PART PART "\r\n--Zz--", "<a>;<a>;<a>;<a>;.");
    HAS(PART PART PART PART PART "\r\n--Zz--", "<a>;<a>;<a>;<a>;!413 too many parts");
    HAS(NAMED("name=a1234567890123456789012345678901234567890") "",
        "!413 a name too long");
    char long_head[600];
    snprintf(long_head, sizeof long_head, "--Zz\r\nX: %0400d\r\n", 0);
    char *text = account(TYPE, span_str(long_head), 0, 1);
    EXPECT_EQ_STR(text, "!413 a header too long");
    free(text);
}

TEST(notices_a_missing_end) {
    HAS("", "...");
    HAS("nothing", "...");
    HAS(PART, "<a>...");
    HAS(PART "x\r\n--Zz", "<a>x...");
    HAS(PART "x\r\n--Zz-", "<a>x...");
    HAS("--Zz\r\nContent-", "...");
    HAS(PART "x\r\n--Zz\r\n", "<a>x;...");
}

TEST(reads_the_boundary) {
#define FORM "multipart/form-data; "
    check(SPAN("Multipart/Form-Data ;charset=x; BOUNDARY=\"a b\""), SPAN("--a b--"),
          ".");
    check(SPAN(FORM "boundary=*****"), SPAN("--*****--"), ".");
    static const char *const wrong[] = {
        FORM,
        FORM "boundary=",
        FORM "boundary=\"\"",
        FORM "boundary=\"a \"",
        FORM "boundary=a; boundary=a",
        FORM "boundary=\"a",
        FORM "boundary=a\x7f",
        FORM "boundary="
             "0123456789012345678901234567890123456789012345678901234567890123456789x",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *text = account(span_str(wrong[i]), SPAN("--a--"), 0, 9);
        EXPECT_EQ_STR(text, "ESYNTAX");
        free(text);
    }
    check(SPAN("multipart/mixed; boundary=a"), SPAN("--a--"), "EWRONGTYPE");
    check(SPAN(""), SPAN("--a--"), "EWRONGTYPE");
}
