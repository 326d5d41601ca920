/* Keys and values of shared dictionaries on their way out of Lua and into it; for the
 * methods of shared_lua, whose first argument is the dictionary and whose second is a
 * key. Small values are copied through the C stack; what is packed or held has an owner
 * among the userdata that no error can lose.
 *
 * The thread that the state is on. */
#ifndef API_SHARED_VALUE_H
#define API_SHARED_VALUE_H

#include "base/buf.h"
#include "isolate/dict.h"

#include <lua.h>

/* Upvalues of every method: the metatable, and what shared_push_spares made. */
enum { SHARED_METATABLE = 1, SHARED_SPARES, SHARED_UPVALUES = 2 };

extern const char SHARED_HANDLE[]; /* the metatable's name */

struct shared_handle {
    struct dict *dict; /* lives longer than any state */
};

struct dict *shared_check(lua_State *L);
struct dict_key shared_check_key(lua_State *L);

/* Seconds as a time to end; nothing or nil: otherwise. */
int64_t shared_opt_end(lua_State *L, int argument, int64_t otherwise);

/* A buffer of nobody else's, on top of the stack; shared_drop_value takes it off. */
struct buf *shared_push_bytes(lua_State *L);

/* What had to be packed is in *packed, left on top as by shared_push_bytes. */
struct dict_value shared_check_value(lua_State *L, int argument, struct buf **packed);
void shared_drop_value(lua_State *L,
                       struct buf *packed); /* NULL: nothing to take off */

struct dict_value shared_check_number(lua_State *L, int argument, lua_Integer usual);

/* dict_get, or what gives a value in its way. */
typedef int shared_read_fn(struct dict *d, const struct dict_key *k, int64_t now,
                           struct dict_copy *out);

/* Pushes what it reads at the key. 0, or read's error: nothing counts on the stack. */
int shared_read(lua_State *L, shared_read_fn *read, uint64_t *version);

void shared_push_value(lua_State *L, const struct dict_value *v);

/* nil, sentence, code. wrong: what to say of a value of the wrong type. */
int shared_failed(lua_State *L, int err, const char *wrong);
int shared_done(lua_State *L, int err, const char *wrong); /* true, or that */

/* Before any of these is called: the second upvalue. */
void shared_push_spares(lua_State *L);

#endif
