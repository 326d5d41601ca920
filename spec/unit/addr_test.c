#include "net/addr.h"

#include "unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

static const char *round_trip(const char *text, char out[ADDR_TEXT + ADDR_WHY]) {
    struct addr a;
    char why[ADDR_WHY] = "";
    int n = addr_resolve(text, &a, 1, why);
    if (n != 1) {
        snprintf(out, ADDR_TEXT + ADDR_WHY, "%d: %s", n, why);
        return out;
    }
    return addr_text(&a, out);
}

TEST(gives_back_the_text_it_was_given) {
    static const char *const texts[] = {"127.0.0.1:8080", "0.0.0.0:0",
                                        "[::1]:8080",     "[2001:db8::1]:65535",
                                        "unix:/run/a b",  "unix:relative.sock"};
    char out[ADDR_TEXT + ADDR_WHY];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        EXPECT_EQ_STR(round_trip(texts[i], out), texts[i]);
}

TEST(refuses_what_is_no_address) {
    static const char *const texts[] = {"",          ":",           "8080",
                                        "127.0.0.1", "127.0.0.1:",  ":-1",
                                        ":65536",    ":80x",        ":99999999999",
                                        "::1:80",    "[::1]",       "[::1]80",
                                        "[::1",      "[]:80",       "[127.0.0.1]:80",
                                        "[host]:80", "http://a:80", "a b:80",
                                        "a/b:80",    "unix:",       "host: 80",
                                        ":+1",       "x@host:80",   "\x01:80",
                                        "a:b:80"};
    char why[ADDR_WHY];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        why[0] = 0;
        if (!EXPECT_EQ_INT(addr_check(texts[i], why), -EINVAL))
            printf("%s\n", texts[i]);
        EXPECT(why[0]);
    }
}

TEST(checks_names_without_asking_for_them) {
    char why[ADDR_WHY];
    EXPECT_EQ_INT(addr_check("no-such-name.invalid:80", why), 0);
}

TEST(bounds_names_and_paths) {
    char text[400], why[ADDR_WHY];
    snprintf(text, sizeof text, "unix:/%0106d", 0); /* 107 bytes, as many as fit */
    EXPECT_EQ_INT(addr_check(text, why), 0);
    snprintf(text, sizeof text, "unix:/%0107d", 0);
    EXPECT_EQ_INT(addr_check(text, why), -EINVAL);
    snprintf(text, sizeof text, "%0253d:80", 0);
    EXPECT_EQ_INT(addr_check(text, why), 0);
    snprintf(text, sizeof text, "%0254d:80", 0);
    EXPECT_EQ_INT(addr_check(text, why), -EINVAL);
}

TEST(keeps_a_path_of_full_length_whole) {
    char text[128], out[ADDR_TEXT];
    struct addr a;
    char why[ADDR_WHY];
    snprintf(text, sizeof text, "unix:/%0106d", 0);
    REQUIRE(addr_resolve(text, &a, 1, why) == 1);
    EXPECT(addr_is_unix(&a));
    EXPECT_EQ_STR(addr_path(&a), text + 5);
    EXPECT_EQ_STR(addr_text(&a, out), text);
    EXPECT_EQ_STR(addr_url(&a, "http", out), text);
}

TEST(takes_an_empty_host_for_all_addresses) {
    struct addr a;
    char why[ADDR_WHY], out[ADDR_TEXT];
    REQUIRE(addr_resolve(":80", &a, 1, why) == 1);
    addr_text(&a, out);
    if (a.at.ss_family == AF_INET6) {
        EXPECT(a.both);
        EXPECT_EQ_STR(out, "[::]:80");
    } else {
        EXPECT_EQ_STR(out, "0.0.0.0:80");
    }
    REQUIRE(addr_resolve("[::]:80", &a, 1, why) == 1);
    EXPECT(!a.both);
}

TEST(finds_each_address_of_a_name_once) {
    struct addr found[8];
    char why[ADDR_WHY];
    int n = addr_resolve("localhost:80", found, 8, why);
    REQUIRE(n >= 1);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            EXPECT(found[i].len != found[j].len ||
                   memcmp(&found[i].at, &found[j].at, found[i].len) != 0);
    EXPECT_EQ_INT(addr_resolve("localhost:80", found, 1, why), 1);
}

TEST(tells_the_port_that_the_kernel_chose) {
    struct addr a, bound;
    char why[ADDR_WHY], text[ADDR_TEXT], url[ADDR_TEXT + 8];
    REQUIRE(addr_resolve("127.0.0.1:0", &a, 1, why) == 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(fd >= 0);
    EXPECT(bind(fd, (const struct sockaddr *)&a.at, a.len) == 0);
    EXPECT_EQ_INT(addr_of_socket(fd, &bound), 0);
    close(fd);
    addr_text(&bound, text);
    EXPECT(strncmp(text, "127.0.0.1:", 10) == 0 && strcmp(text + 10, "0") != 0);
    snprintf(url, sizeof url, "http://%s", text);
    char out[ADDR_TEXT];
    EXPECT_EQ_STR(addr_url(&bound, "http", out), url);
    EXPECT_EQ_INT(addr_of_socket(-1, &bound), -EBADF);
}
