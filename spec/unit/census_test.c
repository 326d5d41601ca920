#include "net/census.h"
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static struct sockaddr_storage address(const char *text) {
    struct sockaddr_storage at = {0};
    struct sockaddr_in *v4 = (void *)&at;
    struct sockaddr_in6 *v6 = (void *)&at;
    at.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    void *to =
        at.ss_family == AF_INET6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr;
    EXPECT(inet_pton(at.ss_family, text, to) == 1);
    return at;
}

static struct guest *enter(struct census *c, const char *text) {
    struct sockaddr_storage at = address(text);
    struct guest *g;
    return census_enter(c, &at, 2, &g) ? g : NULL;
}

TEST(census_counts_each_address) {
    struct census *c = census_new();
    struct guest *a = enter(c, "192.0.2.1"), *b = enter(c, "192.0.2.1");
    EXPECT(a && b && !enter(c, "192.0.2.1"));
    struct guest *other = enter(c, "192.0.2.2");
    EXPECT(other);
    guest_leave(a);
    a = enter(c, "192.0.2.1");
    EXPECT(a && !enter(c, "192.0.2.1"));
    guest_leave(a);
    guest_leave(b);
    guest_leave(other);
    guest_leave(NULL);
    census_free(c);
}

TEST(census_counts_networks_of_ipv6_and_mapped_addresses_as_ipv4) {
    struct census *c = census_new();
    struct guest *a = enter(c, "2001:db8::1"), *b = enter(c, "2001:db8::ffff:2");
    EXPECT(a && b && !enter(c, "2001:db8::3"));
    struct guest *next = enter(c, "2001:db8:0:1::1");
    EXPECT(next);
    struct guest *v4 = enter(c, "192.0.2.1"), *mapped = enter(c, "::ffff:192.0.2.1");
    EXPECT(v4 && v4 == mapped && !enter(c, "192.0.2.1"));
    struct guest *all[] = {a, b, next, v4, mapped};
    for (int i = 0; i < 5; i++) guest_leave(all[i]);
    census_free(c);
}

TEST(census_does_not_count_unix_sockets) {
    struct census *c = census_new();
    struct sockaddr_storage at = {.ss_family = AF_UNIX};
    struct guest *g;
    for (int i = 0; i < 5; i++) EXPECT(census_enter(c, &at, 1, &g) && !g);
    census_free(c);
}

TEST(census_forgets_who_has_gone) {
    struct census *c = census_new();
    for (int round = 0; round < 3; round++) {
        struct guest *all[500];
        for (int i = 0; i < 500; i++) {
            char text[32];
            snprintf(text, sizeof text, "10.0.%d.%d", i / 250, i % 250);
            EXPECT((all[i] = enter(c, text)) != NULL);
        }
        for (int i = 0; i < 500; i++) guest_leave(all[i]);
    }
    census_free(c); /* a leak is for the sanitizer to find */
}
