#include "api/json_write.h"

#include "base/err.h"
#include "codec/decimal.h"
#include "codec/json_out.h"
#include "isolate/budget.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const struct json_write_options json_write_strict = {.depth = 1000,
                                                     .size = BUF_MAX,
                                                     .sparse_ratio = 2,
                                                     .sparse_safe = 10,
                                                     .point = true};

static const char array_key = 'a', empty_array_key = 'e';

/* One level is three slots: the table; the length of an array, nil for an object, true
 * for one that may have number keys; the key that was last, or the index (which is kept
 * in the writer while the level is the topmost). The value comes above them. */
enum { SLOTS = 3 };

struct writer {
    struct json_out out;
    const struct json_write_options *o;
    const void *array_mt, *empty_array_mt;
    int depth, table; /* the stack index of the topmost level */
    bool array, metatables;
    lua_Integer index, length;
    char why[160];
};

static void push_metatable(lua_State *L, const char *key, const char *name) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void json_push_array_mt(lua_State *L) {
    push_metatable(L, &array_key, "json.array");
}

void json_push_empty_array_mt(lua_State *L) {
    push_metatable(L, &empty_array_key, "json.empty_array");
}

void *json_empty_array(void) {
    return (void *)&empty_array_key;
}

__attribute__((format(printf, 2, 3), cold)) static bool fail(struct writer *w,
                                                             const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->why, sizeof w->why, format, arguments);
    va_end(arguments);
    return false;
}

static bool put_double(struct writer *w, double d) {
    if (isfinite(d)) {
        w->out.at = w->o->digits
                        ? decimal_rounded(w->out.at, d, w->o->digits, w->o->point)
                        : decimal_double(w->out.at, d, w->o->point);
        return true;
    }
    if (w->o->invalid == JSON_REFUSED)
        return fail(w, "JSON has no NaN and no infinity");
    if (w->o->invalid == JSON_AS_NULL) return json_out_put(&w->out, "null", 4);
    if (isnan(d)) return json_out_put(&w->out, "NaN", 3);
    return d > 0 ? json_out_put(&w->out, "Infinity", 8)
                 : json_out_put(&w->out, "-Infinity", 9);
}

static bool put_number(lua_State *L, struct writer *w, int index) {
    if (!json_out_room(&w->out, DECIMAL_MAX + 4)) return false;
    if (!lua_isinteger(L, index)) return put_double(w, lua_tonumber(L, index));
    w->out.at = decimal_integer(w->out.at, lua_tointeger(L, index));
    return true;
}

/* Anything but a table. */
static bool put_scalar(lua_State *L, struct writer *w, int type) {
    size_t n;
    switch (type) {
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, -1, &n);
        return json_out_string(&w->out, s, n);
    }
    case LUA_TNUMBER: return put_number(L, w, -1);
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? json_out_put(&w->out, "true", 4)
                                    : json_out_put(&w->out, "false", 5);
    case LUA_TNIL: return json_out_put(&w->out, "null", 4);
    case LUA_TLIGHTUSERDATA: {
        const void *p = lua_touserdata(L, -1);
        if (p == NULL) return json_out_put(&w->out, "null", 4);
        if (p == json_empty_array()) return json_out_put(&w->out, "[]", 2);
    } /* fall through */
    default: return fail(w, "JSON has nothing for a %s", lua_typename(L, type));
    }
}

/* --- tables --- */

/* `"key"` or `[3]` for messages; long and odd keys are cut short. */
static void show_key(lua_State *L, int index, char *to, size_t size) {
    char text[DECIMAL_MAX];
    size_t n;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *s = lua_tolstring(L, index, &n);
        size_t shown = 0;
        while (shown < n && shown < 40 && s[shown] >= ' ' && s[shown] < 0x7f) shown++;
        snprintf(to, size, "\"%.*s%s\"", (int)shown, s, shown < n ? "..." : "");
    } else if (lua_isinteger(L, index)) {
        *decimal_integer(text, lua_tointeger(L, index)) = '\0';
        snprintf(to, size, "[%s]", text);
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        snprintf(to, size, "[%.14g]", lua_tonumber(L, index));
    } else {
        snprintf(to, size, "of type %s", lua_typename(L, lua_type(L, index)));
    }
}

static bool fail_key(lua_State *L, struct writer *w, int index, const char *what) {
    char key[64];
    show_key(L, index, key, sizeof key);
    return fail(w, "%s the key %s", what, key);
}

/* The same for the key below the value, which is not part of the way to the fault. */
static bool fail_member(lua_State *L, struct writer *w, const char *what) {
    fail_key(L, w, -2, what);
    lua_pushnil(L);
    lua_replace(L, w->table + 2);
    return false;
}

/* The key below the value, and the colon. */
static bool put_key(lua_State *L, struct writer *w) {
    int type = lua_type(L, -2);
    size_t n;
    if (type == LUA_TSTRING) {
        const char *s = lua_tolstring(L, -2, &n);
        if (!json_out_string(&w->out, s, n)) return false;
    } else if (type != LUA_TNUMBER) {
        return fail_member(L, w, "a table has");
    } else if (!lua_toboolean(L, w->table + 1)) {
        return fail_member(L, w, "a table with text for keys also has");
    } else {
        if (!json_out_put(&w->out, "\"", 1) || !put_number(L, w, -2) ||
            !json_out_put(&w->out, "\"", 1))
            return false;
    }
    *w->out.at++ = ':';
    return true;
}

enum kind { BAD, ARRAY, OBJECT, LOOSE_OBJECT };

/* Goes through the keys of the table at index t, the first pair being on the stack, and
 * pops all of it. */
static enum kind judge(lua_State *L, struct writer *w, int t) {
    lua_Integer items = 0, most = 0;
    do {
        int whole = 0;
        lua_Integer key = 0;
        if (lua_isinteger(L, -2)) key = lua_tointegerx(L, -2, &whole);
        if (!whole || key < 1) {
            if (w->o->mixed) {
                lua_settop(L, t + 1);
                return LOOSE_OBJECT;
            }
            fail_key(L, w, -2, items ? "an array also has" : "a table has");
            return BAD;
        }
        if (key > most) most = key;
        items++;
        lua_settop(L, -2);
    } while (lua_next(L, t));
    w->length = most;
    if (w->o->sparse_ratio == 0 || most <= w->o->sparse_safe ||
        most / w->o->sparse_ratio + (most % w->o->sparse_ratio != 0) <= items)
        return ARRAY;
    if (w->o->sparse_convert) return LOOSE_OBJECT;
    fail(w, "an array has %lld items in %lld places", (long long)items,
         (long long)most);
    return BAD;
}

static void look_for_marks(lua_State *L, struct writer *w, bool *array, bool *empty) {
    if (!w->metatables) {
        w->metatables = true;
        lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
        w->array_mt = lua_topointer(L, -1);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &empty_array_key);
        w->empty_array_mt = lua_topointer(L, -1);
        lua_pop(L, 2);
    }
    const void *metatable = lua_topointer(L, -1);
    *array = metatable == w->array_mt;
    *empty = *array || metatable == w->empty_array_mt;
    lua_pop(L, 1);
}

/* Writes the table at index t, whose first pair is on the stack, if it turns out to be
 * an array of scalars in order; or leaves all as it was, for those who look first. */
static bool put_simple_array(lua_State *L, struct writer *w, int t) {
    size_t before = (size_t)(w->out.at - buf_data(w->out.buf));
    lua_Integer index = 0;
    *w->out.at++ = '[';
    do {
        int type = lua_type(L, -1);
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != ++index ||
            type == LUA_TTABLE || !put_scalar(L, w, type)) {
            w->out.at = buf_data(w->out.buf) + before;
            w->out.fault = 0;
            lua_settop(L, t + 1);
            lua_pushnil(L);
            lua_next(L, t);
            return false;
        }
        *w->out.at++ = ',';
        lua_settop(L, -2);
    } while (lua_next(L, t));
    w->out.at[-1] = ']';
    lua_settop(L, t);
    return true;
}

enum entered { FAILED, SCALAR, AT_MEMBER, AT_ITEMS };

/* The table on top becomes the topmost level, with its first member pushed if it is an
 * object; or it is empty, and written and left as a scalar is. */
static enum entered enter(lua_State *L, struct writer *w) {
    int t = w->table + SLOTS;
    bool marked = false, empty = w->o->empty_array;
    if (w->depth == w->o->depth) {
        fail(w, "the value is nested more than %d deep", w->o->depth);
        return FAILED;
    }
    if (!lua_checkstack(L, 3 * SLOTS)) {
        fail(w, "the value is nested too deep");
        return FAILED;
    }
    if (!json_out_room(&w->out, 8)) return FAILED;
    if (lua_getmetatable(L, t)) {
        bool marked_empty;
        look_for_marks(L, w, &marked, &marked_empty);
        empty = empty || marked_empty;
    }
    lua_pushnil(L);
    lua_pushnil(L);
    if (!lua_next(L, t)) {
        lua_settop(L, t);
        return json_out_put(&w->out, empty ? "[]" : "{}", 2) ? SCALAR : FAILED;
    }
    enum kind kind = OBJECT;
    if (marked && w->o->mixed) { /* what lua-cjson does: all else is left out */
        kind = ARRAY;
        w->length = (lua_Integer)lua_rawlen(L, t);
        lua_settop(L, t + 1);
        if (w->length == 0) {
            lua_settop(L, t);
            return json_out_put(&w->out, "[]", 2) ? SCALAR : FAILED;
        }
    } else if (marked || lua_type(L, -2) == LUA_TNUMBER) {
        if (put_simple_array(L, w, t)) return SCALAR;
        kind = judge(L, w, t);
    } else if (w->o->mixed) {
        lua_pushboolean(L, 1);
        lua_replace(L, t + 1);
    }
    if (kind == BAD) return FAILED;
    if (w->array && w->depth) { /* the level below has to remember */
        lua_pushinteger(L, w->index);
        lua_replace(L, w->table + 2);
    }
    w->depth++;
    w->table = t;
    w->array = kind == ARRAY;
    if (kind == OBJECT) {
        *w->out.at++ = '{';
        return AT_MEMBER;
    }
    lua_settop(L, t);
    if (kind == ARRAY) {
        *w->out.at++ = '[';
        w->index = 0;
        lua_pushinteger(L, w->length);
        lua_pushinteger(L, 0);
        return AT_ITEMS;
    }
    *w->out.at++ = '{';
    lua_pushboolean(L, 1);
    lua_pushnil(L);
    lua_next(L, t);
    return AT_MEMBER;
}

/* Back to the level below, as it was. */
static void leave(lua_State *L, struct writer *w) {
    lua_settop(L, w->table - 1);
    w->table -= SLOTS;
    if (--w->depth == 0) return;
    w->array = lua_type(L, w->table + 1) == LUA_TNUMBER;
    if (!w->array) return;
    w->length = lua_tointeger(L, w->table + 1);
    w->index = lua_tointeger(L, w->table + 2);
}

/* Writes the value on top and all below it. Each value is followed by a comma, and what
 * ends a table overwrites the last. */
static bool write_all(lua_State *L, struct writer *w) {
    for (;;) {
        enum entered entered = SCALAR;
        int type = lua_type(L, -1);
        if (type == LUA_TTABLE)
            entered = enter(L, w);
        else if (!put_scalar(L, w, type))
            return false;
        if (entered == FAILED) return false;
        if (entered == AT_MEMBER) {
            if (!put_key(L, w)) return false;
            continue;
        }
        if (entered == SCALAR) {
            *w->out.at++ = ',';
            lua_settop(L, -2);
        }
        for (;; leave(L, w)) {
            if (w->depth == 0) return true;
            if (!json_out_room(&w->out, 2)) return false;
            if (w->array) {
                if (w->index < w->length) {
                    lua_rawgeti(L, w->table, ++w->index);
                    break;
                }
                w->out.at[-1] = ']';
            } else {
                if (lua_next(L, w->table)) {
                    if (!put_key(L, w)) return false;
                    break;
                }
                w->out.at[-1] = '}';
            }
            *w->out.at++ = ',';
        }
    }
}

/* The message with the way to the value that is to blame: `users[3].name`. */
static void push_message(lua_State *L, struct writer *w, int bottom) {
    char place[200], key[64];
    size_t n = 0;
    place[0] = '\0';
    if (w->array && w->depth) {
        lua_pushinteger(L, w->index);
        lua_replace(L, w->table + 2);
    }
    for (int level = 0; level < w->depth; level++) {
        int t = bottom + 1 + level * SLOTS;
        if (t + 2 > lua_gettop(L) || lua_isnil(L, t + 2)) break;
        show_key(L, t + 2, key, sizeof key);
        size_t len = strlen(key);
        if (n + len + 8 > sizeof place) {
            n += (size_t)snprintf(place + n, sizeof place - n, "...");
            break;
        }
        bool name = key[0] == '"' && len > 2;
        for (size_t i = 1; name && i < len - 1; i++)
            name = key[i] == '_' ||
                   (ascii_lower(key[i]) >= 'a' && ascii_lower(key[i]) <= 'z') ||
                   (i > 1 && key[i] >= '0' && key[i] <= '9');
        if (name)
            n += (size_t)snprintf(place + n, sizeof place - n, "%s%.*s", n ? "." : "",
                                  (int)len - 2, key + 1);
        else
            n += (size_t)snprintf(place + n, sizeof place - n,
                                  key[0] == '"' ? "[%s]" : "%s", key);
    }
    lua_settop(L, bottom);
    if (n)
        lua_pushfstring(L, "cannot encode %s: %s", place, w->why);
    else
        lua_pushfstring(L, "cannot encode: %s", w->why);
}

static void explain(struct writer *w) {
    if (w->out.fault == ERR_MEMORY)
        fail(w, "not enough memory");
    else if (w->out.fault == ERR_TOO_LARGE)
        fail(w, "the text is longer than %zu bytes", w->o->size);
    else if (w->out.fault)
        fail(w, "a string is not UTF-8 at its byte %zu", w->out.bad);
}

/* The state has no room for a text that was longer than this, and so none for the
 * buffer: raises, unless collecting garbage makes some. */
static void want_room(lua_State *L, struct writer *w, int bottom, size_t room) {
    json_out_undo(&w->out);
    if (buf_len(w->out.buf) == 0) buf_reset(w->out.buf);
    lua_settop(L, bottom);
    budget_want(L, room + 1);
}

bool json_write(lua_State *L, int index, struct buf *out,
                const struct json_write_options *options) {
    int bottom = lua_gettop(L);
    size_t room = budget_room(L);
    struct writer w;
    w.o = options;
    w.depth = 0;
    w.table = bottom + 1 - SLOTS;
    w.array = w.metatables = false;
    luaL_checkstack(L, 3 * SLOTS, "no room to encode");
    lua_pushvalue(L, index);
    size_t size = options->size < room ? options->size : room;
    if (json_out_start(&w.out, out, size, options->escape_slash) && write_all(L, &w)) {
        lua_settop(L, bottom);
        w.out.at--; /* the last comma */
        if (json_out_finish(&w.out)) return true;
        w.depth = 0;
    }
    if (w.out.fault == ERR_TOO_LARGE && size == room) {
        want_room(L, &w, bottom, room);
        return json_write(L, index, out, options);
    }
    json_out_undo(&w.out);
    explain(&w);
    push_message(L, &w, bottom);
    return false;
}
