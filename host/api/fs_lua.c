#include "api/fs_lua.h"

#include "api/file_lua.h"
#include "base/check.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/fd.h"
#include "isolate/errand.h"
#include "isolate/gathering.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAGIC = 0x66736f70,
    FEW = 64 * 1024, /* bytes of a file that are read before they are accounted for */
    GATHERED = 3,    /* on the stack of a read */
    COPIED = 4,      /* and of a write */
};

/* One call; the handle is above its arguments. */
struct call {
    struct errand errand;
    uint32_t magic;
    void (*work)(struct call *c);
    int (*answer)(lua_State *L, struct call *c);
    char *path, *other;
    struct buf data;
    struct disk_how how;
    struct disk_reading reading;
    bool flag; /* parents, tree, follow, types */
    int err;
    struct stat st;
};

static const atomic_bool *stop_of(const struct call *c) {
    return &c->errand.job.cancelled;
}

/* ---- arguments and answers ---- */

int fs_failure(lua_State *L, const char *path, int err) {
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: %s", path, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

const char *fs_check_path(lua_State *L, int argument) {
    size_t n;
    const char *path = luaL_checklstring(L, argument, &n);
    luaL_argcheck(L, strlen(path) == n, argument, "a path cannot have a zero byte");
    return path;
}

size_t fs_opt_bytes(lua_State *L, int argument, size_t fallback) {
    if (lua_isnoneornil(L, argument)) return fallback;
    lua_Number n = luaL_checknumber(L, argument);
    luaL_argcheck(L, n >= 0, argument, "a number of bytes");
    return n > BUF_MAX / 2 ? BUF_MAX / 2 : (size_t)n;
}

void fs_check_options(lua_State *L, int argument, const char *const *names) {
    if (lua_isnoneornil(L, argument)) return;
    luaL_checktype(L, argument, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, argument)) {
        lua_pop(L, 1);
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        int i = 0;
        while (names[i] && (!key || strcmp(names[i], key) != 0)) i++;
        if (names[i]) continue;
        lua_pushfstring(L, "no option is called '%s'",
                        key ? key : luaL_typename(L, -1));
        luaL_argerror(L, argument, lua_tostring(L, -1));
    }
}

bool fs_option(lua_State *L, int argument, const char *name) {
    if (!lua_istable(L, argument)) return false;
    lua_getfield(L, argument, name);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

mode_t fs_option_mode(lua_State *L, int argument, mode_t fallback) {
    if (!lua_istable(L, argument) || lua_getfield(L, argument, "mode") == LUA_TNIL)
        return fallback;
    lua_Integer mode = -1;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1);
        size_t n = strspn(text, "01234567");
        if (n > 0 && n < 6 && !text[n]) mode = strtol(text, NULL, 8);
    } else {
        mode = luaL_checkinteger(L, -1);
    }
    luaL_argcheck(L, mode >= 0 && mode <= 07777, argument,
                  "mode is permissions, such as \"0644\"");
    lua_pop(L, 1);
    return (mode_t)mode;
}

static double seconds(struct timespec t) {
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *type_name(char type) {
    switch (type) {
    case 'f': return "file";
    case 'd': return "directory";
    case 'l': return "link";
    case 'p': return "fifo";
    case 's': return "socket";
    case 'c':
    case 'b': return "device";
    default: return "other";
    }
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, struct timespec t) {
    lua_pushnumber(L, seconds(t));
    lua_setfield(L, -2, name);
}

void fs_push_stat(lua_State *L, const struct stat *st) {
    char mode[8];
    lua_createtable(L, 0, 11);
    lua_pushstring(L, type_name(disk_type(st->st_mode)));
    lua_setfield(L, -2, "type");
    snprintf(mode, sizeof mode, "%04o", (unsigned)st->st_mode & 07777u);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "mode");
    set_integer(L, "size", (lua_Integer)st->st_size);
    set_integer(L, "uid", (lua_Integer)st->st_uid);
    set_integer(L, "gid", (lua_Integer)st->st_gid);
    set_integer(L, "ino", (lua_Integer)st->st_ino);
    set_integer(L, "dev", (lua_Integer)st->st_dev);
    set_integer(L, "nlink", (lua_Integer)st->st_nlink);
    set_time(L, "mtime", st->st_mtim);
    set_time(L, "atime", st->st_atim);
    set_time(L, "ctime", st->st_ctim);
}

/* ---- a call ---- */

static void drop(struct errand *e) {
    struct call *c = LIST_OF(e, struct call, errand);
    MAGIC_CHECK(c, MAGIC);
    free(c->path);
    free(c->other);
    buf_reset(&c->data);
    fd_close(&c->reading.fd);
    c->magic = 0;
    free(c);
}

static void run(struct errand *e, struct pool_place *place) {
    struct call *c = LIST_OF(e, struct call, errand);
    (void)place;
    c->work(c);
}

/* The handle is on top now. other may be NULL. */
static struct call *begin(lua_State *L, const char *path, const char *other) {
    struct errand **handle = errand_push(L);
    struct call *c = calloc(1, sizeof *c);
    if (!c) budget_raise(L);
    c->magic = MAGIC;
    c->reading.fd = -1;
    c->errand.run = run;
    c->errand.drop = drop;
    *handle = &c->errand;
    c->path = strdup(path);
    c->other = other ? strdup(other) : NULL;
    if (!c->path || (other && !c->other)) budget_raise(L);
    return c;
}

/* Of two paths nobody knows whose fault it is. */
static int failure(lua_State *L, const char *path, const char *other, int err) {
    if (!other) return fs_failure(L, path, err);
    lua_pushfstring(L, "%s -> %s", path, other);
    return fs_failure(L, lua_tostring(L, -1), err);
}

static int came_back(lua_State *L, int status, lua_KContext err) {
    (void)status;
    struct errand *e = errand_at(L, -1);
    if (!e) return fs_failure(L, lua_tostring(L, 1), (int)err);
    struct call *c = LIST_OF(e, struct call, errand);
    return c->err ? failure(L, c->path, c->other, c->err) : c->answer(L, c);
}

static int go(lua_State *L, struct call *c, void (*work)(struct call *c),
              int (*answer)(lua_State *L, struct call *c)) {
    const struct generation *g = generation_of(L);
    c->work = work;
    c->answer = answer;
    return errand_run(L, g->isolate ? g->isolate->files : NULL, came_back);
}

static int answer_true(lua_State *L, struct call *c) {
    (void)c;
    lua_pushboolean(L, true);
    return 1;
}

static int answer_flag(lua_State *L, struct call *c) {
    lua_pushboolean(L, c->flag);
    return 1;
}

static int answer_data(lua_State *L, struct call *c) {
    lua_pushlstring(L, buf_len(&c->data) ? buf_data(&c->data) : "", buf_len(&c->data));
    return 1;
}

static int answer_other(lua_State *L, struct call *c) {
    lua_pushstring(L, c->other);
    return 1;
}

/* ---- read, write ---- */

static void work_read(struct call *c) {
    c->err = disk_read(&c->reading, c->path, &c->data, stop_of(c));
}

/* Of a large file a part has come, and there has to be room for the rest. */
static int answer_read(lua_State *L, struct call *c) {
    size_t wants = c->reading.wants;
    if (!wants) return answer_data(L, c);
    gathering_charge(L, GATHERED, wants);
    c->reading.room = wants;
    return go(L, c, work_read, answer_read);
}

static int fs_read(lua_State *L) {
    const char *path = fs_check_path(L, 1);
    size_t max = fs_opt_bytes(L, 2, FS_MAX);
    lua_settop(L, GATHERED - 1);
    gathering_push(L);
    struct call *c = begin(L, path, NULL);
    c->reading.max = max;
    c->reading.room = FEW;
    return go(L, c, work_read, answer_read);
}

static void work_write(struct call *c) {
    c->err = disk_write(c->path, buf_span(&c->data), &c->how, stop_of(c));
}

/* A copy of the data, made when there is room for the call. */
static int fill_data(lua_State *L, struct errand *e) {
    size_t n;
    const char *data = lua_tolstring(L, 2, &n);
    gathering_charge(L, COPIED, n);
    return buf_append(&LIST_OF(e, struct call, errand)->data, data, n);
}

static int write_with(lua_State *L, bool append) {
    static const char *const options[] = {"append", "atomic", "exclusive",
                                          "mode",   "sync",   NULL};
    const char *path = fs_check_path(L, 1);
    luaL_checkstring(L, 2);
    fs_check_options(L, 3, options);
    struct disk_how how = {.mode = fs_option_mode(L, 3, 0666),
                           .append = append || fs_option(L, 3, "append"),
                           .exclusive = fs_option(L, 3, "exclusive"),
                           .sync = fs_option(L, 3, "sync"),
                           .atomic = fs_option(L, 3, "atomic")};
    luaL_argcheck(L, !(how.append && how.atomic), 3,
                  "what is appended cannot be atomic");
    lua_settop(L, COPIED - 1);
    gathering_push(L);
    struct call *c = begin(L, path, NULL);
    c->how = how;
    c->errand.fill = fill_data;
    return go(L, c, work_write, answer_true);
}

static int fs_write(lua_State *L) {
    return write_with(L, false);
}

static int fs_append(lua_State *L) {
    return write_with(L, true);
}

/* ---- stat, exists, list ---- */

static void work_stat(struct call *c) {
    int result = c->flag ? stat(c->path, &c->st) : lstat(c->path, &c->st);
    c->err = result < 0 ? -errno : 0;
}

static int answer_stat(lua_State *L, struct call *c) {
    fs_push_stat(L, &c->st);
    return 1;
}

static bool follows(lua_State *L, int argument) {
    static const char *const options[] = {"follow", NULL};
    fs_check_options(L, argument, options);
    if (!lua_istable(L, argument)) return true;
    bool given = lua_getfield(L, argument, "follow") != LUA_TNIL;
    bool is = !given || lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static int fs_stat(lua_State *L) {
    const char *path = fs_check_path(L, 1);
    bool flag = follows(L, 2);
    struct call *c = begin(L, path, NULL);
    c->flag = flag;
    return go(L, c, work_stat, answer_stat);
}

static void work_exists(struct call *c) {
    c->flag = stat(c->path, &c->st) == 0;
    c->err = c->flag || errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int fs_exists(lua_State *L) {
    return go(L, begin(L, fs_check_path(L, 1), NULL), work_exists, answer_flag);
}

static void work_list(struct call *c) {
    c->err = disk_list(c->path, FS_MAX, &c->data, stop_of(c));
}

static int answer_list(lua_State *L, struct call *c) {
    const char *at = buf_len(&c->data) ? buf_data(&c->data) : NULL;
    const char *end = at ? at + buf_len(&c->data) : NULL;
    lua_newtable(L);
    for (lua_Integer i = 1; at < end; i++, at += strlen(at) + 1) {
        if (c->flag) lua_createtable(L, 0, 2);
        lua_pushstring(L, at + 1);
        if (c->flag) {
            lua_setfield(L, -2, "name");
            lua_pushstring(L, type_name(*at));
            lua_setfield(L, -2, "type");
        }
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* The second argument's flag of that name, and none besides it. */
static bool only_option(lua_State *L, const char *name) {
    const char *const options[] = {name, NULL};
    fs_check_options(L, 2, options);
    return fs_option(L, 2, name);
}

static int fs_list(lua_State *L) {
    const char *path = fs_check_path(L, 1);
    bool flag = only_option(L, "types");
    struct call *c = begin(L, path, NULL);
    c->flag = flag;
    return go(L, c, work_list, answer_list);
}

/* ---- making and removing ---- */

static void work_mkdir(struct call *c) {
    c->err = disk_mkdir(c->path, c->how.mode, c->flag);
}

static int fs_mkdir(lua_State *L) {
    static const char *const options[] = {"mode", "parents", NULL};
    const char *path = fs_check_path(L, 1);
    fs_check_options(L, 2, options);
    mode_t mode = fs_option_mode(L, 2, 0777);
    bool flag = fs_option(L, 2, "parents");
    struct call *c = begin(L, path, NULL);
    c->how.mode = mode;
    c->flag = flag;
    return go(L, c, work_mkdir, answer_true);
}

static void work_remove(struct call *c) {
    c->err = disk_remove(c->path, c->flag, stop_of(c));
}

static int fs_remove(lua_State *L) {
    const char *path = fs_check_path(L, 1);
    bool flag = only_option(L, "recursive");
    struct call *c = begin(L, path, NULL);
    c->flag = flag;
    return go(L, c, work_remove, answer_true);
}

static void work_rename(struct call *c) {
    c->err = rename(c->path, c->other) < 0 ? -errno : 0;
}

static int fs_rename(lua_State *L) {
    const char *from = fs_check_path(L, 1), *to = fs_check_path(L, 2);
    return go(L, begin(L, from, to), work_rename, answer_true);
}

static void work_copy(struct call *c) {
    c->err = disk_copy(c->path, c->other, stop_of(c));
}

static int fs_copy(lua_State *L) {
    const char *from = fs_check_path(L, 1), *to = fs_check_path(L, 2);
    return go(L, begin(L, from, to), work_copy, answer_true);
}

static void work_realpath(struct call *c) {
    c->other = realpath(c->path, NULL);
    c->err = c->other ? 0 : -errno;
}

static int fs_realpath(lua_State *L) {
    return go(L, begin(L, fs_check_path(L, 1), NULL), work_realpath, answer_other);
}

static void work_tempdir(struct call *c) {
    c->err = disk_temporary(c->path, true, &c->other);
}

static int fs_tempdir(lua_State *L) {
    const char *directory = file_temporary_directory(L, 1);
    return go(L, begin(L, directory, NULL), work_tempdir, answer_other);
}

static const luaL_Reg functions[] = {
    {"append", fs_append}, {"copy", fs_copy},           {"exists", fs_exists},
    {"list", fs_list},     {"mkdir", fs_mkdir},         {"open", file_open},
    {"read", fs_read},     {"realpath", fs_realpath},   {"remove", fs_remove},
    {"rename", fs_rename}, {"stat", fs_stat},           {"tempdir", fs_tempdir},
    {"write", fs_write},   {"tempfile", file_tempfile}, {NULL, NULL},
};

int luaopen_atoll_fs(lua_State *L) {
    file_open_library(L);
    luaL_newlib(L, functions);
    return 1;
}
