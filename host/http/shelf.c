#include "http/shelf.h"

#include "base/check.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/siphash.h"
#include "base/table.h"
#include "http/beneath.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { EVICTED = 16 }; /* when there are no descriptors */

/* ns */
static const int64_t UNUSED = 10 * CLOCK_SECOND, PROVED = CLOCK_SECOND,
                     TOLD = 5 * CLOCK_SECOND;

struct shelf_entry {
    struct open_file file;
    struct table_node node;
    struct link used;    /* of the shelf, the one used last at the end */
    struct shelf *shelf; /* NULL: not on it (any more) */
    unsigned references;
    dev_t device;
    ino_t inode;
    int64_t changed;        /* ctime, ns */
    int64_t proved, wanted; /* on the loop's clock */
    size_t key_len;
    char key[]; /* rule, root and name */
};

struct shelf {
    struct loop *loop;
    struct table table;
    struct link used;
    unsigned most;
    struct siphash_key secret;
    struct timer sweep;
    int64_t told; /* that descriptors are lacking */
};

static int64_t ns(struct timespec t) {
    return t.tv_sec * CLOCK_SECOND + t.tv_nsec;
}

/* ---- the shelf ---- */

static void close_entry(struct shelf_entry *e) {
    fd_close(&e->file.fd);
    free(e);
}

/* From the shelf; who has it keeps it. */
static void take_off(struct shelf_entry *e) {
    struct shelf *s = e->shelf;
    list_unlink(&e->used);
    table_remove(&s->table, &e->node);
    table_step(&s->table);
    e->shelf = NULL;
    if (!e->references) close_entry(e);
}

/* Closes up to count files that nobody has, those that were used least lately. */
static unsigned evict(struct shelf *s, unsigned count) {
    unsigned n = 0;
    struct link *next;
    for (struct link *l = s->used.next; l != &s->used && n < count; l = next) {
        struct shelf_entry *e = LIST_OF(l, struct shelf_entry, used);
        next = l->next;
        if (e->references) continue;
        take_off(e);
        n++;
    }
    return n;
}

static void swept(struct timer *t) {
    struct shelf *s = LIST_OF(t, struct shelf, sweep);
    struct link *next;
    for (struct link *l = s->used.next; l != &s->used; l = next) {
        struct shelf_entry *e = LIST_OF(l, struct shelf_entry, used);
        next = l->next;
        if (e->wanted + UNUSED > s->loop->now) break;
        take_off(e);
    }
    /* Without memory for the timer the next file sets it. */
    if (s->table.count) timer_set(s->loop, t, s->loop->now + UNUSED);
}

struct shelf *shelf_new(struct loop *l, unsigned most) {
    struct shelf *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->loop = l;
    s->most = most;
    list_init(&s->used);
    timer_init(&s->sweep, swept);
    if (getrandom(&s->secret, sizeof s->secret, 0) != sizeof s->secret ||
        table_init(&s->table) != 0) {
        free(s);
        return NULL;
    }
    return s;
}

void shelf_bound(struct shelf *s, unsigned most) {
    s->most = most;
    if (s->table.count > most) evict(s, (unsigned)s->table.count - most);
}

void shelf_free(struct shelf *s) {
    struct link *first;
    if (!s) return;
    while ((first = list_first(&s->used)))
        take_off(LIST_OF(first, struct shelf_entry, used));
    timer_clear(s->loop, &s->sweep);
    table_done(&s->table);
    free(s);
}

void shelf_give_back(struct open_file *f) {
    struct shelf_entry *e = f->entry;
    CHECK(e->references > 0);
    if (--e->references == 0 && !e->shelf) close_entry(e);
}

/* ---- a file ---- */

/* rule, root and name, one behind the other; 0: too long. The path is behind the rule.
 */
static size_t make_key(const struct shelf_root *root, struct span name,
                       char key[PATH_MAX + 1]) {
    size_t len = strlen(root->path);
    if (len + name.len >= PATH_MAX) return 0;
    key[0] = (char)('a' + root->links);
    memcpy(key + 1, root->path, len);
    memcpy(key + 1 + len, name.at, name.len);
    key[1 + len + name.len] = 0;
    return 1 + len + name.len;
}

static struct shelf_entry *look_up(struct shelf *s, uint64_t hash, const char *key,
                                   size_t len) {
    for (struct table_node *n = *table_bucket(&s->table, hash); n; n = n->next) {
        struct shelf_entry *e = LIST_OF(n, struct shelf_entry, node);
        if (n->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0)
            return e;
    }
    return NULL;
}

static bool is_same(const struct shelf_entry *e, const struct stat *st) {
    return e->inode == st->st_ino && e->device == st->st_dev &&
           e->file.size == (uint64_t)st->st_size &&
           e->file.modified == ns(st->st_mtim) && e->changed == ns(st->st_ctim);
}

/* What cannot be reached is not there. */
static int outcome(int error) {
    switch (error) {
    case ENOTDIR:
    case ELOOP:
    case EXDEV:
    case ENAMETOOLONG:
    case ENXIO:
    case ENODEV: return -ENOENT;
    default: return -error;
    }
}

static void tell(struct shelf *s, const char *path, int error) {
    if (s->told && s->loop->now < s->told + TOLD) return;
    s->told = s->loop->now;
    log_error("%s: %s", path, err_text(-error));
}

/* The descriptor, or a negative errno. */
static int open_anew(struct shelf *s, const struct shelf_root *root, const char *path,
                     struct span name) {
    for (bool again = false;; again = true) {
        int fd = root->links == LINKS_ANYWHERE || !*root->path
                     ? beneath_open_any(path)
                     : beneath_open(root->path, name.at, root->links == LINKS_INSIDE);
        bool lacking = fd == -EMFILE || fd == -ENFILE;
        if (lacking && !again && evict(s, EVICTED)) continue;
        if (fd < 0 && (lacking || fd == -ENOMEM || fd == -EIO)) tell(s, path, -fd);
        return fd < 0 ? outcome(-fd) : fd;
    }
}

static int make(struct shelf *s, const struct shelf_root *root, struct span name,
                const char *key, size_t len, struct shelf_entry **out) {
    struct stat st;
    struct shelf_entry *e = malloc(sizeof *e + len + 1);
    if (!e) {
        tell(s, key + 1, ENOMEM);
        return -ENOMEM;
    }
    memset(e, 0, sizeof *e);
    memcpy(e->key, key, len + 1);
    /* The name is terminated in the key. */
    name.at = e->key + len - name.len;
    int fd = e->file.fd = open_anew(s, root, e->key + 1, name);
    if (fd < 0) {
        free(e);
        return fd;
    }
    int err = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -ENOENT;
    if (err) {
        if (err != -ENOENT) tell(s, e->key + 1, -err);
        close_entry(e);
        return err;
    }
    e->key_len = len;
    e->file.entry = e;
    e->file.size = (uint64_t)st.st_size;
    e->file.modified = ns(st.st_mtim);
    e->device = st.st_dev;
    e->inode = st.st_ino;
    e->changed = ns(st.st_ctim);
    snprintf(e->file.etag, sizeof e->file.etag, "\"%llx-%llx-%llx\"",
             (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
             (unsigned long long)e->file.modified);
    list_init(&e->used);
    *out = e;
    return 0;
}

/* Where there is room. */
static void put_on(struct shelf *s, struct shelf_entry *e, uint64_t hash) {
    if (s->table.count >= s->most) evict(s, 1);
    if (s->table.count >= s->most) return;
    if (!timer_is_set(&s->sweep) &&
        timer_set(s->loop, &s->sweep, s->loop->now + UNUSED) != 0)
        return;
    e->shelf = s;
    e->node.hash = hash;
    table_insert(&s->table, &e->node);
    table_step(&s->table);
}

int shelf_take(struct shelf *s, const struct shelf_root *root, struct span name,
               struct open_file **out) {
    char key[PATH_MAX + 1];
    struct stat st;
    size_t len = make_key(root, name, key);
    if (!len) return -ENOENT;
    if (stat(key + 1, &st) != 0) return outcome(errno);
    if (S_ISDIR(st.st_mode)) return -EISDIR;
    if (!S_ISREG(st.st_mode)) return -ENOENT;
    uint64_t hash = siphash(&s->secret, span_of(key, len));
    struct shelf_entry *e = look_up(s, hash, key, len);
    if (e && (!is_same(e, &st) || s->loop->now - e->proved >= PROVED)) {
        take_off(e);
        e = NULL;
    }
    if (!e) {
        int err = make(s, root, name, key, len, &e);
        if (err) return err;
        e->proved = s->loop->now;
        put_on(s, e, hash);
    }
    e->wanted = s->loop->now;
    if (e->shelf) {
        list_unlink(&e->used);
        list_append(&s->used, &e->used);
    }
    e->references++;
    *out = &e->file;
    return 0;
}
