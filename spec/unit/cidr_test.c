#include "net/cidr.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static bool in(const char *network, const char *address) {
    struct cidr_list list = {0};
    unsigned char bytes[16];
    char why[ADDR_WHY];
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    EXPECT(cidr_add(&list, network, why) == 0);
    EXPECT(inet_pton(family, address, bytes) == 1);
    return cidr_has(&list, family, bytes);
}

TEST(has_what_is_in_a_network) {
    EXPECT(in("10.0.0.0/8", "10.255.0.1") && !in("10.0.0.0/8", "11.0.0.0"));
    EXPECT(in("192.0.2.7", "192.0.2.7") && !in("192.0.2.7", "192.0.2.6"));
    EXPECT(in("192.0.2.8/29", "192.0.2.15") && !in("192.0.2.8/29", "192.0.2.16"));
    EXPECT(in("0.0.0.0/0", "255.0.0.1") && !in("0.0.0.0/0", "::1"));
    EXPECT(in("fd00::/8", "fdff::1") && !in("fd00::/8", "fe00::1"));
    EXPECT(in("2001:db8::/33", "2001:db8:7fff::1"));
    EXPECT(!in("2001:db8::/33", "2001:db8:8000::1"));
    EXPECT(in("::1", "::1") && !in("::1", "::2"));
    EXPECT(in("::/0", "2001::1") && !in("::/0", "10.0.0.1"));
}

TEST(takes_ipv4_within_ipv6_for_what_it_is) {
    EXPECT(in("10.0.0.0/8", "::ffff:10.1.2.3"));
    EXPECT(!in("10.0.0.0/8", "::ffff:11.1.2.3"));
    EXPECT(!in("::/0", "::ffff:10.1.2.3"));
}

TEST(has_unix_sockets_by_their_name_only) {
    struct cidr_list list = {0};
    char why[ADDR_WHY];
    EXPECT(!cidr_has(&list, AF_UNIX, NULL));
    EXPECT(cidr_add(&list, "0.0.0.0/0", why) == 0 && !cidr_has(&list, AF_UNIX, NULL));
    EXPECT(cidr_add(&list, "unix:", why) == 0 && cidr_has(&list, AF_UNIX, NULL));
    EXPECT(!cidr_has(&list, AF_UNSPEC, NULL));
}

static const char *refusal(const char *text) {
    static char why[ADDR_WHY];
    struct cidr_list list = {0};
    return cidr_add(&list, text, why) == 0 ? "taken" : why;
}

TEST(says_what_to_write_instead) {
    static const char form[] =
        "it must be an IP address or a network without a port, such as 10.0.0.7, "
        "10.0.0.0/8 or fd00::/8, or unix:";
    EXPECT_EQ_STR(refusal("10.0.0.1/8"),
                  "that is an address in a network: write 10.0.0.0/8, or 10.0.0.1");
    EXPECT_EQ_STR(refusal("fd00::1/8"),
                  "that is an address in a network: write fd00::/8, or fd00::1");
    EXPECT_EQ_STR(refusal("10.0.0.0/33"),
                  "behind the slash must be a number from 0 to 32, as in 10.0.0.0/8");
    EXPECT_EQ_STR(refusal("::/129"),
                  "behind the slash must be a number from 0 to 128, as in fd00::/8");
    EXPECT_EQ_STR(refusal("10.0.0.0/"),
                  "behind the slash must be a number from 0 to 32, as in 10.0.0.0/8");
    EXPECT_EQ_STR(refusal("::ffff:10.0.0.0/104"),
                  "it is one of IPv4, and is written so: 10.0.0.0/8");
    EXPECT_EQ_STR(refusal("balancer"), form);
    EXPECT_EQ_STR(refusal("10.0.0.1:80"), form);
    EXPECT_EQ_STR(refusal("10.0.0"), form);
    EXPECT_EQ_STR(refusal("unix:/run/x"), form);
    EXPECT_EQ_STR(refusal("[::1]"), form);
    EXPECT_EQ_STR(refusal("/8"), form);
    EXPECT_EQ_STR(refusal("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"),
                  form);
}

TEST(is_full_at_some_point) {
    static struct cidr_list list;
    char why[ADDR_WHY], text[32];
    for (int i = 0; i < CIDRS_MAX; i++) {
        snprintf(text, sizeof text, "10.0.%d.%d", i / 250, i % 250);
        EXPECT(cidr_add(&list, text, why) == 0);
    }
    EXPECT_EQ_INT(cidr_add(&list, "::1", why), -ENOSPC);
    EXPECT(cidr_add(&list, "unix:", why) == 0);
}
