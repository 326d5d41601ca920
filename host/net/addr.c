#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

struct parts {
    bool is_unix, bracketed;
    const char *path;
    char host[ADDR_NAME]; /* empty: all addresses */
    unsigned port;
};

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format,
                                                        ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, ADDR_WHY, format, args);
    va_end(args);
    return -EINVAL;
}

static int split_path(const char *path, struct parts *p, char *why) {
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    p->is_unix = true;
    p->path = path;
    if (*path == 0) return refuse(why, "no path behind 'unix:'");
    if (strlen(path) > room)
        return refuse(why, "the path is longer than the %zu bytes of a socket", room);
    return 0;
}

static int split_port(const char *text, unsigned *port, char *why) {
    unsigned n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n <= 65535; at++)
        n = n * 10 + (unsigned)(*at - '0');
    if (at == text || *at || n > 65535)
        return refuse(why, "the port must be a number from 0 to 65535");
    *port = n;
    return 0;
}

static int split(const char *text, struct parts *p, char *why) {
    *p = (struct parts){0};
    if (strncmp(text, "unix:", 5) == 0) return split_path(text + 5, p, why);
    const char *host = text, *end, *port;
    if (*text == '[') {
        host++;
        end = strchr(host, ']');
        if (!end) return refuse(why, "no ']' behind the IPv6 address");
        port = end + 1;
        p->bracketed = true;
    } else {
        port = end = strrchr(text, ':');
        if (end && memchr(text, ':', (size_t)(end - text)))
            return refuse(why, "an IPv6 address stands in brackets, as in [::1]:8080");
    }
    if (!port || *port != ':')
        return refuse(why, "no port; write HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH");
    size_t len = (size_t)(end - host);
    if (len >= sizeof p->host) return refuse(why, "the name is too long");
    memcpy(p->host, host, len);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)p->host[i] <= ' ' || strchr("/@?#\x7f", p->host[i]))
            return refuse(why, "the name has a character that no name has");
    /* A zone is checked for existence when it is resolved. */
    char bare[ADDR_NAME];
    memcpy(bare, p->host, sizeof bare);
    bare[strcspn(bare, "%")] = 0;
    struct in6_addr ignored;
    if (p->bracketed && inet_pton(AF_INET6, bare, &ignored) != 1)
        return refuse(why, "what stands in brackets must be an IPv6 address");
    return split_port(port + 1, &p->port, why);
}

int addr_check(const char *text, char why[ADDR_WHY]) {
    struct parts p;
    return split(text, &p, why);
}

static void make_unix(const char *path, struct addr *out) {
    struct sockaddr_un *un = (struct sockaddr_un *)&out->at;
    size_t len = strlen(path);
    *out = (struct addr){0};
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
}

static bool have_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    close(fd);
    return true;
}

static void make_all(unsigned port, struct addr *out) {
    *out = (struct addr){0};
    if (have_ipv6()) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->at;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((in_port_t)port);
        v6->sin6_addr = in6addr_any;
        out->len = sizeof *v6;
        out->both = true;
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&out->at;
        v4->sin_family = AF_INET;
        v4->sin_port = htons((in_port_t)port);
        v4->sin_addr.s_addr = htonl(INADDR_ANY);
        out->len = sizeof *v4;
    }
}

static bool among(const struct addr *known, size_t count, const struct addrinfo *a) {
    for (size_t i = 0; i < count; i++)
        if (known[i].len == a->ai_addrlen &&
            memcmp(&known[i].at, a->ai_addr, a->ai_addrlen) == 0)
            return true;
    return false;
}

int addr_resolve(const char *text, struct addr *out, size_t max, char why[ADDR_WHY]) {
    struct parts p;
    int err = split(text, &p, why);
    if (err) return err;
    if (max == 0) return refuse(why, "no room for an address");
    if (p.is_unix) {
        make_unix(p.path, out);
        return 1;
    }
    if (p.host[0] == 0) {
        make_all(p.port, out);
        return 1;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", p.port);
    struct addrinfo *found, hints = {.ai_family = AF_UNSPEC,
                                     .ai_socktype = SOCK_STREAM,
                                     .ai_flags = AI_PASSIVE | AI_NUMERICSERV |
                                                 (p.bracketed ? AI_NUMERICHOST : 0)};
    err = getaddrinfo(p.host, port, &hints, &found);
    if (err) {
        int saved = err == EAI_SYSTEM ? errno : EADDRNOTAVAIL;
        refuse(why, "%s", err == EAI_SYSTEM ? strerror(saved) : gai_strerror(err));
        return -saved;
    }
    size_t count = 0;
    for (struct addrinfo *a = found; a && count < max; a = a->ai_next) {
        if (a->ai_addrlen > sizeof out->at || among(out, count, a)) continue;
        out[count] = (struct addr){.len = a->ai_addrlen};
        memcpy(&out[count].at, a->ai_addr, a->ai_addrlen);
        count++;
    }
    freeaddrinfo(found);
    if (count == 0) return refuse(why, "the name has no address");
    return (int)count;
}

static bool read_scope(const char *zone, uint32_t *scope) {
    char *end;
    *scope = if_nametoindex(zone);
    if (*scope) return true;
    unsigned long n = strtoul(zone, &end, 10);
    *scope = (uint32_t)n;
    return *zone >= '0' && *zone <= '9' && *end == 0 && n > 0 && n <= UINT32_MAX;
}

bool addr_literal(const char *host, unsigned port, struct addr *out) {
    char bare[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%");
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->at;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->at;
    *out = (struct addr){0};
    if (len >= sizeof bare) return false;
    memcpy(bare, host, len);
    bare[len] = 0;
    if (!host[len] && inet_pton(AF_INET, bare, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((in_port_t)port);
        out->len = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, bare, &v6->sin6_addr) != 1) return false;
    if (host[len] && !read_scope(host + len + 1, &v6->sin6_scope_id)) return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((in_port_t)port);
    out->len = sizeof *v6;
    return true;
}

int addr_numeric(const char *text, unsigned port, struct addr *out,
                 char why[ADDR_WHY]) {
    char host[ADDR_NAME];
    const char *start = text, *end = text + strlen(text), *colon = strchr(text, ':');
    const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
    if (bracket) {
        start = text + 1;
        end = bracket;
        colon = bracket + 1;
    } else if (colon && !strchr(colon + 1, ':')) {
        end = colon;
    } else {
        colon = end;
    }
    size_t len = (size_t)(end - start);
    memcpy(host, start, len < sizeof host ? len : 0);
    host[len < sizeof host ? len : 0] = 0;
    if ((*colon && *colon != ':') || !addr_literal(host, port, out))
        return refuse(why, "it must be an IP address, such as 10.0.0.1 or [::1]:53");
    if (*colon == 0) return 0;
    if (split_port(colon + 1, &port, why) < 0) return -EINVAL;
    addr_literal(host, port, out);
    return 0;
}

int addr_parse(const char *text, struct addr *out, char name[ADDR_NAME], uint16_t *port,
               char why[ADDR_WHY]) {
    struct parts p;
    int err = split(text, &p, why);
    if (err) return err;
    if (p.is_unix) {
        make_unix(p.path, out);
    } else if (p.host[0] == 0) {
        make_all(p.port, out);
    } else if (!addr_literal(p.host, p.port, out)) {
        /* In brackets stands an IPv6 address: only its zone can be wrong. */
        if (p.bracketed) return refuse(why, "no network interface of that name");
        memcpy(name, p.host, ADDR_NAME);
        *port = (uint16_t)p.port;
        return 0;
    }
    return 1;
}

int addr_of_socket(int fd, struct addr *out) {
    *out = (struct addr){.len = sizeof out->at};
    if (getsockname(fd, (struct sockaddr *)&out->at, &out->len) < 0) return -errno;
    if (out->at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&out->at;
        int only = 1;
        socklen_t size = sizeof only;
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size);
        out->both = !only && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    }
    return 0;
}

int addr_of_peer(int fd, struct addr *out) {
    *out = (struct addr){.len = sizeof out->at};
    return getpeername(fd, (struct sockaddr *)&out->at, &out->len) < 0 ? -errno : 0;
}

const char *addr_path(const struct addr *a) {
    return addr_is_unix(a) ? ((const struct sockaddr_un *)&a->at)->sun_path : NULL;
}

char *addr_host(const struct addr *a, char out[ADDR_TEXT]) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->at;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->at;
    char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE] = "";
    switch (a->at.ss_family) {
    case AF_UNIX: snprintf(out, ADDR_TEXT, "unix:%s", addr_path(a)); break;
    case AF_INET: inet_ntop(AF_INET, &v4->sin_addr, out, ADDR_TEXT); break;
    case AF_INET6:
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        if (v6->sin6_scope_id && !if_indextoname(v6->sin6_scope_id, zone))
            snprintf(zone, sizeof zone, "%u", (unsigned)v6->sin6_scope_id);
        snprintf(out, ADDR_TEXT, "%s%s%s", host, zone[0] ? "%" : "", zone);
        break;
    default: snprintf(out, ADDR_TEXT, "unknown"); break;
    }
    return out;
}

char *addr_text(const struct addr *a, char out[ADDR_TEXT]) {
    bool is_v6 = a->at.ss_family == AF_INET6;
    char host[ADDR_TEXT];
    addr_host(a, host);
    if (!is_v6 && a->at.ss_family != AF_INET) return strcpy(out, host);
    /* The port is at the same place in both. */
    unsigned port = ntohs(((const struct sockaddr_in *)&a->at)->sin_port);
    snprintf(out, ADDR_TEXT, is_v6 ? "[%.100s]:%u" : "%.100s:%u", host, port);
    return out;
}

char *addr_url(const struct addr *a, const char *scheme, char out[ADDR_TEXT]) {
    char text[ADDR_TEXT];
    addr_text(a, text);
    if (addr_is_unix(a))
        memcpy(out, text, sizeof text);
    else
        snprintf(out, ADDR_TEXT, "%.16s://%.100s", scheme, text);
    return out;
}
