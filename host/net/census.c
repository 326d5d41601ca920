#include "net/census.h"

#include "base/ip.h"
#include "base/siphash.h"
#include "base/table.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* All of an IPv4 address, the network of an IPv6 one, and which of the two it is. */
enum { KEY = 9, NETWORK = 8 };

struct census {
    pthread_mutex_t lock; /* of all below */
    struct siphash_key secret;
    struct table guests;
};

struct guest {
    struct table_node node;
    struct census *census;
    unsigned count;
    unsigned char key[KEY];
};

struct census *census_new(void) {
    struct census *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (getrandom(&c->secret, sizeof c->secret, GRND_NONBLOCK) < 0)
        c->secret.k0 = (uint64_t)(uintptr_t)c; /* an early boot */
    if (table_init(&c->guests) != 0) {
        free(c);
        return NULL;
    }
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void census_free(struct census *c) {
    if (!c) return;
    table_done(&c->guests);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* False for an address that is not counted. */
static bool key_of(const struct sockaddr_storage *peer, unsigned char key[KEY]) {
    memset(key, 0, KEY);
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)peer;
        memcpy(key, &v4->sin_addr, 4);
        return true;
    }
    if (peer->ss_family != AF_INET6) return false;
    const struct sockaddr_in6 *v6 = (const void *)peer;
    const unsigned char *v4 = ip_v4_within(&v6->sin6_addr);
    if (v4) {
        memcpy(key, v4, 4);
        return true;
    }
    memcpy(key, &v6->sin6_addr, NETWORK);
    key[KEY - 1] = 6;
    return true;
}

static struct guest *find(struct census *c, const unsigned char *key, uint64_t hash) {
    for (struct table_node *n = *table_bucket(&c->guests, hash); n; n = n->next) {
        struct guest *g = (struct guest *)(void *)n; /* its first member */
        if (n->hash == hash && memcmp(g->key, key, KEY) == 0) return g;
    }
    return NULL;
}

static struct guest *add(struct census *c, const unsigned char *key, uint64_t hash) {
    struct guest *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->census = c;
    g->node.hash = hash;
    memcpy(g->key, key, KEY);
    table_insert(&c->guests, &g->node);
    table_step(&c->guests);
    return g;
}

bool census_enter(struct census *c, const struct sockaddr_storage *peer, unsigned most,
                  struct guest **out) {
    unsigned char key[KEY];
    bool welcome = true;
    *out = NULL;
    if (!key_of(peer, key)) return true;
    uint64_t hash = siphash(&c->secret, (struct span){(const char *)key, KEY});
    pthread_mutex_lock(&c->lock);
    struct guest *g = find(c, key, hash);
    if (!g) g = add(c, key, hash);
    if (g && g->count >= most) {
        welcome = false;
    } else if (g) {
        g->count++;
        *out = g;
    }
    pthread_mutex_unlock(&c->lock);
    return welcome;
}

void guest_leave(struct guest *g) {
    if (!g) return;
    struct census *c = g->census;
    pthread_mutex_lock(&c->lock);
    bool last = --g->count == 0;
    if (last) {
        table_remove(&c->guests, &g->node);
        table_step(&c->guests);
    }
    pthread_mutex_unlock(&c->lock);
    if (last) free(g);
}
