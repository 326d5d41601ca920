/* Addresses as people write them and as the kernel wants them: `127.0.0.1:8080`,
 * `[::1]:8080`, `name:8080`, `:8080` (all addresses, IPv6 and IPv4 in one socket where
 * there is IPv6) and `unix:/path`. Text goes in, a socket address comes out, and the
 * other way round the text is one that can be given again.
 *
 * addr_check and addr_parse look at the form only; addr_resolve may ask the name
 * service, which waits, so it is for the start of the program alone. Errors come as a
 * sentence without the address, which the caller names. Any thread. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
    struct sockaddr_storage at;
    socklen_t len;
    bool both; /* IPv6's "all addresses", taking IPv4 as well */
};

enum {
    ADDR_TEXT = 128, /* room for the longest text of any address, with its NUL */
    ADDR_WHY = 160,  /* room for a sentence */
    ADDR_NAME = 254, /* room for a host's name, with its NUL */
};

/* 0, or -EINVAL with a sentence in why. No look-ups. */
int addr_check(const char *text, char why[ADDR_WHY]);

/* What text stands for when nobody needs to be asked: 1 and *out, for ":port" all
 * addresses. 0 with the name to look up and the port. Or -EINVAL with a sentence. */
int addr_parse(const char *text, struct addr *out, char name[ADDR_NAME], uint16_t *port,
               char why[ADDR_WHY]);

/* The addresses that text stands for, in the order to try them: one, or for a name at
 * most max. Their number (at least 1), or a negative errno with a sentence in why. */
int addr_resolve(const char *text, struct addr *out, size_t max, char why[ADDR_WHY]);

/* Whether host is an IP address, without brackets, with a scope or without
 * ("fe80::1%eth0"); then *out is that with the port. */
bool addr_literal(const char *host, unsigned port, struct addr *out);

/* The IP address that text stands for: "10.0.0.1", "10.0.0.1:53", "::1", "[::1]",
 * "[::1]:53"; without a port that one. 0, or -EINVAL with a sentence in why. */
int addr_numeric(const char *text, unsigned port, struct addr *out, char why[ADDR_WHY]);

/* The address that the socket is bound to, or that of its peer; 0 or a negative errno.
 */
int addr_of_socket(int fd, struct addr *out);
int addr_of_peer(int fd, struct addr *out);

static inline bool addr_is_unix(const struct addr *a) {
    return a->at.ss_family == AF_UNIX;
}

/* The path of a unix address; NULL for others. */
const char *addr_path(const struct addr *a);

/* "127.0.0.1:8080", "[::1]:8080", "unix:/path"; returns out. */
char *addr_text(const struct addr *a, char out[ADDR_TEXT]);

/* "127.0.0.1", "::1", "fe80::1%eth0": without port and brackets; a unix address as by
 * addr_text. */
char *addr_host(const struct addr *a, char out[ADDR_TEXT]);

/* "http://127.0.0.1:8080" with that scheme; a unix address as by addr_text. */
char *addr_url(const struct addr *a, const char *scheme, char out[ADDR_TEXT]);

#endif
