#include "process/bequest.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "ATOLL_HERITAGE"
#define MAGIC "atoll heritage 1"
enum { SIZE_MAX_TEXT = 1 << 20, PATIENCE = 50 };

/* Which last as long as the sockets and the supervisor do; with reuseport the number of
 * isolates as well, since there are as many sockets. */
static const enum setting_id kept[] = {SET_listen, SET_reuseport, SET_processes,
                                       SET_user,   SET_group,     SET_pid_file};
enum { KEPT = sizeof kept / sizeof *kept };

/* ---- writing: "key value\0" ---- */

static int put_setting(struct buf *b, const struct settings *s, enum setting_id id) {
    char value[64 * 300];
    setting_text(s, &settings_table[id], value, sizeof value);
    return buf_printf(b, "setting %s %s%c", settings_table[id].name, value, 0);
}

static int put_common(struct buf *b, const struct estate *e, const char *role,
                      pid_t whose) {
    const struct heritage *h = e->heritage;
    int err = buf_printf(b, MAGIC "%c%s %ld%cversion %s%c", 0, role, (long)whose, 0,
                         ATOLL_VERSION, 0);
    for (size_t i = 0; i < h->listeners.count && !err; i++) {
        const struct listener *l = &h->listeners.at[i];
        err =
            buf_printf(b, "listener %llu %llu %d", (unsigned long long)l->file.device,
                       (unsigned long long)l->file.inode, l->addr.both | l->proxy << 1);
        for (size_t k = 0; k < l->count && !err; k++)
            err = buf_printf(b, " %d", l->fds[k]);
        if (!err) err = buf_append(b, "", 1);
    }
    for (size_t i = 0; i < KEPT && !err; i++)
        err = put_setting(b, h->settings, kept[i]);
    if (!err && h->settings->reuseport) err = put_setting(b, h->settings, SET_isolates);
    if (!err) err = buf_printf(b, "restarts %u%cmore %d%c", h->restarts, 0, h->more, 0);
    return err;
}

/* To a file in memory; takes the text. */
static int seal(struct buf *b, int err) {
    int fd = -1;
    if (!err) fd = memfd_create("atoll heritage", MFD_CLOEXEC);
    if (!err && fd < 0) err = -errno;
    if (!err) err = fd_write_all(fd, buf_data(b), buf_len(b));
    buf_reset(b);
    if (!err) return fd;
    fd_close(&fd);
    return err < 0 ? err : -EIO;
}

int bequest_for_host(const struct estate *e, const struct process *own, int writing) {
    struct buf b;
    buf_init(&b);
    int err = put_common(&b, e, "host", getpid());
    if (!err)
        err = buf_printf(&b, "pipe %d%creport %d%cheartbeat %lld%c", writing, 0,
                         own->report, 0, (long long)e->heritage->heartbeat, 0);
    return seal(&b, err);
}

int bequest_for_supervisor(const struct estate *e) {
    struct buf b;
    buf_init(&b);
    int err = put_common(&b, e, "supervisor", getpid());
    if (!err && e->pid_file->fd >= 0)
        err = buf_printf(&b, "pid_file %d%c", e->pid_file->fd, 0);
    for (EACH_PROCESS(c, e->children)) {
        if (err || !c->pid) continue;
        err = buf_printf(&b, "child %d %ld %d %d %d %u %lld %lld%c", (int)c->role,
                         (long)c->pid, c->pipe, c->report, c->ready, c->isolates,
                         (long long)c->ready_at, (long long)c->kill_at, 0);
    }
    return seal(&b, err);
}

int bequest_name(int fd) {
    char text[16];
    if (fd < 0) {
        unsetenv(NAME);
        return 0;
    }
    snprintf(text, sizeof text, "%d", fd);
    return setenv(NAME, text, 1) < 0 ? -errno : 0;
}

static void expose(int fd, bool open, int *err) {
    int result = fd >= 0 ? fd_cloexec(fd, !open) : 0;
    if (result && !*err) *err = result;
}

static void expose_listeners(const struct estate *e, bool open, int *err) {
    const struct listeners *all = &e->heritage->listeners;
    for (size_t i = 0; i < all->count; i++)
        for (size_t k = 0; k < all->at[i].count; k++)
            expose(all->at[i].fds[k], open, err);
}

int bequest_expose_host(const struct estate *e, const struct process *own, int writing,
                        bool open) {
    int err = 0;
    expose_listeners(e, open, &err);
    expose(own->report, open, &err);
    expose(writing, open, &err);
    return err;
}

int bequest_expose_supervisor(const struct estate *e, bool open) {
    int err = 0;
    expose_listeners(e, open, &err);
    expose(e->pid_file->fd, open, &err);
    for (EACH_PROCESS(c, e->children)) {
        expose(c->pipe, open, &err);
        expose(c->report, open, &err);
    }
    return err;
}

/* ---- reading ---- */

/* There is no way back to who has left it: memory is waited for, for some seconds. */
static bool is_worth_waiting(int *tries) {
    const struct timespec pause = {.tv_nsec = CLOCK_SECOND / 10};
    if (++*tries > PATIENCE) return false;
    nanosleep(&pause, NULL);
    return true;
}

static void *room(void *old, size_t size) {
    void *block;
    for (int tries = 0; !(block = realloc(old, size)) && is_worth_waiting(&tries);) {
    }
    return block;
}

/* The next number of the value, moving *at behind it; false when there is none. */
static bool number(const char **at, long long *out) {
    char *end;
    errno = 0;
    *out = strtoll(*at, &end, 10);
    if (end == *at || errno) return false;
    *at = end;
    return true;
}

/* A descriptor that is open; it will not survive another exec. -1 for -1. */
static bool descriptor(const char **at, int *out) {
    long long n;
    if (!number(at, &n) || n < -1 || n > INT_MAX) return false;
    *out = (int)n;
    return n < 0 || fd_cloexec(*out, true) == 0;
}

static bool take_listener(struct bequest *b, const char *at) {
    struct listeners *all = &b->listeners;
    long long device, inode, bits;
    struct listener l = {0};
    if (!number(&at, &device) || !number(&at, &inode) || !number(&at, &bits))
        return false;
    l.file = (struct bind_file){(dev_t)device, (ino_t)inode};
    l.fds = room(NULL, (strlen(at) / 2 + 1) * sizeof *l.fds);
    if (!l.fds) return false;
    while (*at) {
        if (!descriptor(&at, &l.fds[l.count]) || l.fds[l.count] < 0) goto fail;
        l.count++;
    }
    if (l.count == 0) goto fail;
    for (int tries = 0; (errno = -addr_of_socket(l.fds[0], &l.addr)) != 0;)
        if (errno != ENOBUFS || !is_worth_waiting(&tries)) goto fail;
    l.addr.both = bits & 1;
    l.proxy = bits & 2;
    addr_text(&l.addr, l.text);
    struct listener *more = room(all->at, (all->count + 1) * sizeof *more);
    if (!more) goto fail;
    all->at = more;
    all->at[all->count++] = l;
    return true;
fail:
    free(l.fds);
    return false;
}

static bool take_setting(struct bequest *b, char *at) {
    size_t len = strcspn(at, " ");
    if (!at[len]) return false;
    at[len] = 0;
    const struct setting *row = setting_find(at);
    if (!row) return true; /* there is none any more */
    struct setting_given *more = room(b->kept, (b->kept_count + 1) * sizeof *more);
    if (!more) return false;
    b->kept = more;
    b->kept[b->kept_count++] = (struct setting_given){
        .row = row, .value = at + len + 1, .option = "what was running"};
    return true;
}

static bool take_child(struct bequest *b, const char *at) {
    long long role, pid, ready, isolates, ready_at, kill_at;
    int pipe, report;
    if (!number(&at, &role) || !number(&at, &pid) || !descriptor(&at, &pipe) ||
        !descriptor(&at, &report) || !number(&at, &ready) || !number(&at, &isolates) ||
        !number(&at, &ready_at) || !number(&at, &kill_at))
        return false;
    struct process *c;
    for (int tries = 0; !(c = process_new(&b->children, (enum process_role)role));)
        if (!is_worth_waiting(&tries)) return false;
    c->pid = (pid_t)pid;
    c->pipe = pipe;
    c->report = report;
    c->ready = ready;
    c->isolates = (unsigned)isolates;
    c->ready_at = ready_at;
    c->turned_at = clock_ns();
    c->kill_at = kill_at;
    return true;
}

static bool take(struct bequest *b, const char *key, char *value) {
    const char *at = value;
    long long n;
    if (strcmp(key, "listener") == 0) return take_listener(b, at);
    if (strcmp(key, "setting") == 0) return take_setting(b, value);
    if (strcmp(key, "child") == 0) return take_child(b, at);
    if (strcmp(key, "pipe") == 0) return descriptor(&at, &b->pipe);
    if (strcmp(key, "report") == 0) return descriptor(&at, &b->report);
    if (strcmp(key, "pid_file") == 0) return descriptor(&at, &b->pid_file);
    if (strcmp(key, "version") == 0) b->version = value;
    if (strcmp(key, "restarts") == 0) {
        if (!number(&at, &n)) return false;
        b->restarts = (unsigned)n;
    }
    if (strcmp(key, "more") == 0) {
        if (!number(&at, &n)) return false;
        b->more = (int)n;
    }
    if (strcmp(key, "heartbeat") == 0) {
        if (!number(&at, &n)) return false;
        b->heartbeat = n;
    }
    return true;
}

static int read_text(int fd, char *to, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, to + done, len - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* All of the file, with a NUL behind it; NULL when it is no bequest. 0 or a negative
 * error: who cannot read what was left to him must not begin on his own. */
static int read_all(int fd, char **text, size_t *len) {
    char magic[sizeof MAGIC];
    struct stat st;
    *text = NULL;
    if (fstat(fd, &st) < 0) return errno == EBADF ? 0 : -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > SIZE_MAX_TEXT) return 0;
    if (st.st_size < (off_t)sizeof magic) return 0;
    int err = read_text(fd, magic, sizeof magic);
    if (err || memcmp(magic, MAGIC, sizeof magic) != 0) return err;
    *len = (size_t)st.st_size;
    *text = room(NULL, *len + 1);
    if (!*text) return -ENOMEM;
    (*text)[*len] = 0;
    return read_text(fd, *text, *len);
}

/* For whom it is: "host PARENT" or "supervisor PID". */
static int find_role(struct bequest *b, const char *line, struct problem *p) {
    pid_t actual;
    if (strncmp(line, "host ", 5) == 0) {
        b->role = BEQUEST_HOST;
        b->supervisor = (pid_t)atol(line + 5);
        actual = getppid();
    } else {
        b->role = BEQUEST_SUPERVISOR;
        b->supervisor = (pid_t)atol(line + strcspn(line, " "));
        actual = getpid();
    }
    if (b->supervisor == actual) return 0;
    return problem_set(p, EX_OSERR, "whom this atoll was started for has gone");
}

int bequest_take(struct bequest *b, struct problem *p) {
    const char *name = getenv(NAME);
    size_t len = 0;
    *b = (struct bequest){.pipe = -1, .report = -1, .pid_file = -1, .version = "?"};
    list_init(&b->children);
    if (!name) return 0;
    int fd = atoi(name);
    bequest_name(-1);
    int err = 0, tries = 0;
    do {
        free(b->text);
        b->text = NULL;
        err = fd > 2 ? read_all(fd, &b->text, &len) : 0;
    } while (err == -ENOMEM && is_worth_waiting(&tries));
    if (err)
        return problem_set(p, EX_OSERR,
                           "cannot take over from the atoll that serves: %s",
                           err_text(err));
    if (!b->text) return 0; /* a stray variable */
    char *end = b->text + len, *line = b->text + sizeof MAGIC;
    fd_close(&fd);
    if (find_role(b, line, p) < 0) return -1;
    for (line += strlen(line) + 1; line < end;) {
        char *next = line + strlen(line) + 1, *blank = strchr(line, ' ');
        if (blank) *blank = 0;
        errno = 0;
        if (blank && !take(b, line, blank + 1))
            return errno ? problem_errno(p, EX_OSERR, errno,
                                         "cannot take over from atoll %s: %.40s",
                                         b->version, line)
                         : problem_set(p, EX_SOFTWARE,
                                       "cannot take over from atoll %s: bad '%.40s'",
                                       b->version, line);
        line = next;
    }
    return 0;
}

void bequest_done(struct bequest *b) {
    for (size_t i = 0; i < b->listeners.count; i++) free(b->listeners.at[i].fds);
    free(b->listeners.at);
    free(b->kept);
    free(b->text);
}
