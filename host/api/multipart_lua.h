/* atoll.core.multipart: the bytes of a form in, its parts out, for the Lua half, which
 * reads the body and knows what is done with the parts.
 *
 * A reader is fed strings, which it keeps until they are used. The thread that the
 * state is on. */
#ifndef API_MULTIPART_LUA_H
#define API_MULTIPART_LUA_H

#include <lua.h>
#include <stdint.h>

/* What forms may have, of an app's settings. Borrowed. */
struct form_limits {
    uint32_t parts_max;
    uint32_t name_max, head_max;   /* bytes of one */
    uint64_t memory_max, part_max; /* bytes of all fields, of one part */
    const char *directory;         /* of temporary files; "" for the system's */
};

extern const struct form_limits form_limits_default;

int luaopen_atoll_core_multipart(lua_State *L);

#endif
