#include "net/cidr.h"

#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool read_bits(const char *text, unsigned most, unsigned *bits) {
    unsigned n = 0;
    if (!*text || strlen(text) > 3 || (text[0] == '0' && text[1])) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        n = n * 10 + (unsigned)(*text - '0');
    }
    *bits = n;
    return n <= most;
}

/* Zeroes what is behind the bits; true if something was there. */
static bool mask(unsigned char *address, unsigned bytes, unsigned bits) {
    bool had = false;
    for (unsigned i = 0; i < bytes; i++) {
        unsigned keep = bits >= 8 * (i + 1) ? 0xff
                        : bits <= 8 * i     ? 0
                                            : 0xffu << (8 * (i + 1) - bits) & 0xff;
        had |= (address[i] & ~keep & 0xff) != 0;
        address[i] &= (unsigned char)keep;
    }
    return had;
}

static int parse(const char *text, struct cidr *c, char *why) {
    char host[INET6_ADDRSTRLEN], right[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    *c = (struct cidr){0};
    memcpy(host, text, len < sizeof host ? len : 0);
    host[len < sizeof host ? len : 0] = 0;
    c->v6 = strchr(host, ':');
    int family = c->v6 ? AF_INET6 : AF_INET;
    if (inet_pton(family, host, c->address) != 1) {
        snprintf(why, ADDR_WHY,
                 "it must be an IP address or a network without a port, such as "
                 "10.0.0.7, 10.0.0.0/8 or fd00::/8, or unix:");
        return -EINVAL;
    }
    unsigned bytes = c->v6 ? 16 : 4, bits = bytes * 8;
    if (text[len] && !read_bits(text + len + 1, bytes * 8, &bits)) {
        snprintf(why, ADDR_WHY,
                 "behind the slash must be a number from 0 to %u, as in %s", bytes * 8,
                 c->v6 ? "fd00::/8" : "10.0.0.0/8");
        return -EINVAL;
    }
    const unsigned char *v4 = c->v6 ? ip_v4_within(c->address) : NULL;
    if (v4 && bits >= 96) {
        inet_ntop(AF_INET, v4, right, sizeof right);
        snprintf(why, ADDR_WHY, "it is one of IPv4, and is written so: %s/%u", right,
                 bits - 96);
        return -EINVAL;
    }
    if (mask(c->address, bytes, bits)) {
        inet_ntop(family, c->address, right, sizeof right);
        snprintf(why, ADDR_WHY, "that is an address in a network: write %s/%u, or %s",
                 right, bits, host);
        return -EINVAL;
    }
    c->bits = (uint8_t)bits;
    return 0;
}

int cidr_add(struct cidr_list *list, const char *text, char why[ADDR_WHY]) {
    struct cidr c;
    if (strcmp(text, "unix:") == 0) {
        list->any = list->local = true;
        return 0;
    }
    int err = parse(text, &c, why);
    if (err) return err;
    if (list->count == CIDRS_MAX) {
        snprintf(why, ADDR_WHY, "there are more than %d", CIDRS_MAX);
        return -ENOSPC;
    }
    list->at[list->count++] = c;
    list->any = true;
    return 0;
}

static bool within(const struct cidr *c, const unsigned char *address) {
    unsigned bytes = c->bits / 8, rest = c->bits % 8;
    if (memcmp(c->address, address, bytes) != 0) return false;
    return !rest || ((c->address[bytes] ^ address[bytes]) >> (8 - rest)) == 0;
}

bool cidr_has(const struct cidr_list *list, int family, const void *address) {
    const unsigned char *at = address;
    if (!list->any) return false;
    if (family == AF_UNIX) return list->local;
    if (family != AF_INET && family != AF_INET6) return false;
    const unsigned char *v4 = family == AF_INET6 ? ip_v4_within(at) : at;
    bool v6 = !v4;
    if (v4) at = v4;
    for (unsigned i = 0; i < list->count; i++)
        if (list->at[i].v6 == v6 && within(&list->at[i], at)) return true;
    return false;
}

bool cidr_has_peer(const struct cidr_list *list, const struct sockaddr_storage *peer) {
    const struct sockaddr_in *v4 = (const void *)peer;
    const struct sockaddr_in6 *v6 = (const void *)peer;
    switch (peer->ss_family) {
    case AF_INET: return cidr_has(list, AF_INET, &v4->sin_addr);
    case AF_INET6: return cidr_has(list, AF_INET6, &v6->sin6_addr);
    default: return cidr_has(list, peer->ss_family, NULL);
    }
}
