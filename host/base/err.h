/* Errors as values. A function that can fail returns an int: 0, or a negative
 * errno (`-ENOENT`), or one of the codes below; results go through out-parameters. I/O
 * steps return enum io instead.
 *
 * err_name gives the stable upper-case name that Lua code compares ("ECONNREFUSED",
 * "ECLOSED"), err_text the sentence for people. Any thread. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>
#include <stddef.h>

enum {
    ERR_CLOSED = -10001,     /* the handle is closed, or its peer is gone */
    ERR_TOO_LARGE = -10002,  /* over a limit */
    ERR_SYNTAX = -10003,     /* the bytes are not what they should be */
    ERR_CANCELLED = -10004,  /* the waiting was called off */
    ERR_LUA = -10005,        /* a Lua error; the text travels beside the code */
    ERR_MEMORY = -10006,     /* Lua ran out of memory */
    ERR_NOT_FOUND = -10007,  /* no host of that name */
    ERR_TLS = -10008,        /* TLS failed; the sentence travels beside the code */
    ERR_NAMES = -10009,      /* the name servers fail: whether there is a host of that
                                name is not known */
    ERR_TRUNCATED = -10010,  /* the connection was cut off in the middle */
    ERR_WRONG_TYPE = -10011, /* the value is not of the kind that can be so used */
};

enum io { IO_OK, IO_AGAIN, IO_EOF, IO_FAIL };

/* "ETIMEDOUT"; never NULL; static storage. */
const char *err_name(int err);

/* "connection timed out"; never NULL; static storage or the thread's own. */
const char *err_text(int err);

#endif
