#include "api/file_lua.h"

#include "api/file_turn.h"
#include "api/fs_lua.h"
#include "base/check.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/fd.h"
#include "isolate/budget.h"
#include "isolate/gathering.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AHEAD = 64 * 1024, LINE_MAX_BYTES = 1024 * 1024 };

static const char NAME[] = "atoll.file";

static struct file *check(lua_State *L) {
    struct file **handle = luaL_checkudata(L, 1, NAME);
    MAGIC_CHECK(*handle, FILE_MAGIC);
    return *handle;
}

static int answer_true(lua_State *L, struct turn *turn, struct task *t) {
    (void)turn, (void)t;
    lua_pushboolean(L, true);
    return 1;
}

/* ---- reading ---- */

/* Whether what is ahead is what is wanted; *take and *skip are its bytes then. */
static bool satisfied(const struct file *f, enum file_goal goal, size_t n,
                      size_t *scanned, size_t *take, size_t *skip) {
    size_t len = buf_len(&f->ahead);
    *skip = 0;
    *take = len < n ? len : n;
    if (goal == READ_BYTES) return len >= n;
    if (goal == READ_SOME) return len > 0;
    if (goal == READ_ALL) return false;
    if (len > f->line_max) len = f->line_max + 1; /* with its end */
    const char *from = len > *scanned ? buf_data(&f->ahead) + *scanned : NULL;
    const char *end = from ? memchr(from, '\n', len - *scanned) : NULL;
    if (!end) *scanned = len;
    if (!end) return false;
    *take = (size_t)(end - buf_data(&f->ahead));
    *skip = 1;
    return true;
}

static int64_t read_offset(const struct file *f) {
    return f->seekable ? f->at + (int64_t)buf_len(&f->ahead) : -1;
}

static void work_read(struct task *t) {
    struct file *f = t->file;
    size_t take, skip, most = t->goal == READ_LINE ? f->line_max : t->n;
    while (t->err == 0 && !satisfied(f, t->goal, t->n, &t->scanned, &take, &skip)) {
        size_t before = buf_len(&f->ahead);
        if (before > most) {
            t->err = ERR_TOO_LARGE;
            return;
        }
        if (before >= t->room) return;
        size_t missing = (most < t->room ? most : t->room) - before;
        bool large = t->goal == READ_BYTES && missing > AHEAD;
        if (!buf_reserve(&f->ahead, large ? missing : AHEAD)) {
            t->err = ERR_MEMORY;
            return;
        }
        ssize_t n;
        do {
            char *to = buf_data(&f->ahead) + before;
            size_t room = buf_room(&f->ahead);
            n = f->seekable ? pread(f->fd, to, room, (off_t)read_offset(f))
                            : read(f->fd, to, room);
        } while (n < 0 && errno == EINTR && !atomic_load(task_stop(t)));
        if (n < 0) t->err = errno == EINTR ? -ECANCELED : -errno;
        if (n > 0) buf_commit(&f->ahead, (size_t)n);
        if (n == 0) {
            t->ended = true;
            return;
        }
        if (atomic_load(task_stop(t))) return;
    }
}

static int give(lua_State *L, struct file *f, size_t take, size_t skip) {
    lua_pushlstring(L, take ? buf_data(&f->ahead) : "", take);
    buf_consume(&f->ahead, take + skip);
    f->at += (int64_t)(take + skip);
    if (buf_len(&f->ahead) == 0) buf_reset(&f->ahead);
    return 1;
}

static int answer_read(lua_State *L, struct turn *turn, struct task *t) {
    struct file *f = turn->file;
    size_t take, skip, left = buf_len(&f->ahead);
    bool whole = satisfied(f, turn->goal, turn->n, &t->scanned, &take, &skip);
    if (!whole && !t->ended && left >= t->room) {
        gathering_charge(L, turn->gathered, 2 * left);
        t->room = 2 * left;
        return task_go(L, t);
    }
    if (whole || !t->ended) return give(L, f, take, skip);
    if (left == 0 && turn->goal != READ_ALL) return 0;
    return give(L, f, left, 0);
}

static int step_read(lua_State *L, struct turn *turn) {
    struct file *f = turn->file;
    size_t take, skip, scanned = 0;
    if (satisfied(f, turn->goal, turn->n, &scanned, &take, &skip))
        return give(L, f, take, skip);
    struct task *t = task_push(L, f);
    t->goal = turn->goal;
    t->n = turn->n;
    t->scanned = scanned;
    t->room = turn->gathered ? AHEAD : SIZE_MAX;
    t->work = work_read;
    t->answer = answer_read;
    return task_go(L, t);
}

/* read([what[, n]]): a number of bytes, "line", "some", "all". */
static int read_with(lua_State *L, bool raises) {
    static const char *const names[] = {"some", "line", "all", NULL};
    struct file *f = check(L);
    enum file_goal goal = READ_BYTES;
    size_t n;
    if (lua_type(L, 2) == LUA_TNUMBER) {
        n = fs_opt_bytes(L, 2, 0);
    } else {
        goal = READ_SOME + luaL_checkoption(L, 2, "line", names);
        n = fs_opt_bytes(L, 3, goal == READ_ALL ? FS_MAX : AHEAD);
    }
    lua_settop(L, 1);
    bool much = goal == READ_ALL || (goal == READ_BYTES && n > AHEAD);
    if (much) gathering_push(L);
    struct turn *turn = turn_push(L, f, step_read);
    turn->gathered = much ? 2 : 0;
    turn->goal = goal;
    turn->n = n;
    turn->raises = raises;
    return turn_take(L, turn);
}

static int file_read(lua_State *L) {
    return read_with(L, false);
}

static int next_piece(lua_State *L) {
    lua_settop(L, 0);
    for (int i = 1; i <= 3; i++) lua_pushvalue(L, lua_upvalueindex(i));
    return read_with(L, true);
}

static int file_lines(lua_State *L) {
    check(L);
    lua_settop(L, 3);
    lua_pushcclosure(L, next_piece, 3);
    return 1;
}

/* ---- writing ---- */

/* What was read ahead was not asked for yet. */
static void forget_ahead(struct file *f) {
    if (f->seekable) buf_reset(&f->ahead);
}

static int fill_write(lua_State *L, struct errand *e) {
    struct task *t = LIST_OF(e, struct task, errand);
    const struct turn *turn = turn_below(L);
    int err = 0;
    if (turn->gathered) gathering_charge(L, turn->gathered, turn->n);
    for (int i = 2; i <= turn->arguments && err == 0; i++) {
        size_t n;
        const char *text = lua_tolstring(L, i, &n);
        err = buf_append(&t->data, text, n);
    }
    return err;
}

static void work_write(struct task *t) {
    struct file *f = t->file;
    size_t written;
    int64_t at = f->seekable && !f->append ? f->at : -1;
    t->err = disk_put(f->fd, at, buf_span(&t->data), &written, task_stop(t));
    f->at += (int64_t)written;
    if (f->append && f->seekable && fstat(f->fd, &t->st) == 0)
        f->at = (int64_t)t->st.st_size;
}

static int step_write(lua_State *L, struct turn *turn) {
    forget_ahead(turn->file);
    struct task *t = task_push(L, turn->file);
    t->errand.fill = fill_write;
    t->work = work_write;
    t->answer = answer_true;
    return task_go(L, t);
}

static int file_write(lua_State *L) {
    struct file *f = check(L);
    int arguments = lua_gettop(L);
    size_t n, all = 0;
    for (int i = 2; i <= arguments; i++) {
        luaL_checklstring(L, i, &n);
        all += n;
    }
    if (all > AHEAD) gathering_push(L);
    struct turn *turn = turn_push(L, f, step_write);
    turn->gathered = all > AHEAD ? arguments + 1 : 0;
    turn->arguments = arguments;
    turn->n = all;
    return turn_take(L, turn);
}

static void work_sync(struct task *t) {
    if (fsync(t->file->fd) < 0) t->err = -errno;
}

static void work_truncate(struct task *t) {
    int result;
    do result = ftruncate(t->file->fd, (off_t)t->offset);
    while (result < 0 && errno == EINTR);
    if (result < 0) t->err = -errno;
}

static int step_sync(lua_State *L, struct turn *turn) {
    struct task *t = task_push(L, turn->file);
    t->work = work_sync;
    t->answer = answer_true;
    return task_go(L, t);
}

static int file_sync(lua_State *L) {
    return turn_take(L, turn_push(L, check(L), step_sync));
}

static int step_truncate(lua_State *L, struct turn *turn) {
    struct file *f = turn->file;
    forget_ahead(f);
    struct task *t = task_push(L, f);
    t->offset = luaL_optinteger(L, 2, (lua_Integer)f->at);
    t->work = work_truncate;
    t->answer = answer_true;
    return task_go(L, t);
}

static int file_truncate(lua_State *L) {
    struct file *f = check(L);
    luaL_argcheck(L, luaL_optinteger(L, 2, 0) >= 0, 2, "a length");
    lua_settop(L, 2);
    return turn_take(L, turn_push(L, f, step_truncate));
}

/* ---- stat, seek ---- */

static void work_stat(struct task *t) {
    if (fstat(t->file->fd, &t->st) < 0) t->err = -errno;
}

static int answer_stat(lua_State *L, struct turn *turn, struct task *t) {
    (void)turn;
    fs_push_stat(L, &t->st);
    return 1;
}

static int step_stat(lua_State *L, struct turn *turn) {
    struct task *t = task_push(L, turn->file);
    t->work = work_stat;
    t->answer = answer_stat;
    return task_go(L, t);
}

static int file_stat(lua_State *L) {
    return turn_take(L, turn_push(L, check(L), step_stat));
}

static int move(lua_State *L, struct turn *turn, int64_t from) {
    struct file *f = turn->file;
    int64_t to;
    if (__builtin_add_overflow(from, (int64_t)luaL_optinteger(L, 3, 0), &to) || to < 0)
        return turn_failure(L, turn, -EINVAL);
    int64_t ahead = to - f->at;
    if (ahead >= 0 && ahead <= (int64_t)buf_len(&f->ahead))
        buf_consume(&f->ahead, (size_t)ahead);
    else
        buf_reset(&f->ahead);
    f->at = to;
    lua_pushinteger(L, (lua_Integer)to);
    return 1;
}

static int answer_end(lua_State *L, struct turn *turn, struct task *t) {
    return move(L, turn, (int64_t)t->st.st_size);
}

static int step_seek(lua_State *L, struct turn *turn) {
    struct file *f = turn->file;
    const char *whence = luaL_optstring(L, 2, "cur");
    if (!f->seekable) return turn_failure(L, turn, -ESPIPE);
    if (*whence != 'e') return move(L, turn, *whence == 's' ? 0 : f->at);
    struct task *t = task_push(L, f);
    t->work = work_stat;
    t->answer = answer_end;
    return task_go(L, t);
}

static int file_seek(lua_State *L) {
    static const char *const names[] = {"set", "cur", "end", NULL};
    struct file *f = check(L);
    luaL_checkoption(L, 2, "cur", names);
    luaL_optinteger(L, 3, 0);
    lua_settop(L, 3);
    return turn_take(L, turn_push(L, f, step_seek));
}

/* ---- closing ---- */

static void work_close(struct task *t) {
    int fd = t->file->fd;
    t->file->fd = -1;
    if (close(fd) < 0 && errno != EINTR) t->err = -errno;
}

static int step_close(lua_State *L, struct turn *turn) {
    struct task *t = task_push(L, turn->file);
    turn->file->closed = true;
    t->work = work_close;
    t->answer = answer_true;
    return task_go(L, t);
}

static int file_close(lua_State *L) {
    return turn_take(L, turn_push(L, check(L), step_close));
}

/* Of a variable that is to be closed: what is under way goes on, and then the
 * descriptor is closed. */
static int file_shut(lua_State *L) {
    struct file *f = check(L);
    f->closed = true;
    if (!f->holder) fd_close(&f->fd);
    return 0;
}

static int file_gc(lua_State *L) {
    struct file **handle = luaL_checkudata(L, 1, NAME), *f = *handle;
    if (!f) return 0;
    *handle = NULL;
    f->closed = true;
    file_abandon(f);
    file_unref(f);
    return 0;
}

/* ---- opening ---- */

static void work_open(struct task *t) {
    struct file *f = t->file;
    char *made = NULL;
    if (t->flags < 0)
        f->fd = disk_temporary(f->path, false, &made);
    else
        f->fd = disk_open(f->path, t->flags, t->mode, task_stop(t));
    if (made) {
        free(f->path);
        f->path = made;
    }
    if ((t->err = f->fd) < 0) return;
    t->err = fstat(f->fd, &t->st) < 0 ? -errno : 0;
    if (t->err == 0 && S_ISDIR(t->st.st_mode)) t->err = -EISDIR;
    f->seekable = S_ISREG(t->st.st_mode) || S_ISBLK(t->st.st_mode);
}

static int opened(lua_State *L, int status, lua_KContext err) {
    (void)status;
    struct errand *e = errand_at(L, -1);
    bool named = lua_type(L, 1) == LUA_TSTRING;
    if (!e)
        return fs_failure(L, named ? lua_tostring(L, 1) : "a temporary file", (int)err);
    struct task *t = LIST_OF(e, struct task, errand);
    if (t->err) return fs_failure(L, t->file->path, t->err);
    struct file **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = t->file;
    t->file = NULL;
    luaL_setmetatable(L, NAME);
    return 1;
}

static int open_with(lua_State *L, const char *path, int flags, mode_t mode,
                     size_t line_max) {
    struct task *t = task_push(L, NULL);
    if (!(t->file = file_new(path))) return budget_raise(L);
    t->file->append = flags >= 0 && flags & O_APPEND;
    t->file->line_max = line_max;
    t->flags = flags;
    t->mode = mode;
    t->work = work_open;
    return task_run(L, t, opened);
}

/* "r", "w", "a", each with +, b (which means nothing) and x (the file must be new). */
static int check_mode(lua_State *L, int argument) {
    const char *mode = luaL_optstring(L, argument, "r");
    bool plus = strchr(mode, '+'), fresh = strchr(mode, 'x');
    size_t n = strspn(mode + (*mode != 0), "+bx");
    luaL_argcheck(L, *mode && strchr("rwa", *mode) && !mode[n + 1], argument,
                  "a mode such as \"r\", \"w+\" or \"a\"");
    luaL_argcheck(L, *mode != 'r' || !fresh, argument, "what is read cannot be new");
    int flags = plus ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    if (*mode != 'r') flags |= O_CREAT | (fresh ? O_EXCL : 0);
    if (*mode == 'w') flags |= O_TRUNC;
    if (*mode == 'a') flags |= O_APPEND;
    return flags;
}

int file_open(lua_State *L) {
    static const char *const options[] = {"line_max", "mode", NULL};
    const char *path = fs_check_path(L, 1);
    int flags = check_mode(L, 2);
    fs_check_options(L, 3, options);
    mode_t mode = fs_option_mode(L, 3, 0666);
    size_t line_max = LINE_MAX_BYTES;
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "line_max");
        line_max = fs_opt_bytes(L, lua_gettop(L), line_max);
        lua_pop(L, 1);
    }
    return open_with(L, path, flags, mode, line_max);
}

const char *file_temporary_directory(lua_State *L, int argument) {
    if (!lua_isnoneornil(L, argument)) return fs_check_path(L, argument);
    const char *directory = getenv("TMPDIR");
    return directory && *directory ? directory : "/tmp";
}

int file_tempfile(lua_State *L) {
    return open_with(L, file_temporary_directory(L, 1), -1, 0, LINE_MAX_BYTES);
}

static int file_path(lua_State *L) {
    lua_pushstring(L, check(L)->path);
    return 1;
}

static int file_text(lua_State *L) {
    const struct file *f = check(L);
    lua_pushfstring(L, "file (%s)", f->closed ? "closed" : f->path);
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", file_close}, {"lines", file_lines}, {"path", file_path},
    {"read", file_read},   {"seek", file_seek},   {"stat", file_stat},
    {"sync", file_sync},   {"write", file_write}, {"truncate", file_truncate},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", file_shut}, {"__gc", file_gc}, {"__tostring", file_text}, {NULL, NULL}};

int file_open_library(lua_State *L) {
    turn_open_library(L);
    luaL_newmetatable(L, NAME);
    luaL_setfuncs(L, metamethods, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    return 0;
}
