#include "http/file.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/condition.h"
#include "codec/filename.h"
#include "codec/mime.h"
#include "codec/range.h"
#include "http/exchange.h"
#include "http/front.h"
#include "http/packing.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* PIECE: of a file, until others have their turn. */
enum { PIECE = 256 * 1024, BOUNDARY = 40, PART_HEAD = 320, TYPE_MAX = 128 };

static const int64_t SETTLED = 2 * CLOCK_SECOND;

/* In the arena of its exchange. */
struct file_sending {
    struct open_file *file;
    unsigned part, count; /* of ranges; part is the next one */
    bool parted;          /* multipart/byteranges */
    uint64_t at, left;    /* of the range that is being sent */
    struct span text;     /* to be sent before that */
    struct span type;     /* of the file */
    char *piece;          /* where it is read to be compressed, or NULL */
    struct range ranges[RANGES_MAX];
    char head[PART_HEAD], boundary[BOUNDARY];
};

/* ---- names ---- */

static struct shelf *shelf_of(struct exchange *x) {
    struct front *f = x->front;
    if (!f->shelf && !f->over) f->shelf = shelf_new(f->loop, f->limits.open_files);
    return f->shelf;
}

/* Behind so many segments. */
static struct span behind(struct span path, unsigned skip) {
    size_t at = 0;
    for (; skip && at < path.len; skip--)
        for (at++; at < path.len && path.at[at] != '/';) at++;
    return span_of(path.at + at, path.len - at);
}

static enum file_found found(int err) {
    switch (err) {
    case 0: return FILE_FOUND;
    case -ENOENT: return FILE_MISSING;
    case -EISDIR: return FILE_SLASH;
    case -EACCES:
    case -EPERM: return FILE_FORBIDDEN;
    default: return FILE_BUSY;
    }
}

/* Another file instead, whose name has the end of that coding behind it, when there is
   one that is as new. name has room. */
static bool take_twin(struct shelf *shelf, const struct shelf_root *root, char *name,
                      size_t len, enum coding coding, struct file_pick *p) {
    static const char *const ends[CODINGS] = {
        [CODING_GZIP] = ".gz", [CODING_ZSTD] = ".zst", [CODING_BR] = ".br"};
    struct open_file *twin;
    strcpy(name + len, ends[coding]);
    struct span full = span_of(name, len + strlen(ends[coding]));
    int err = shelf_take(shelf, root, full, &twin);
    name[len] = 0;
    if (err) return false;
    if (twin->modified < p->file->modified) {
        shelf_give_back(twin);
        return false;
    }
    shelf_give_back(p->file);
    p->file = twin;
    p->coding = coding;
    return true;
}

static void look_for_twins(struct exchange *x, struct shelf *shelf,
                           const struct shelf_root *root, char *name, size_t len,
                           struct file_pick *p) {
    struct coding_weights w;
    unsigned set = 1u << CODING_GZIP | 1u << CODING_ZSTD | 1u << CODING_BR;
    enum coding coding;
    if (len + 5 >= PATH_MAX || mime_is_packed(p->type)) return;
    p->varies = true;
    coding_accepted(&x->head, &w);
    while ((coding = coding_choose(&w, set)) != CODING_IDENTITY) {
        if (take_twin(shelf, root, name, len, coding, p)) return;
        set &= ~(1u << coding);
    }
}

/* name has room for PATH_MAX. */
static enum file_found take(struct exchange *x, const struct shelf_root *root,
                            bool twins, char *name, size_t len, struct file_pick *out) {
    struct shelf *shelf = shelf_of(x);
    *out = (struct file_pick){0};
    if (!shelf) {
        front_starved(x->front);
        return FILE_BUSY;
    }
    int err = shelf_take(shelf, root, span_of(name, len), &out->file);
    if (err) return found(err);
    out->type = mime_of(span_of(name, len));
    if (twins) look_for_twins(x, shelf, root, name, len, out);
    return FILE_FOUND;
}

static enum file_found take_index(struct exchange *x, const struct file_site *site,
                                  char *name, size_t len, struct file_pick *out) {
    enum file_found result = FILE_MISSING;
    for (const char *i = site->index; *i && result == FILE_MISSING;
         i += strlen(i) + 1) {
        size_t n = strlen(i);
        if (len + n >= PATH_MAX) return FILE_MISSING;
        memcpy(name + len, i, n + 1);
        result = take(x, &site->root, site->twins, name, len + n, out);
        name[len] = 0;
        if (result == FILE_SLASH) result = FILE_MISSING; /* a directory of that name */
    }
    return result;
}

enum file_found file_find_path(struct exchange *x, const struct file_site *site,
                               struct span path, struct file_pick *out) {
    char name[PATH_MAX];
    size_t len = filename_of(path, name, sizeof name);
    *out = (struct file_pick){0};
    if (!len && path.len) return FILE_MISSING;
    if (!len) name[len++] = '/', name[len] = 0;
    bool slash = name[len - 1] == '/';
    enum file_found result;
    if (slash && path.len) {
        result = take_index(x, site, name, len, out);
        return result == FILE_MISSING ? FILE_DIRECTORY : result;
    }
    result = path.len ? take(x, &site->root, site->twins, name, len, out) : FILE_SLASH;
    if (result != FILE_SLASH) return result;
    if (path.len) name[len++] = '/', name[len] = 0;
    result = len < PATH_MAX - 1 ? take_index(x, site, name, len, out) : FILE_MISSING;
    if (result != FILE_FOUND) return result == FILE_MISSING ? FILE_SLASH : result;
    file_drop(out);
    out->type = SPAN("text/html"); /* there is an index */
    return FILE_SLASH;
}

enum file_found file_find(struct exchange *x, const struct file_site *site,
                          unsigned skip, struct file_pick *out) {
    return file_find_path(x, site, behind(x->target.path, skip), out);
}

enum file_found file_pick(struct exchange *x, const char *path, bool twins,
                          struct file_pick *out) {
    static const struct shelf_root anywhere = {"", LINKS_ANYWHERE};
    char name[PATH_MAX];
    size_t len = strlen(path);
    *out = (struct file_pick){0};
    if (len >= sizeof name) return FILE_MISSING;
    memcpy(name, path, len + 1);
    enum file_found result = take(x, &anywhere, twins, name, len, out);
    return result == FILE_SLASH ? FILE_MISSING : result;
}

void file_drop(struct file_pick *p) {
    if (p->file) shelf_give_back(p->file);
    p->file = NULL;
}

void file_done(struct exchange *x) {
    struct file_sending *s = x->sending;
    x->sending = NULL;
    shelf_give_back(s->file);
}

/* ---- the head ---- */

/* A field of ours, unless the app has one of that name. */
static int field(struct exchange *x, struct span name, struct span value) {
    struct span theirs;
    if (!value.len || exchange_find_field(x, name, &theirs)) return 0;
    return exchange_field(x, name, value);
}

/* The app's validators, or the file's. */
static void validate(struct exchange *x, const struct open_file *f, char tag[64],
                     struct validators *v) {
    int64_t wall = clock_wall_ns(), second = f->modified / CLOCK_SECOND;
    struct span theirs;
    v->now = time(NULL); /* as Date is: the finer clock is ahead of it by some ms, and
                            no Last-Modified may be later (RFC 9110 8.8.2.1) */
    v->modified = f->modified < 0 ? 0 : second > v->now ? v->now : second;
    if (exchange_find_field(x, SPAN("ETag"), &theirs)) {
        size_t n = theirs.len < 64 ? theirs.len : 0;
        memcpy(tag, theirs.at, n); /* the fields may move */
        v->etag = span_of(tag, n);
    } else {
        bool settled = wall - f->modified >= SETTLED;
        int n = snprintf(tag, 64, "%s%s", settled ? "" : "W/", f->etag);
        v->etag = span_of(tag, (size_t)n);
    }
}

static enum file_step no_memory(struct exchange *x) {
    exchange_starve(x);
    return FILE_DONE;
}

static enum file_step not_modified(struct exchange *x) {
    if (exchange_head(x, 304, SPAN(""), 0) != 0) return no_memory(x);
    exchange_end(x);
    return FILE_DONE;
}

static enum file_step not_satisfiable(struct exchange *x, uint64_t size) {
    char value[40];
    size_t taken;
    int n = snprintf(value, sizeof value, "bytes */%llu", (unsigned long long)size);
    exchange_restart(x);
    if (exchange_field(x, SPAN("Content-Range"), span_of(value, (size_t)n)) != 0)
        return no_memory(x);
    exchange_answer(x, 416, SPAN("text/plain; charset=utf-8"),
                    SPAN("416 Range Not Satisfiable\n"), &taken);
    return FILE_DONE;
}

/* ---- ranges ---- */

static size_t write_range(char *to, size_t room, struct range r, uint64_t size) {
    return (size_t)snprintf(
        to, room, "bytes %llu-%llu/%llu", (unsigned long long)r.first,
        (unsigned long long)(r.first + r.len - 1), (unsigned long long)size);
}

/* What stands before range i of several, or behind the last. */
static struct span part_head(struct file_sending *s, unsigned i) {
    char range[80];
    int n;
    if (i == s->count) {
        n = snprintf(s->head, sizeof s->head, "\r\n--%s--\r\n", s->boundary);
    } else {
        range[write_range(range, sizeof range, s->ranges[i], s->file->size)] = 0;
        n = snprintf(s->head, sizeof s->head,
                     "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: %s\r\n\r\n",
                     i ? "\r\n" : "", s->boundary, (int)s->type.len, s->type.at, range);
    }
    return span_of(s->head, (size_t)n);
}

/* The boundary is of this request alone. */
static struct span part_up(struct exchange *x, struct file_sending *s, uint64_t *length,
                           char type[96]) {
    char id[16];
    s->parted = true;
    exchange_id_of(x->number, id);
    snprintf(s->boundary, sizeof s->boundary, "part-%.16s", id);
    *length = 0;
    for (unsigned i = 0; i <= s->count; i++)
        *length += part_head(s, i).len + (i < s->count ? s->ranges[i].len : 0);
    int n = snprintf(type, 96, "multipart/byteranges; boundary=%s", s->boundary);
    return span_of(type, (size_t)n);
}

/* ---- sending ---- */

/* On to the next range; false behind the last. */
static bool next_range(struct file_sending *s) {
    if (s->part > s->count || (s->part == s->count && !s->parted)) return false;
    if (s->parted) s->text = part_head(s, s->part);
    if (s->part < s->count) {
        s->at = s->ranges[s->part].first;
        s->left = s->ranges[s->part].len;
    }
    s->part++;
    return true;
}

static enum file_step cut(struct exchange *x, int error) {
    char id[16];
    struct span target = head_target(&x->head);
    log_event_for(LEVEL_WARN, exchange_id(x, id),
                  "%.*s: the file %s%s while it was sent: cut off", (int)target.len,
                  target.at, error ? "could not be read: " : "got shorter",
                  error ? err_text(-error) : "");
    exchange_abort(x);
    return FILE_DONE;
}

/* At most n bytes of what is left are to be sent next. False with errno: it cannot be
 * read; 0: it got shorter. */
static bool read_piece(struct file_sending *s, size_t n) {
    size_t have = 0;
    if (n > s->left) n = (size_t)s->left;
    while (have < n) {
        ssize_t got =
            pread(s->file->fd, s->piece + have, n - have, (off_t)(s->at + have));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return false;
        have += (size_t)got;
    }
    s->at += n;
    s->left -= n;
    s->text = span_of(s->piece, n);
    return true;
}

enum file_step file_go_on(struct exchange *x) {
    struct file_sending *s = x->sending;
    size_t budget = PIECE, taken;
    while (!exchange_gone(x) && x->phase != X_DONE) {
        if (s->text.len) {
            enum io io = exchange_body(x, s->text, &taken);
            s->text = span_of(s->text.at + taken, s->text.len - taken);
            if (io == IO_FAIL) return FILE_DONE;
            if (s->text.len) return io == IO_AGAIN ? FILE_WAIT : FILE_TURN;
        }
        if (!s->left) {
            if (next_range(s)) continue;
            exchange_end(x);
            return FILE_DONE;
        }
        if (!budget) return FILE_TURN;
        if (x->packing) {
            if (!read_piece(s, PACKING_PIECE)) return cut(x, errno);
            budget = 0;
            continue;
        }
        size_t n = s->left < budget ? (size_t)s->left : budget;
        enum io io = exchange_file(x, s->file->fd, s->at, n, &taken);
        int error = errno;
        s->at += taken;
        s->left -= taken;
        budget -= taken;
        if (io == IO_FAIL) return FILE_DONE;
        if (io == IO_EOF) return cut(x, error);
        if (io == IO_AGAIN) return FILE_WAIT;
    }
    return FILE_DONE;
}

static enum file_step begin(struct exchange *x, int status, struct span type,
                            uint64_t length) {
    const struct file_sending *s = x->sending;
    if (!s->piece) x->plain = true;
    bool nothing = span_eq(head_method(&x->head), SPAN("HEAD"));
    int err = exchange_head(x, status, type, (int64_t)length);
    if (err == ERR_CLOSED) return FILE_DONE;
    if (err) return no_memory(x);
    if (nothing || x->framing == HTTP1_NO_BODY) {
        exchange_end(x);
        return FILE_DONE;
    }
    return file_go_on(x);
}

/* The whole of it, compressed on its way. */
static enum file_step begin_packed(struct exchange *x, struct file_sending *s) {
    uint64_t size = s->file->size;
    bool short_one = size <= PACKING_WHOLE;
    size_t taken;
    s->count = 0;
    s->left = size;
    s->piece = arena_alloc(&x->arena, short_one ? (size_t)size : PACKING_PIECE);
    if (!s->piece) return no_memory(x);
    if (!short_one || span_eq(head_method(&x->head), SPAN("HEAD")))
        return begin(x, 200, s->type, size);
    if (!read_piece(s, (size_t)size)) return no_memory(x);
    int err = exchange_answer(x, 200, s->type, s->text, &taken);
    if (err && err != ERR_CLOSED) return no_memory(x);
    s->text = span_of(s->text.at + taken, s->text.len - taken);
    return s->text.len ? file_go_on(x) : FILE_DONE;
}

/* With 200, which may become 206, 304, 412 or 416. */
static enum file_step answer(struct exchange *x, struct file_sending *s,
                             const struct file_pick *p, struct span cache) {
    struct validators v;
    char tag[64], date[CLOCK_IMF_LEN], range[80], several[96];
    struct span method = head_method(&x->head), asked;
    bool get = span_eq(method, SPAN("GET"));
    unsigned from = 0;
    bool ranged = get && head_find(&x->head, SPAN("Range"), &from, &asked);
    enum coding packed = CODING_IDENTITY;
    validate(x, s->file, tag, &v);
    if (field(x, SPAN("ETag"), v.etag) || field(x, SPAN("Cache-Control"), cache) ||
        (p->varies && packing_vary(x)))
        return no_memory(x);
    if (p->coding == CODING_IDENTITY)
        packed = packing_choose(x, 200, s->type, (int64_t)s->file->size);
    if (ranged) packed = CODING_IDENTITY; /* what is compressed anew has no bytes yet */
    if (packed && packing_weaken(x)) return no_memory(x);
    if (get || span_eq(method, SPAN("HEAD"))) {
        enum condition condition = condition_check(&x->head, &v);
        if (condition == CONDITION_NOT_MODIFIED) return not_modified(x);
        if (condition == CONDITION_FAILED) {
            exchange_fail(x, 412, SPAN(""));
            return FILE_DONE;
        }
    }
    clock_imf(date, v.modified);
    if (field(x, SPAN("Last-Modified"), span_of(date, sizeof date)))
        return no_memory(x);
    if (packed) return begin_packed(x, s);
    if (field(x, SPAN("Accept-Ranges"), SPAN("bytes")) ||
        field(x, SPAN("Content-Encoding"), coding_name(p->coding)))
        return no_memory(x);
    enum range_result result = RANGE_WHOLE;
    if (ranged && condition_range(&x->head, &v))
        result = range_parse(asked, s->file->size, s->ranges, &s->count);
    if (result == RANGE_NONE && s->file->size) return not_satisfiable(x, s->file->size);
    if (result == RANGE_PARTS && s->count > 1 && s->type.len > TYPE_MAX)
        result = RANGE_WHOLE; /* there is no room for it in the heads of parts */
    if (result != RANGE_PARTS) {
        s->ranges[0] = (struct range){0, s->file->size};
        s->count = 1;
        return begin(x, 200, s->type, s->file->size);
    }
    if (s->count > 1) {
        uint64_t length;
        struct span type = part_up(x, s, &length, several);
        return begin(x, 206, type, length);
    }
    size_t n = write_range(range, sizeof range, s->ranges[0], s->file->size);
    if (field(x, SPAN("Content-Range"), span_of(range, n))) return no_memory(x);
    return begin(x, 206, s->type, s->ranges[0].len);
}

enum file_step file_send(struct exchange *x, struct file_pick *p, int status,
                         struct span type, struct span cache) {
    struct file_sending *s = x->sending ? NULL : arena_alloc(&x->arena, sizeof *s);
    if (!type.len) type = p->type;
    if (!s) {
        file_drop(p);
        return no_memory(x);
    }
    memset(s, 0, offsetof(struct file_sending, ranges));
    s->file = p->file;
    p->file = NULL;
    x->sending = s;
    s->type = arena_copy(&x->arena, type);
    if (!s->type.at) return no_memory(x);
    if (status == 200) return answer(x, s, p, cache);
    if (field(x, SPAN("Content-Encoding"), coding_name(p->coding)) ||
        (p->varies && packing_vary(x)))
        return no_memory(x);
    s->ranges[0] = (struct range){0, s->file->size};
    s->count = 1;
    return begin(x, status, s->type, s->file->size);
}
