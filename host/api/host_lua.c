#include "api/host_lua.h"

#include "api/app_lua.h"
#include "api/multipart_lua.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "codec/cookies.h"
#include "codec/target.h"
#include "isolate/closing.h"
#include "isolate/isolate.h"
#include "isolate/slice.h"

#include <dirent.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int failure(lua_State *L, int err, const char *path) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, err_text(err));
    lua_pushstring(L, err_name(err));
    return 3;
}

/* 0: there is nothing. What cannot be looked at is an error: an app without what it has
 * is another one. */
static mode_t mode_of(lua_State *L, const char *path) {
    struct stat st;
    if (stat(path, &st) == 0) return st.st_mode;
    if (errno != ENOENT && errno != ENOTDIR)
        luaL_error(L, "%s: %s", path, err_text(-errno));
    return 0;
}

static int is_file(lua_State *L) {
    lua_pushboolean(L, S_ISREG(mode_of(L, luaL_checkstring(L, 1))));
    return 1;
}

static int is_directory(lua_State *L) {
    lua_pushboolean(L, S_ISDIR(mode_of(L, luaL_checkstring(L, 1))));
    return 1;
}

/* The path without links and dot segments; nil, message, code. */
static int real_path(lua_State *L) {
    char resolved[PATH_MAX];
    const char *path = luaL_checkstring(L, 1);
    if (!realpath(path, resolved)) return failure(L, -errno, path);
    lua_pushstring(L, resolved);
    return 1;
}

/* A userdata owns the listing while Lua is given its names. */
struct listing {
    struct dirent **entries;
    int count;
};

static int listing_gc(lua_State *L) {
    struct listing *l = lua_touserdata(L, 1);
    for (int i = 0; i < l->count; i++) free(l->entries[i]);
    free(l->entries);
    l->entries = NULL;
    l->count = 0;
    return 0;
}

/* list(dir) -> {{name=, kind="file"|"directory"|"other"} ...} by name; nil, message,
 * code. */
static int list(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct listing *l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = (struct listing){0};
    closing_mark(L, "atoll.listing", listing_gc);
    int count = scandir(path, &l->entries, NULL, alphasort);
    if (count < 0) return failure(L, -errno, path);
    l->count = count;
    lua_newtable(L);
    lua_Integer n = 0;
    for (int i = 0; i < count; i++) {
        const char *name = l->entries[i]->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        lua_createtable(L, 0, 2);
        lua_pushstring(L, name);
        lua_setfield(L, -2, "name");
        lua_pushfstring(L, "%s/%s", path, name);
        mode_t mode = mode_of(L, lua_tostring(L, -1));
        lua_pop(L, 1);
        lua_pushstring(L, S_ISREG(mode)   ? "file"
                          : S_ISDIR(mode) ? "directory"
                                          : "other");
        lua_setfield(L, -2, "kind");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static void push_decoded(lua_State *L, struct span s, bool plus) {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, s.len);
    luaL_pushresultsize(&b, target_decode(s, plus, to));
}

/* parse_query(text[, most]) -> { name, value, ... }; nil when there are more pairs. */
static int parse_query(lua_State *L) {
    struct span rest, name, value;
    rest.at = luaL_checklstring(L, 1, &rest.len);
    lua_Integer n = 0, most = luaL_optinteger(L, 2, LUA_MAXINTEGER / 2);
    lua_newtable(L);
    while (query_next(&rest, &name, &value)) {
        if (n == 2 * most) return 0;
        push_decoded(L, name, true);
        lua_rawseti(L, -2, ++n);
        push_decoded(L, value, true);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* parse_cookies(header) -> name -> value. Of two with one name the first counts, since
 * browsers send the one with the longest path first. */
static int parse_cookies(lua_State *L) {
    struct span rest, name, value;
    rest.at = luaL_optlstring(L, 1, "", &rest.len);
    lua_newtable(L);
    while (cookies_next(&rest, &name, &value)) {
        lua_pushlstring(L, name.at, name.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 2) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.at, value.len);
            lua_rawset(L, 2);
        } else {
            lua_pop(L, 2);
        }
    }
    return 1;
}

static int percent_decode(lua_State *L) {
    struct span s;
    s.at = luaL_checklstring(L, 1, &s.len);
    push_decoded(L, s, lua_toboolean(L, 2));
    return 1;
}

/* All but the unreserved characters of RFC 3986 2.3. */
static int percent_encode(lua_State *L) {
    static const char hex[] = "0123456789ABCDEF";
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
            (c >= 'a' && c <= 'z') || (c && strchr("-._~", c))) {
            luaL_addchar(&b, (char)c);
        } else {
            luaL_addchar(&b, '%');
            luaL_addchar(&b, hex[c >> 4]);
            luaL_addchar(&b, hex[c & 15]);
        }
    }
    luaL_pushresult(&b);
    return 1;
}

static int isolate(lua_State *L) {
    struct generation *g = generation_of(L);
    if (!g->isolate) return 0;
    lua_pushinteger(L, g->isolate->index);
    return 1;
}

/* Whether this code is to end: it was replaced, or its isolate stops. */
static int leaving(lua_State *L) {
    const struct generation *g = generation_of(L);
    bool is = g->state >= GEN_DRAINING || (g->isolate && g->isolate->leaving);
    lua_pushboolean(L, is);
    return 1;
}

static int generation(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)generation_of(L)->number);
    return 1;
}

/* slow() -> {{place="app.lua:7", count=, longest=seconds} ...}, where fibers have run
 * for slice_warn or longer without a wait, in no order. */
static int slow(lua_State *L) {
    struct sched *s = sched_of(L);
    struct slice_place places[SLICE_PLACES];
    int count = s && s->watchdog ? slices_places(s->watchdog, places) : 0;
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, places[i].text);
        lua_setfield(L, -2, "place");
        lua_pushinteger(L, (lua_Integer)places[i].count);
        lua_setfield(L, -2, "count");
        lua_pushnumber(L, (lua_Number)places[i].longest / (lua_Number)CLOCK_SECOND);
        lua_setfield(L, -2, "longest");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* lag() -> seconds for which, at most, events have waited for this isolate lately. */
static int lag(lua_State *L) {
    struct sched *s = sched_of(L);
    int64_t ns =
        s && s->watchdog ? slices_lag(s->watchdog, generation_of(L)->isolate) : 0;
    lua_pushnumber(L, (lua_Number)ns / (lua_Number)CLOCK_SECOND);
    return 1;
}

/* fiber() -> the request that this fiber answers; of another fiber nil and the
 * coroutine at its bottom, which stands for it; nothing outside any. */
static int fiber(lua_State *L) {
    struct fiber *f = fiber_of(L);
    if (!f) return 0;
    luaL_checkstack(L, 2, NULL);
    app_push_request(L);
    if (!lua_isnil(L, -1)) return 1;
    if (!lua_checkstack(f->co, 1)) return budget_raise(L);
    f->traits |= FIBER_EXPOSED;
    lua_pushthread(f->co);
    if (f->co != L) lua_xmove(f->co, L, 1);
    return 2;
}

/* Seconds since 1970. */
static int wall_time(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_wall_ns() / (lua_Number)CLOCK_SECOND);
    return 1;
}

static int process(lua_State *L) {
    lua_pushinteger(L, getpid());
    return 1;
}

static int log_text(lua_State *L) {
    size_t len;
    enum log_level level;
    const char *name = luaL_checklstring(L, 1, &len);
    if (!log_level_parse(span_of(name, len), &level))
        return luaL_argerror(L, 1, "debug, info, warn or error");
    const char *text = luaL_checklstring(L, 2, &len);
    if (log_on(level)) log_lines(level, SPAN(""), span_of(text, len));
    return 0;
}

/* Bytes in use, and the limit, if there is one. */
static int memory(lua_State *L) {
    struct generation *g = generation_of(L);
    lua_pushinteger(L, (lua_Integer)generation_bytes(g));
    if (!g->budget.limit) return 1;
    lua_pushinteger(L, (lua_Integer)g->budget.limit);
    return 2;
}

static const luaL_Reg functions[] = {
    {"list", list},
    {"is_file", is_file},
    {"is_directory", is_directory},
    {"real_path", real_path},
    {"parse_query", parse_query},
    {"parse_cookies", parse_cookies},
    {"percent_decode", percent_decode},
    {"percent_encode", percent_encode},
    {"isolate", isolate},
    {"generation", generation},
    {"leaving", leaving},
    {"fiber", fiber},
    {"lag", lag},
    {"slow", slow},
    {"time", wall_time},
    {"process", process},
    {"log", log_text},
    {"memory", memory},
    {NULL, NULL},
};

static void push_form_limits(lua_State *L, const struct form_limits *f) {
    if (!f) f = &form_limits_default;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, f->parts_max);
    lua_setfield(L, -2, "parts_max");
    lua_pushinteger(L, f->name_max);
    lua_setfield(L, -2, "name_max");
    lua_pushinteger(L, f->head_max);
    lua_setfield(L, -2, "head_max");
    lua_pushinteger(L, (lua_Integer)f->memory_max);
    lua_setfield(L, -2, "memory_max");
    lua_pushinteger(L, (lua_Integer)f->part_max);
    lua_setfield(L, -2, "part_max");
    lua_pushstring(L, f->directory);
    lua_setfield(L, -2, "directory");
}

int luaopen_atoll_core_host(lua_State *L) {
    const struct app *app = generation_of(L)->app;
    if (!app) return luaL_error(L, "the app is being closed");
    luaL_newlib(L, functions);
    lua_pushstring(L, app->options->version);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, app->options->isolates);
    lua_setfield(L, -2, "isolates");
    lua_pushboolean(L, app->options->dev);
    lua_setfield(L, -2, "dev");
    push_form_limits(L, app->options->forms);
    lua_setfield(L, -2, "forms");
    return 1;
}
