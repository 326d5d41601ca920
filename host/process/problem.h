/* What keeps the program from doing what it was asked: a sentence for people that names
 * the file and line, variable or option, and the exit code that belongs to it.
 * Functions of this layer that can fail take one and return 0 or -1.
 *
 * The codes are those of sysexits.h: EX_USAGE 64, EX_NOINPUT 66, EX_UNAVAILABLE 69,
 * EX_SOFTWARE 70, EX_OSERR 71, EX_NOPERM 77, EX_CONFIG 78. Any thread; each has its
 * own. */
#ifndef PROCESS_PROBLEM_H
#define PROCESS_PROBLEM_H

#include <sysexits.h>

struct problem {
    int code;
    char text[1024];
};

/* Fills p in and returns -1. */
__attribute__((format(printf, 3, 4))) int problem_set(struct problem *p, int code,
                                                      const char *format, ...);

/* Puts "WHERE: " before the text and returns -1. */
int problem_at(struct problem *p, const char *where);

/* As problem_set, with ": " and the text of a (negative) errno behind. */
__attribute__((format(printf, 4, 5))) int
problem_errno(struct problem *p, int code, int err, const char *format, ...);

/* Prints "atoll: TEXT" on stderr and returns the exit code. */
int problem_print(const struct problem *p);

#endif
