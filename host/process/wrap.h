/* Text for a terminal, in lines that fit.
 *
 * Words are kept whole; a newline in the text ends a line. Any thread. */
#ifndef PROCESS_WRAP_H
#define PROCESS_WRAP_H

#include <stdio.h>

/* In lines of at most 79 columns, each beginning with prefix. */
void wrap_text(FILE *out, const char *prefix, const char *text);

#endif
