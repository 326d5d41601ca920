#include "net/clones.h"

#include "base/check.h"
#include "base/fd.h"
#include "net/bind.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct shared {
    struct clones *all;   /* NULL when it is not found by its address */
    pthread_mutex_t lock; /* in place of theirs */
    struct link link, members;
    struct addr wanted, addr;
    struct bind_file file;
};

struct clone {
    struct shared *of;
    struct link member;
    const void *holder;
    int fd;
};

static pthread_mutex_t *lock_of(struct shared *s) {
    return s->all ? &s->all->lock : &s->lock;
}

void clones_init(struct clones *c) {
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    list_init(&c->sockets);
}

void clones_done(struct clones *c) {
    CHECK(list_empty(&c->sockets));
    pthread_mutex_destroy(&c->lock);
}

static bool same(const struct addr *a, const struct addr *b) {
    return a->len == b->len && memcmp(&a->at, &b->at, a->len) == 0;
}

static bool held_by(const struct shared *s, const void *holder) {
    for (struct link *l = s->members.next; l != &s->members; l = l->next)
        if (LIST_OF(l, struct clone, member)->holder == holder) return true;
    return false;
}

static struct shared *find(struct clones *c, const struct addr *a, const void *holder) {
    for (struct link *l = c->sockets.next; l != &c->sockets; l = l->next) {
        struct shared *s = LIST_OF(l, struct shared, link);
        bool wanted = same(&s->wanted, a) && s->wanted.both == a->both;
        if ((wanted || same(&s->addr, a)) && !held_by(s, holder)) return s;
    }
    return NULL;
}

static int make(const struct addr *a, const struct clone_options *o,
                struct shared **out) {
    struct shared *s = calloc(1, sizeof *s);
    if (!s) return -ENOMEM;
    s->wanted = s->addr = *a;
    list_init(&s->link);
    list_init(&s->members);
    int fd = bind_socket(a, SOCK_STREAM, o->reuseport), err = fd < 0 ? fd : 0;
    if (err) goto fail;
    s->file = bind_file_of(a);
    if (!addr_is_unix(a) && !o->nodelay)
        err = bind_option(fd, IPPROTO_TCP, TCP_NODELAY, 0);
    if (!err && listen(fd, o->backlog) < 0) err = -errno;
    if (!err && !addr_is_unix(a)) err = addr_of_socket(fd, &s->addr);
    if (err) goto fail;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return fd;
fail:
    if (fd >= 0) bind_remove(a, s->file);
    fd_close(&fd);
    free(s);
    return err;
}

static int join(struct clones *all, const struct addr *a, const struct clone_options *o,
                struct clone *c) {
    struct shared *s = all && !o->reuseport ? find(all, a, c->holder) : NULL;
    if (s) {
        c->fd = fd_dup(LIST_OF(list_first(&s->members), struct clone, member)->fd);
    } else {
        c->fd = make(a, o, &s);
        if (c->fd >= 0 && all && !o->reuseport) {
            s->all = all;
            list_append(&all->sockets, &s->link);
        }
    }
    if (c->fd < 0) return c->fd;
    c->of = s;
    list_append(&s->members, &c->member);
    return 0;
}

int clone_listen(struct clones *all, const struct addr *a,
                 const struct clone_options *o, const void *holder,
                 struct clone **out) {
    struct clone *c = malloc(sizeof *c);
    if (!c) return -ENOMEM;
    *c = (struct clone){.holder = holder, .fd = -1};
    list_init(&c->member);
    if (all) pthread_mutex_lock(&all->lock);
    int err = join(all, a, o, c);
    if (all) pthread_mutex_unlock(&all->lock);
    if (err)
        free(c);
    else
        *out = c;
    return err;
}

int clone_again(struct clone *c, const void *holder, struct clone **out) {
    struct shared *s = c->of;
    struct clone *again = malloc(sizeof *again);
    if (!again) return -ENOMEM;
    *again = (struct clone){.of = s, .holder = holder, .fd = fd_dup(c->fd)};
    if (again->fd < 0) {
        int err = again->fd;
        free(again);
        return err;
    }
    pthread_mutex_lock(lock_of(s));
    list_append(&s->members, &again->member);
    pthread_mutex_unlock(lock_of(s));
    *out = again;
    return 0;
}

void clone_give(struct clone *c, const void *holder) {
    pthread_mutex_lock(lock_of(c->of));
    c->holder = holder;
    pthread_mutex_unlock(lock_of(c->of));
}

int clone_fd(const struct clone *c) {
    return c->fd;
}

const struct addr *clone_addr(const struct clone *c) {
    return &c->of->addr;
}

void clone_close(struct clone *c) {
    struct shared *s = c->of;
    pthread_mutex_lock(lock_of(s));
    list_unlink(&c->member);
    bool last = list_empty(&s->members);
    if (last) {
        bind_remove(&s->addr, s->file);
        list_unlink(&s->link);
    }
    fd_close(&c->fd);
    pthread_mutex_unlock(lock_of(s));
    if (last) {
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
    free(c);
}
