#include "api/json_read.h"

#include "api/json_write.h"
#include "codec/decimal.h"
#include "codec/utf8.h"

#include <lauxlib.h>
#include <math.h>

const struct json_read_options json_read_strict = {.depth = 1000, .size = BUF_MAX};

/* A level is a table on the Lua stack, with the key or the index above it at which a
 * value that is not complete yet will go. Tables are made as large as the last one of
 * their depth was, within bounds that keep small text from making large tables. */
enum { SIZES = 8, SIZE_MOST = 8 };

struct reader {
    const char *begin, *at, *end;
    const struct json_read_options *o;
    const char *why, *where; /* the fault */
    bool name_found;         /* and the message says what is there */
    bool array;              /* the topmost level is one */
    int depth;
    lua_Integer count; /* of what the topmost level holds */
    unsigned char sizes[SIZES];
};

__attribute__((cold)) static bool fail(struct reader *r, const char *where,
                                       const char *why) {
    r->why = why;
    r->where = where;
    return false;
}

__attribute__((cold)) static bool expected(struct reader *r, const char *what) {
    r->name_found = true;
    return fail(r, r->at, what);
}

static inline void skip(struct reader *r) {
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static inline bool next_is(const struct reader *r, char c) {
    return r->at < r->end && *r->at == c;
}

static inline bool digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

/* --- strings --- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (uint64_t)(byte))

/* The first byte that is not a character for itself. */
static const char *skip_plain(const char *at, const char *end) {
    uint64_t word;
    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');
        if (((((word - EACH(0x20)) | word) | ((quote - EACH(1)) & ~quote) |
              ((backslash - EACH(1)) & ~backslash)) &
             EACH(0x80)) != 0)
            break;
    }
    while (at < end && (unsigned char)(*at - 0x20) < 0x60 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* The four digits behind `\u`, or -1. */
static int hex4(const char *at, const char *end) {
    int code = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = ascii_lower(at[i]);
        if (c >= '0' && c <= '9')
            code = code << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            code = code << 4 | (c - 'a' + 10);
        else
            return -1;
    }
    return code;
}

/* How long the escape at `at` is, 0 for one that is none; *code is what it means. */
static size_t read_escape(const char *at, const char *end, unsigned *code) {
    if (end - at < 2) return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/': *code = (unsigned char)at[1]; return 2;
    case 'b': *code = '\b'; return 2;
    case 'f': *code = '\f'; return 2;
    case 'n': *code = '\n'; return 2;
    case 'r': *code = '\r'; return 2;
    case 't': *code = '\t'; return 2;
    case 'u': break;
    default: return 0;
    }
    int high = hex4(at + 2, end);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000)) return 0;
    *code = (unsigned)high;
    if (high < 0xd800 || high >= 0xe000) return 6;
    if (end - at < 8 || at[6] != '\\' || at[7] != 'u') return 0;
    int low = hex4(at + 8, end);
    if (low < 0xdc00 || low >= 0xe000) return 0;
    *code = 0x10000 + ((unsigned)high - 0xd800) * 0x400 + ((unsigned)low - 0xdc00);
    return 12;
}

/* Pushes what the text between two quotes means; its escapes are known to be good. */
static void push_unescaped(lua_State *L, const char *at, const char *end) {
    luaL_Buffer b;
    char *start = luaL_buffinitsize(L, &b, (size_t)(end - at)), *to = start;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t n = (size_t)((escape ? escape : end) - at);
        memcpy(to, at, n);
        to += n;
        at += n;
        if (!escape) break;
        unsigned code = 0;
        at += read_escape(at, end, &code);
        to = utf8_put(to, code);
    }
    luaL_pushresultsize(&b, (size_t)(to - start));
}

/* From the opening quote on. */
static bool read_string(lua_State *L, struct reader *r) {
    const char *begin = r->at + 1, *at = begin, *end = r->end;
    bool escaped = false;
    for (;;) {
        at = skip_plain(at, end);
        if (at == end) return fail(r, r->at, "a string that does not end");
        if (*at == '"') break;
        size_t n;
        if (*at & 0x80) {
            if ((n = utf8_sequence(at, end)) == 0)
                return fail(r, at, "a string that is not UTF-8");
        } else if (*at == '\\') {
            unsigned code;
            if ((n = read_escape(at, end, &code)) == 0)
                return fail(r, at, "an escape that is none, or half a surrogate pair");
            escaped = true;
        } else {
            return fail(r, at, "a control byte in a string");
        }
        at += n;
    }
    r->at = at + 1;
    if (escaped)
        push_unescaped(L, begin, at);
    else
        lua_pushlstring(L, begin, (size_t)(at - begin));
    return true;
}

/* --- numbers and words --- */

static bool word_is(struct span word, const char *name) {
    return span_case_eq(word, span_str(name));
}

/* What the option `invalid` takes besides: pushes it, or says no. */
static bool read_odd_number(lua_State *L, struct reader *r) {
    const char *at = r->at;
    bool negative = next_is(r, '-');
    if (negative) at++;
    const char *begin = at;
    while (at < r->end && ((ascii_lower(*at) >= 'a' && ascii_lower(*at) <= 'z') ||
                           digit(at, r->end) || *at == '.'))
        at++;
    struct span word = span_of(begin, (size_t)(at - begin));
    if (word_is(word, "nan")) {
        lua_pushnumber(L, (lua_Number)NAN);
    } else if (word_is(word, "infinity") || word_is(word, "inf")) {
        lua_pushnumber(L, negative ? -HUGE_VAL : HUGE_VAL);
    } else if (word.len > 2 && word.len < 40 && begin[0] == '0' &&
               ascii_lower(begin[1]) == 'x') {
        lua_pushlstring(L, r->at, (size_t)(at - r->at));
        if (!lua_stringtonumber(L, lua_tostring(L, -1))) {
            lua_pop(L, 1);
            return false;
        }
        lua_remove(L, -2);
    } else {
        return false;
    }
    r->at = at;
    return true;
}

static bool read_number(lua_State *L, struct reader *r) {
    const char *begin = r->at, *at = begin, *end = r->end;
    bool negative = *at == '-';
    if (negative) at++;
    const char *first = at;
    uint64_t n = 0;
    for (; digit(at, end); at++) n = n * 10 + (uint64_t)(*at - '0');
    if (at == first || (*first == '0' && at - first > 1) ||
        (at < end && ascii_lower(*at) == 'x')) {
        if (r->o->invalid && read_odd_number(L, r)) return true;
        r->at = at == first ? at : begin;
        return at == first ? expected(r, "expected a digit")
                           : fail(r, begin, "a number that starts with 0");
    }
    bool integer = true;
    if (at < end && *at == '.') {
        integer = false;
        r->at = ++at;
        if (!digit(at, end)) return expected(r, "expected a digit");
        while (digit(at, end)) at++;
    }
    if (at < end && ascii_lower(*at) == 'e') {
        integer = false;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        r->at = at;
        if (!digit(at, end)) return expected(r, "expected a digit");
        while (digit(at, end)) at++;
    }
    r->at = at;
    /* nineteen digits cannot overflow n */
    if (integer && at - first <= 19 && n <= (uint64_t)INT64_MAX + negative) {
        lua_pushinteger(L, (lua_Integer)(negative ? 0 - n : n));
        return true;
    }
    if (at - begin > DECIMAL_LITERAL_MAX)
        return fail(r, begin, "a number of too many digits");
    double d = decimal_read(span_of(begin, (size_t)(at - begin)));
    if (isinf(d) && !r->o->invalid)
        return fail(r, begin, "a number that is out of range");
    lua_pushnumber(L, d);
    return true;
}

static bool take_word(struct reader *r, struct span word) {
    if ((size_t)(r->end - r->at) < word.len) return false;
    if (memcmp(r->at, word.at, word.len) != 0) return false;
    r->at += word.len;
    return true;
}

static bool read_word(lua_State *L, struct reader *r) {
    if (take_word(r, SPAN("true")))
        lua_pushboolean(L, 1);
    else if (take_word(r, SPAN("false")))
        lua_pushboolean(L, 0);
    else if (take_word(r, SPAN("null")))
        lua_pushlightuserdata(L, NULL);
    else if (!r->o->invalid || !read_odd_number(L, r))
        return expected(r, "expected a value");
    return true;
}

/* --- arrays and objects --- */

static bool read_key(lua_State *L, struct reader *r) {
    skip(r);
    if (!next_is(r, '"')) return expected(r, "expected a key in quotes");
    if (!read_string(L, r)) return false;
    skip(r);
    if (!next_is(r, ':')) return expected(r, "expected ':'");
    r->at++;
    return true;
}

static void mark_array(lua_State *L, const struct reader *r) {
    if (!r->o->array_mt) return;
    json_push_array_mt(L);
    lua_setmetatable(L, -2);
}

enum value { FAILED, COMPLETE, OPENED };

/* From the bracket on; an empty one is a complete value at once. */
static enum value open_level(lua_State *L, struct reader *r, bool array) {
    if (r->depth == r->o->depth) {
        fail(r, r->at, "nested too deep");
        return FAILED;
    }
    if (!lua_checkstack(L, LUA_MINSTACK)) {
        fail(r, r->at, "nested too deep for the Lua stack");
        return FAILED;
    }
    r->at++;
    skip(r);
    if (next_is(r, array ? ']' : '}')) {
        r->at++;
        lua_newtable(L);
        if (array) mark_array(L, r);
        return COMPLETE;
    }
    if (r->array && r->depth) lua_pushinteger(L, r->count);
    int size = r->sizes[r->depth % SIZES];
    lua_createtable(L, array ? size : 0, array ? 0 : size);
    r->array = array;
    r->count = array ? 1 : 0;
    r->depth++;
    return array || read_key(L, r) ? OPENED : FAILED;
}

/* The table on top is complete and goes into the one below. */
static void close_level(lua_State *L, struct reader *r) {
    if (r->array) mark_array(L, r);
    r->depth--;
    r->sizes[r->depth % SIZES] =
        r->count < SIZE_MOST ? (unsigned char)r->count : SIZE_MOST;
    if (r->depth == 0) return;
    r->array = lua_type(L, -2) == LUA_TNUMBER;
    r->count = r->array ? lua_tointeger(L, -2) : SIZE_MOST / 2;
    lua_rawset(L, -3);
}

static enum value read_value(lua_State *L, struct reader *r) {
    skip(r);
    bool ok;
    switch (r->at < r->end ? *r->at : '\0') {
    case '{': return open_level(L, r, false);
    case '[': return open_level(L, r, true);
    case '"': ok = read_string(L, r); break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': ok = read_number(L, r); break;
    default: ok = read_word(L, r);
    }
    return ok ? COMPLETE : FAILED;
}

static bool read_all(lua_State *L, struct reader *r) {
    for (;;) {
        enum value value = read_value(L, r);
        if (value == FAILED) return false;
        if (value == OPENED) continue;
        if (r->depth == 0) return true;
        if (r->array) {
            lua_rawseti(L, -2, r->count);
        } else {
            lua_rawset(L, -3);
            r->count++;
        }
        for (;;) {
            skip(r);
            if (next_is(r, ',')) break;
            if (!next_is(r, r->array ? ']' : '}'))
                return expected(r, r->array ? "expected ',' or ']'"
                                            : "expected ',' or '}'");
            r->at++;
            close_level(L, r);
            if (r->depth == 0) return true;
        }
        r->at++;
        if (r->array)
            r->count++;
        else if (!read_key(L, r))
            return false;
    }
}

static void push_message(lua_State *L, const struct reader *r) {
    lua_Integer line = 1, column = 1;
    for (const char *at = r->begin; at < r->where; at++) {
        column++;
        if (*at != '\n') continue;
        line++;
        column = 1;
    }
    lua_pushfstring(L, "%s", r->why);
    int parts = 2;
    if (r->name_found) {
        parts = 3;
        unsigned char c = r->where < r->end ? (unsigned char)*r->where : 0;
        if (r->where == r->end)
            lua_pushliteral(L, ", but the text ends");
        else if (c > ' ' && c < 0x7f)
            lua_pushfstring(L, ", found '%c'", c);
        else
            lua_pushfstring(L, ", found byte %d", c);
    }
    lua_pushfstring(L, " at byte %I (line %I, column %I)",
                    (LUAI_UACINT)(r->where - r->begin + 1), (LUAI_UACINT)line,
                    (LUAI_UACINT)column);
    lua_concat(L, parts);
}

bool json_read(lua_State *L, struct span text,
               const struct json_read_options *options) {
    if (!text.at) text = SPAN("");
    struct reader r = {.begin = text.at,
                       .at = text.at,
                       .end = text.at + text.len,
                       .o = options,
                       .sizes = {4, 4, 4, 4, 4, 4, 4, 4}};
    luaL_checkstack(L, LUA_MINSTACK, "no room to decode");
    int bottom = lua_gettop(L);
    if (text.len > options->size) {
        lua_pushfstring(L, "the text is longer than %I bytes",
                        (LUAI_UACINT)options->size);
        return false;
    }
    bool ok = read_all(L, &r);
    if (ok) {
        skip(&r);
        if (r.at == r.end) return true;
        ok = expected(&r, "expected nothing more");
    }
    lua_settop(L, bottom);
    push_message(L, &r);
    return ok;
}
