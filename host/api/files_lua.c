#include "api/files_lua.h"

#include "api/app_lua.h"
#include "base/check.h"
#include "http/file.h"

#include <lauxlib.h>

enum { PLACE_MAGIC = 0x706c6163, FILE_MAGIC = 0x66696c65 };

static const char PLACE[] = "atoll.files.place", WANTED[] = "atoll.files.file";

/* User values of a place: what its spans point to, and the fields of its answers. */
enum { ROOT = 1, INDEX, CACHE, HEADERS };

struct place {
    uint32_t magic;
    struct file_site site;
    struct span cache; /* Cache-Control, or empty */
};

/* User values of a file. */
enum { OF_PLACE = 1, PATH };

struct wanted {
    uint32_t magic;
    struct file_pick pick; /* without a file: it was not looked for, or is sent */
};

static struct place *check_place(lua_State *L, int index) {
    struct place *p = luaL_checkudata(L, index, PLACE);
    MAGIC_CHECK(p, PLACE_MAGIC);
    return p;
}

/* The argument as a span that lasts as long as the place on top. */
static struct span keep(lua_State *L, int argument, int value) {
    struct span s = {"", 0};
    if (lua_isnoneornil(L, argument)) return s;
    s.at = luaL_checklstring(L, argument, &s.len);
    lua_pushvalue(L, argument);
    lua_setiuservalue(L, -2, value);
    return s;
}

static const char *const rules[] = {[LINKS_INSIDE] = "inside",
                                    [LINKS_NONE] = "none",
                                    [LINKS_ANYWHERE] = "anywhere",
                                    NULL};

/* links(): the setting's. */
static int links(lua_State *L) {
    lua_pushstring(L, rules[app_of(L)->options->links]);
    return 1;
}

/* place(root, links, twins, index, cache, headers): root "" is anywhere; links nil is
 * the setting's; index has a zero byte behind each name. */
static int place(lua_State *L) {
    luaL_checkstring(L, 1);
    int rule = lua_isnoneornil(L, 2) ? app_of(L)->options->links
                                     : luaL_checkoption(L, 2, NULL, rules);
    lua_settop(L, 6);
    struct place *p = lua_newuserdatauv(L, sizeof *p, HEADERS);
    *p = (struct place){.magic = PLACE_MAGIC};
    luaL_setmetatable(L, PLACE);
    p->site.root.path = keep(L, 1, ROOT).at;
    p->site.root.links = (enum shelf_links)rule;
    p->site.twins = lua_toboolean(L, 3);
    p->site.index = keep(L, 4, INDEX).at;
    p->cache = keep(L, 5, CACHE);
    if (lua_istable(L, 6)) {
        lua_pushvalue(L, 6);
        lua_setiuservalue(L, -2, HEADERS);
    }
    return 1;
}

/* Pushes one of the place at that index. */
static struct wanted *push_wanted(lua_State *L, int of) {
    struct wanted *w = lua_newuserdatauv(L, sizeof *w, PATH);
    *w = (struct wanted){.magic = FILE_MAGIC};
    luaL_setmetatable(L, WANTED);
    lua_pushvalue(L, of);
    lua_setiuservalue(L, -2, OF_PLACE);
    return w;
}

static int wanted_gc(lua_State *L) {
    struct wanted *w = luaL_checkudata(L, 1, WANTED);
    file_drop(&w->pick);
    return 0;
}

static int file(lua_State *L) {
    check_place(L, 1);
    luaL_checkstring(L, 2);
    push_wanted(L, 1);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, PATH);
    return 1;
}

static int status_of(enum file_found found) {
    switch (found) {
    case FILE_FORBIDDEN: return 403;
    case FILE_BUSY: return 503;
    default: return 404;
    }
}

static int find(lua_State *L) {
    struct place *p = check_place(L, 1);
    struct request *r = request_check(L, 2, true);
    lua_Integer skip = luaL_optinteger(L, 3, 0);
    lua_settop(L, 3);
    struct wanted *w = push_wanted(L, 1); /* owns what is found */
    response_new(L);
    enum file_found found = file_find(r->x, &p->site, (unsigned)skip, &w->pick);
    switch (found) {
    case FILE_MISSING: return 0;
    case FILE_DIRECTORY: lua_pushboolean(L, 1); return 1;
    case FILE_SLASH:
        lua_pushboolean(L, 0);
        lua_pushboolean(L, w->pick.type.len > 0);
        return 2;
    case FILE_FOUND:
        lua_pushvalue(L, 4);
        lua_setfield(L, 5, "file");
        if (lua_getiuservalue(L, 1, HEADERS) == LUA_TTABLE)
            lua_setfield(L, 5, "headers");
        break;
    default: lua_pushinteger(L, status_of(found)); lua_setfield(L, 5, "status");
    }
    lua_settop(L, 5);
    return 1;
}

/* ---- sending ---- */

static int go_on(lua_State *L, struct request *r, enum file_step step);

static int go_on_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct request *r = request_alive(L, 1);
    return go_on(L, r, file_go_on(r->x));
}

static int go_on(lua_State *L, struct request *r, enum file_step step) {
    if (step == FILE_DONE) return 0;
    return response_wait(L, r, step == FILE_WAIT ? IO_AGAIN : IO_OK, go_on_k, 0);
}

/* Looks for it now. */
static enum file_found look(lua_State *L, struct request *r, struct wanted *w,
                            const struct place *p, int index) {
    if (lua_getiuservalue(L, index, PATH) != LUA_TSTRING)
        luaL_error(L, "the file of a response was sent already");
    struct span path;
    path.at = lua_tolstring(L, -1, &path.len);
    enum file_found found = memchr(path.at, 0, path.len) ? FILE_MISSING
                            : *p->site.root.path
                                ? file_find_path(r->x, &p->site, path, &w->pick)
                                : file_pick(r->x, path.at, p->site.twins, &w->pick);
    lua_pop(L, 1);
    return found;
}

bool files_send(lua_State *L, struct request *r, struct answer *a, int index,
                int *result) {
    struct wanted *w = luaL_checkudata(L, index, WANTED);
    MAGIC_CHECK(w, FILE_MAGIC);
    lua_getiuservalue(L, index, OF_PLACE);
    struct place *p = check_place(L, -1);
    if (exchange_gone(r->x)) {
        *result = 0;
        return true;
    }
    if (!w->pick.file) {
        enum file_found found = look(L, r, w, p, index);
        if (found != FILE_FOUND) {
            a->status = status_of(found);
            a->type = (struct span){NULL, 0};
            return false;
        }
    }
    enum file_step step = file_send(r->x, &w->pick, a->status, a->type, p->cache);
    *result = go_on(L, r, step);
    return true;
}

int luaopen_atoll_core_files(lua_State *L) {
    static const luaL_Reg functions[] = {{"place", place},
                                         {"find", find},
                                         {"file", file},
                                         {"links", links},
                                         {NULL, NULL}};
    luaL_newmetatable(L, PLACE);
    luaL_newmetatable(L, WANTED);
    lua_pushcfunction(L, wanted_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}
