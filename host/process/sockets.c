#include "process/sockets.h"

#include "base/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAME_MAX_ADDRS = 8 };

static int refuse(struct problem *p, int err, const char *text) {
    int code = err == -EACCES || err == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
    return problem_errno(p, code, err, "cannot listen on %.300s", text);
}

static int bind_one(const struct addr *a, bool reuseport, const struct identity *who) {
    int fd = bind_socket(a, SOCK_STREAM, reuseport);
    if (fd >= 0 && !addr_is_unix(a)) {
        int err = bind_server(fd);
        if (err) fd_close(&fd);
        return err ? err : fd;
    }
    if (fd >= 0 && who->changes && lchown(addr_path(a), who->uid, who->gid) < 0) {
        int err = -errno;
        unlink(addr_path(a));
        fd_close(&fd);
        return err;
    }
    return fd;
}

static void close_one(struct listener *l) {
    for (size_t i = 0; i < l->count; i++) fd_close(&l->fds[i]);
}

/* Binds and listens; with reuseport count sockets at the same port. */
static int open_one(struct listener *l, const struct addr *a, size_t count,
                    bool reuseport, const struct identity *who) {
    int err = 0;
    *l = (struct listener){.addr = *a};
    l->fds = malloc(count * sizeof *l->fds);
    if (!l->fds) return -ENOMEM;
    for (; l->count < count; l->count++) {
        /* The first one's real port is the port of all. */
        int fd = bind_one(&l->addr, reuseport, who);
        if (fd < 0) {
            err = fd;
            goto fail;
        }
        if (l->count == 0 && !addr_is_unix(a)) err = addr_of_socket(fd, &l->addr);
        if (!err && listen(fd, BIND_BACKLOG) < 0) err = -errno;
        l->fds[l->count] = fd;
        if (err) {
            l->count++;
            goto fail;
        }
    }
    l->file = bind_file_of(a);
    addr_text(&l->addr, l->text);
    return 0;
fail:
    if (addr_is_unix(a) && l->count) unlink(addr_path(a));
    close_one(l);
    free(l->fds);
    return err;
}

/* All addresses of one text. Of a name's several addresses (localhost) those that this
 * machine does not have are left out, as long as one remains. */
static int open_text(struct listeners *all, const char *given, const struct settings *s,
                     const struct identity *who, struct problem *p) {
    struct addr found[NAME_MAX_ADDRS];
    char why[ADDR_WHY], one[ADDR_TEXT], address[512];
    size_t len;
    bool proxy = setting_for_proxies(given, &len);
    const char *text = address;
    snprintf(address, sizeof address, "%.*s", (int)len, given);
    int n = addr_resolve(text, found, NAME_MAX_ADDRS, why), opened = 0, missing = 0;
    if (n < 0)
        return problem_set(p, EX_UNAVAILABLE, "cannot listen on %.300s: %s", text, why);
    struct listener *more =
        realloc(all->at, (all->count + (size_t)n) * sizeof *all->at);
    if (!more) return problem_set(p, EX_OSERR, "out of memory");
    all->at = more;
    for (int i = 0; i < n; i++) {
        bool several = s->reuseport && !addr_is_unix(&found[i]);
        int err = open_one(&all->at[all->count], &found[i], several ? s->isolates : 1,
                           several, who);
        if (err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT)
            missing = err;
        else if (err)
            return refuse(p, err,
                          addr_is_unix(&found[i]) ? text : addr_text(&found[i], one));
        else
            all->at[all->count++].proxy = proxy, opened++;
    }
    return opened ? 0 : refuse(p, missing, text);
}

int sockets_open(struct listeners *all, const struct settings *s,
                 const struct identity *who, struct problem *p) {
    for (size_t i = 0; i < s->listen.count; i++)
        if (open_text(all, s->listen.at[i], s, who, p) < 0) {
            sockets_remove(all);
            return -1;
        }
    return 0;
}

void sockets_close(struct listeners *all) {
    for (size_t i = 0; i < all->count; i++) close_one(&all->at[i]);
}

void sockets_remove(struct listeners *all) {
    for (size_t i = 0; i < all->count; i++) {
        struct listener *l = &all->at[i];
        bind_remove(&l->addr, l->file);
        close_one(l);
        free(l->fds);
    }
    free(all->at);
    *all = (struct listeners){0};
}
