/* Values as bytes, to leave one Lua state and arrive in another: nil, booleans,
 * integers, floats, strings, and tables of such with cycles and shared references kept.
 * Metatables stay behind. What travels beside the bytes (cargo.h) is numbered in them.
 *
 * What cannot be sent is named by its path ("state.users[3].fn: a function cannot be
 * sent"). Reading believes nothing: any bytes give a value or an error. The thread that
 * the state is on. */
#ifndef ISOLATE_PACK_H
#define ISOLATE_PACK_H

#include "base/buf.h"
#include "isolate/cargo.h"

#include <lua.h>

enum { PACK_DEPTH_MAX = 100, PACK_SIZE_MAX = 64 * 1024 * 1024 };

/* Appends the value at index to *out, which the caller owns: it must survive a raise.
 * 0; raises when the value cannot be sent. */
int pack_write(lua_State *L, int index, struct buf *out);

/* The same; name stands for the value in errors ("state"; otherwise "value"). */
int pack_write_named(lua_State *L, int index, const char *name, struct buf *out);

/* The same; userdata that may travel, or are over, are put into the table at index
 * list, from 1, and counted. */
int pack_write_cargo(lua_State *L, int index, struct buf *out, int list,
                     unsigned *count);

/* True when bytes hold a string: *text is it, within them. */
bool pack_is_string(struct span bytes, struct span *text);

enum { PACK_TEXT_HEAD = 11 };

/* Writes to `to` what a string of that length begins with, at most PACK_TEXT_HEAD bytes
 * (how many is returned); its bytes follow. */
size_t pack_text_head(size_t len, char to[PACK_TEXT_HEAD]);

/* Pushes the value that bytes hold, exactly; returns 1 or raises. */
int pack_read(lua_State *L, struct span bytes);

/* The same; what is put into handles of the state leaves NULL behind as its core, and
 * that is all of it, or, when this raises, nothing. l: cargo.h. */
int pack_read_cargo(lua_State *L, struct span bytes, struct cargo *cargo,
                    unsigned count, struct loop *l);

#endif
