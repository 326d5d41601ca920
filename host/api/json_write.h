/* A Lua value as JSON text (RFC 8259), appended to a buffer without a tree or a string
 * in between. Integers stay integers; a double gets the fewest digits that read back as
 * it. Strings are UTF-8 or refused. A table is an array when its keys are 1..n (holes
 * become null within the limits of sparse_*) or its metatable is json_array_mt, else an
 * object with its keys in the order of `next`. No metamethod is called and no Lua code
 * runs (but finalizers, where memory is short; then out is as it was), so the caller's
 * buffer is safe from everybody while it is written.
 *
 * It walks with the Lua stack, not the C stack, three slots for each level. Called on
 * the thread that runs L. */
#ifndef API_JSON_WRITE_H
#define API_JSON_WRITE_H

#include "base/buf.h"

#include <lua.h>

enum json_invalid { JSON_REFUSED, JSON_AS_IS, JSON_AS_NULL };

struct json_write_options {
    int depth;           /* levels at most */
    size_t size;         /* bytes at most */
    int sparse_ratio;    /* an array above sparse_safe has at most so many places */
    int sparse_safe;     /* for each item; ratio 0: no such limit */
    bool sparse_convert; /* a sparser one is an object, else an error */
    int digits;          /* significant ones of a double; 0: as many as it takes */
    enum json_invalid invalid; /* NaN and the infinities */
    bool point;                /* 1.0 is "1.0", else "1" */
    bool escape_slash;
    bool empty_array; /* {} is "[]" */
    bool mixed;       /* number keys in an object are written as text, else an error */
};

extern const struct json_write_options json_write_strict;

/* The metatables that make a table an array: always, and when it is empty. */
void json_push_array_mt(lua_State *L);
void json_push_empty_array_mt(lua_State *L);

/* The light userdata that is written as "[]". The one that is NULL is null. */
void *json_empty_array(void);

/* True and the text is behind what out held; false, out is as it was and a message is
 * pushed, which names the place in the value. Raises only when there is no memory, also
 * for the text itself; first garbage is collected for it. out is not to be what Lua
 * code can reach. */
bool json_write(lua_State *L, int index, struct buf *out,
                const struct json_write_options *options);

#endif
