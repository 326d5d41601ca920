#include "process/settings_read.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_MAX = 1 << 20,          /* bytes */
    MEMORY_MAX = 64 << 20,       /* bytes of the Lua state */
    INSTRUCTIONS_MAX = 10000000, /* some tenths of a second */
    ENTRIES_MAX = 1000,
};

/* Chunks and messages carry this name until the path takes its place: Lua would cut a
 * long path short. */
#define CHUNK "config"

/* The one setting that is a list of tables of settings. */
#define APPS "apps"

struct reading {
    const char *path;
    const char *source;
    size_t length;
    struct arena *memory;
    struct settings_entry *entries;
    size_t count;
    unsigned app; /* whose fields are being read */
    size_t used;  /* bytes that the state has allocated */
};

const char *settings_read_lua(void) {
    return LUA_RELEASE;
}

static void *bounded(void *ud, void *block, size_t before, size_t after) {
    struct reading *r = ud;
    if (!block) before = 0; /* it then tells a type */
    if (after == 0) {
        free(block);
        r->used -= before;
        return NULL;
    }
    if (after > before && r->used + (after - before) > MEMORY_MAX) return NULL;
    void *moved = realloc(block, after);
    if (moved) r->used += after - before;
    return moved;
}

static void too_long(lua_State *L, lua_Debug *ar) {
    lua_getinfo(L, "l", ar);
    lua_pushfstring(L, CHUNK ":%d: runs too long", ar->currentline);
    lua_error(L);
}

/* env(name[, default]) */
static int env(lua_State *L) {
    const char *value = getenv(luaL_checkstring(L, 1));
    lua_settop(L, 2);
    if (value) lua_pushstring(L, value);
    return 1;
}

/* A name misspelt would else be a setting left out. */
static int unknown_global(lua_State *L) {
    return luaL_error(L, "there is no '%s' in a config file",
                      luaL_tolstring(L, 2, NULL));
}

static void push_environment(lua_State *L) {
    static const char *const names[] = {"assert", "error",    "ipairs",   "pairs",
                                        "select", "tonumber", "tostring", "type",
                                        "math",   "string",   "table"};
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    lua_settop(L, 0);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getglobal(L, names[i]);
        lua_setfield(L, -2, names[i]);
    }
    lua_pushcfunction(L, env);
    lua_setfield(L, -2, "env");
    lua_newtable(L);
    lua_pushcfunction(L, unknown_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* The number of the '=' signs of a long bracket that begins at at, or -1. */
static int long_bracket(const char *at, const char *end) {
    const char *c = at + 1;
    if (at >= end || *at != '[') return -1;
    while (c < end && *c == '=') c++;
    return c < end && *c == '[' ? (int)(c - at) - 1 : -1;
}

static const char *skip_long(const char *at, const char *end, int level, int *line) {
    for (at += level + 2; at < end; at++) {
        if (*at == '\n') ++*line;
        if (*at != ']' || end - at < level + 2) continue;
        const char *c = at + 1;
        while (c < at + 1 + level && *c == '=') c++;
        if (c == at + 1 + level && *c == ']') return c + 1;
    }
    return end;
}

static const char *skip_quoted(const char *at, const char *end, int *line) {
    for (char quote = *at++; at < end && *at != quote; at++) {
        if (*at == '\\' && at + 1 < end) at++;
        if (*at == '\n') ++*line;
    }
    return at < end ? at + 1 : end;
}

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* Is what follows, but for blanks, a single '='? */
static bool assigned(const char *at, const char *end) {
    while (at < end && isspace((unsigned char)*at)) at++;
    return at < end && *at == '=' && !(at + 1 < end && at[1] == '=');
}

/* The line on which key is assigned to, skipping comments and texts; 0 for none. Of
 * several the least deep in tables. */
static int find_line(const struct reading *r, const char *key) {
    const char *at = r->source, *end = at + r->length;
    size_t key_len = strlen(key);
    int found = 0, deep = 0, found_deep = INT_MAX;
    for (int line = 1, level; at < end;) {
        bool comment = end - at >= 2 && at[0] == '-' && at[1] == '-';
        if (comment) at += 2;
        if ((level = long_bracket(at, end)) >= 0) {
            at = skip_long(at, end, level, &line);
        } else if (comment) {
            while (at < end && *at != '\n') at++;
        } else if (*at == '"' || *at == '\'') {
            const char *text = at + 1;
            int began = line;
            at = skip_quoted(at, end, &line);
            const char *close = at;
            while (close < end && isspace((unsigned char)*close)) close++;
            if ((size_t)(at - 1 - text) == key_len && memcmp(text, key, key_len) == 0 &&
                close < end && *close == ']' && assigned(close + 1, end) &&
                deep < found_deep) {
                found = began;
                found_deep = deep;
            }
        } else if (is_name(*at)) {
            const char *name = at;
            while (at < end && is_name(*at)) at++;
            if ((size_t)(at - name) == key_len && memcmp(name, key, key_len) == 0 &&
                assigned(at, end) && deep < found_deep) {
                found = line;
                found_deep = deep;
            }
        } else {
            if (*at == '\n') line++;
            deep += (*at == '{') - (*at == '}');
            at++;
        }
    }
    return found;
}

static const char *keep(lua_State *L, struct reading *r, const char *text) {
    const char *copy = arena_copy(r->memory, span_str(text)).at;
    if (!copy) luaL_error(L, "out of memory");
    return copy;
}

enum { NUMBER_MAX = 400 }; /* no exponents: the largest has 309 digits */

static const char *number_text(lua_State *L, char out[NUMBER_MAX]) {
    lua_Number n = lua_tonumber(L, -1);
    if (lua_isinteger(L, -1)) {
        snprintf(out, NUMBER_MAX, LUA_INTEGER_FMT, lua_tointeger(L, -1));
    } else if (n == floor(n) || !isfinite(n)) {
        snprintf(out, NUMBER_MAX, "%.0f", n);
    } else {
        int len = snprintf(out, NUMBER_MAX, "%.9f", n);
        while (out[len - 1] == '0') out[--len] = 0;
        if (out[len - 1] == '.') out[--len] = 0;
    }
    return out;
}

/* The text of the value on top, or NULL with what it is in *wrong. */
static const char *value_text(lua_State *L, char number[NUMBER_MAX],
                              const char **wrong) {
    size_t len;
    const char *text;
    int top = lua_gettop(L);
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? "true" : "false";
    case LUA_TNUMBER: return number_text(L, number);
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        if (strlen(text) == len) return text;
        *wrong = "text with a zero byte";
        return NULL;
    case LUA_TTABLE:
        lua_pushnil(L);
        *wrong = lua_next(L, -2) ? "a table" : "an empty table";
        lua_settop(L, top);
        return NULL;
    case LUA_TFUNCTION: *wrong = "a function"; return NULL;
    default: *wrong = "a value of another type"; return NULL;
    }
}

/* Adds an entry for key with the value on top. */
static void add(lua_State *L, struct reading *r, const char *key, bool listed) {
    char place[4240], number[NUMBER_MAX];
    if (r->count == ENTRIES_MAX) luaL_error(L, "more than %d values", ENTRIES_MAX);
    struct settings_entry *e = &r->entries[r->count];
    *e = (struct settings_entry){.key = key, .listed = listed, .app = r->app};
    e->line = find_line(r, r->app ? APPS : key);
    int n = snprintf(place, sizeof place, "%.4096s", r->path);
    if (e->line) n += snprintf(place + n, sizeof place - (size_t)n, ":%d", e->line);
    if (r->app) snprintf(place + n, sizeof place - (size_t)n, ": " APPS "[%u]", r->app);
    e->place = keep(L, r, place);
    const char *text = value_text(L, number, &e->wrong);
    if (text) e->value = keep(L, r, text);
    r->count++;
}

static void add_list(lua_State *L, struct reading *r, const char *key) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1), seen = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        seen++;
    }
    if (seen != n || n == 0) { /* not a list, or an empty one */
        add(L, r, key, false);
        r->entries[r->count - 1].empty = seen == 0;
        return;
    }
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        add(L, r, key, true);
        lua_pop(L, 1);
    }
}

static void add_apps(lua_State *L, struct reading *r);

/* The table on top. */
static void add_all(lua_State *L, struct reading *r) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%sa value without a name; write NAME = VALUE",
                       r->app ? APPS ": " : "");
        const char *key = keep(L, r, lua_tostring(L, -2));
        if (!lua_istable(L, -1))
            add(L, r, key, false);
        else if (!r->app && strcmp(key, APPS) == 0)
            add_apps(L, r);
        else
            add_list(L, r, key);
        lua_pop(L, 1);
    }
}

/* The list of tables on top; what is not one becomes an entry that is wrong. */
static void add_apps(lua_State *L, struct reading *r) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1), seen = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        seen++;
    }
    if (seen != n) {
        add(L, r, APPS, false);
        return;
    }
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        r->app = (unsigned)i;
        add(L, r, "", false);
        if (lua_istable(L, -1)) add_all(L, r);
        r->app = 0;
        lua_pop(L, 1);
    }
}

static int run(lua_State *L) {
    struct reading *r = lua_touserdata(L, 1);
    push_environment(L);
    if (luaL_loadbufferx(L, r->source, r->length, "=" CHUNK, "t") != LUA_OK)
        return lua_error(L);
    lua_insert(L, 1);
    lua_setupvalue(L, 1, 1);
    lua_sethook(L, too_long, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (!lua_istable(L, 1))
        luaL_error(L, "must return a table, not %s",
                   lua_isnil(L, 1) ? "nothing" : luaL_typename(L, 1));
    r->entries = arena_alloc(r->memory, ENTRIES_MAX * sizeof *r->entries);
    if (!r->entries) luaL_error(L, "out of memory");
    add_all(L, r);
    return 0;
}

/* "config:3: message" is given its path back. */
static int refuse(lua_State *L, const char *path, struct problem *p) {
    const char *text = lua_tostring(L, -1);
    if (!text) text = "an error that is no text";
    if (strncmp(text, CHUNK ":", sizeof CHUNK) == 0 &&
        isdigit((unsigned char)text[sizeof CHUNK]))
        return problem_set(p, EX_CONFIG, "%.400s:%s", path, text + sizeof CHUNK);
    return problem_set(p, EX_CONFIG, "%.400s: %s", path, text);
}

static int by_line(const void *a, const void *b) {
    const struct settings_entry *x = a, *y = b;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    int names = strcmp(x->key, y->key);
    /* Elements of one list stay as they are: they stand in one array. */
    return names ? names : (x > y) - (x < y);
}

/* The whole file, allocated; NULL with the problem. */
static char *slurp(const char *path, size_t *len, struct problem *p) {
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), saved;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) goto fail;
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        problem_set(p, EX_CONFIG, "%.400s: %s", path,
                    S_ISREG(st.st_mode) ? "too large" : "not a file");
        close(fd);
        return NULL;
    }
    text = malloc((size_t)st.st_size + 1);
    if (!text) goto fail;
    for (*len = 0; *len < (size_t)st.st_size;) {
        ssize_t n = read(fd, text + *len, (size_t)st.st_size - *len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) goto fail;
        if (n == 0) break;
        *len += (size_t)n;
    }
    text[*len] = 0;
    close(fd);
    return text;
fail:
    saved = errno;
    free(text);
    if (fd >= 0) close(fd);
    problem_errno(p, saved == EACCES ? EX_NOPERM : EX_CONFIG, saved, "%.400s", path);
    return NULL;
}

int settings_read(const char *path, struct arena *memory,
                  struct settings_entry **entries, size_t *count, struct problem *p) {
    struct reading r = {.path = path, .memory = memory};
    int err = -1;
    char *source = slurp(path, &r.length, p);
    if (!source) return -1;
    r.source = source;
    lua_State *L = lua_newstate(bounded, &r);
    if (!L) {
        problem_set(p, EX_OSERR, "out of memory");
        goto done;
    }
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &r);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        refuse(L, path, p);
        goto done;
    }
    qsort(r.entries, r.count, sizeof *r.entries, by_line);
    *entries = r.entries;
    *count = r.count;
    err = 0;
done:
    if (L) lua_close(L);
    free(source);
    return err;
}
