/* Broken invariants end the process: the supervisor starts another host, which
 * is better than a host that goes on with wrong state. Nothing here is for errors
 * that a client, a handler or the kernel can cause.
 *
 * Every struct that is reached through a void pointer carries a magic number first
 * (`uint32_t magic`), set by its x_new and cleared by its x_free; MAGIC_CHECK stands at
 * each cast. Any thread. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdint.h>

__attribute__((noreturn, cold)) void check_failed(const char *what, const char *file,
                                                  int line);

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (__builtin_expect(!(condition), 0))                                         \
            check_failed(#condition, __FILE__, __LINE__);                              \
    } while (0)

#define MAGIC_CHECK(object, expected) CHECK((object) && (object)->magic == (expected))

#endif
