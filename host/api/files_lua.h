/* atoll.core.files: files as what handlers return. A place is a directory that is
 * served, or the program's own files; a file is what stands in the field `file` of a
 * response object, found already or to be looked for when it is sent.
 *
 * `place(root, links, twins, index, cache, headers)` makes a place; `find(place, req,
 * skip)` gives the response with the file that a request asks for, false when the path
 * lacks its slash, true when it is a directory without an index, or nil; `file(place,
 * path)` a file to be looked for. The isolate's thread. */
#ifndef API_FILES_LUA_H
#define API_FILES_LUA_H

#include "api/response_lua.h"

int luaopen_atoll_core_files(lua_State *L);

/* Sends the response whose file is at index; true with what is to be returned in
 * *result. False when it is not to be had: the status says why. Raises. */
bool files_send(lua_State *L, struct request *r, struct answer *a, int index,
                int *result);

#endif
