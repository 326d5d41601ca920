/* JSON text to a Lua value, without a tree in between: RFC 8259 and nothing more, in
 * strict UTF-8. Integers that fit are integers, other numbers doubles; null is the
 * light userdata NULL; of two equal keys the last one counts. Lone surrogates, control
 * bytes, leading zeros, a byte order mark and anything behind the value are refused.
 *
 * It nests on the Lua stack, not the C stack. An error says what was expected, at which
 * byte, line and column. Called on the thread that runs L. */
#ifndef API_JSON_READ_H
#define API_JSON_READ_H

#include "base/span.h"

#include <lua.h>

struct json_read_options {
    int depth;     /* levels at most */
    size_t size;   /* bytes of text at most */
    bool invalid;  /* takes NaN, Infinity, hexadecimal numbers and overflow */
    bool array_mt; /* gives arrays the metatable json_array_mt */
};

extern const struct json_read_options json_read_strict;

/* True and the value is pushed, or false and the message is. Raises when Lua has run
 * out of memory. The text has to stay where it is. */
bool json_read(lua_State *L, struct span text, const struct json_read_options *options);

#endif
