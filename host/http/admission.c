#include "http/admission.h"

#include "base/log.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t TELL_AGAIN = 10000000000; /* ns, the same trouble */

static bool is_trusted(const struct front *f, const struct sockaddr_storage *peer) {
    return f->limits.trust.proxies.any && cidr_has_peer(&f->limits.trust.proxies, peer);
}

static void tell_greedy(struct front *f, const struct client_address *client) {
    char text[CLIENT_TEXT];
    f->greedy++;
    if (f->loop->now < f->greedy_told) return;
    f->greedy_told = f->loop->now + TELL_AGAIN;
    client_text(client, false, text);
    log_warn("connections_per_address is reached by %s, whose further connections are "
             "turned away (%u since this was last said)",
             text, f->greedy);
    f->greedy = 0;
}

void admission_refuse(struct front *f, const struct client_address *peer,
                      const char *why) {
    char text[CLIENT_TEXT];
    f->refused++;
    if (f->loop->now < f->refused_told) return;
    f->refused_told = f->loop->now + TELL_AGAIN;
    client_text(peer, false, text);
    log_warn("PROXY header of %s: %s; the connection is closed (%u since this was last "
             "said)",
             text, why, f->refused);
    f->refused = 0;
}

/* With an answer, where it can be read. */
static void turn_away(struct front *f, const struct acceptor *l, int fd,
                      const struct sockaddr_storage *peer) {
    struct client_address who = client_address(peer);
    tell_greedy(f, &who);
    if (!f->tls &&
        send(fd, l->farewell.at, l->farewell.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

static bool ask_proxy(struct front *f, int fd, const struct sockaddr_storage *peer) {
    if (is_trusted(f, peer)) return true;
    struct client_address who = client_address(peer);
    admission_refuse(f, &who, "the address is not one of trusted_proxies");
    close(fd);
    return false;
}

bool admission_ask(struct front *f, const struct acceptor *l, int fd,
                   const struct sockaddr_storage *peer, struct guest **guest) {
    unsigned most = f->limits.connections_per_address;
    if (l->proxy) return ask_proxy(f, fd, peer);
    /* A proxy has many clients, and is not counted as one. */
    if (!most || !f->crew->census || is_trusted(f, peer) ||
        census_enter(f->crew->census, peer, most, guest))
        return true;
    turn_away(f, l, fd, peer);
    return false;
}

bool admission_count(struct front *f, const struct client_address *client,
                     struct guest **guest) {
    struct sockaddr_storage at = {.ss_family = client->family};
    unsigned most = f->limits.connections_per_address;
    if (!most || !f->crew->census ||
        cidr_has(&f->limits.trust.proxies, client->family, client->bytes))
        return true;
    if (client->family == AF_INET)
        memcpy(&((struct sockaddr_in *)(void *)&at)->sin_addr, client->bytes, 4);
    if (client->family == AF_INET6)
        memcpy(&((struct sockaddr_in6 *)(void *)&at)->sin6_addr, client->bytes, 16);
    if (census_enter(f->crew->census, &at, most, guest)) return true;
    tell_greedy(f, client);
    return false;
}
