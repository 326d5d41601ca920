/* Ports by name, for all isolates of a process; commons has them. A name is its port's
 * as long as that is open; a name whose port has closed is free.
 *
 * names_forget drops those of a port. What is left of ports that were closed without it
 * is found by looking for names nearby in the table, and by every new name a bit
 * further on. Any thread; made and freed by the main thread. */
#ifndef ISOLATE_NAMES_H
#define ISOLATE_NAMES_H

#include "base/span.h"
#include "isolate/port.h"

enum {
    NAMES_LEN_MAX = 255,
    NAMES_COST = 64, /* of one, about, beside its bytes */
};

struct names;
struct alloc_tally;

/* NULL without memory. */
struct names *names_new(void);
void names_free(struct names *all); /* all ports are closed; NULL is none */

/* 0; -EEXIST when another open port has it, ERR_CLOSED when p is closed, ERR_MEMORY.
 * On the tally, unless it is NULL, are NAMES_COST bytes and those of the name, which
 * are given back with the name, or at once. */
int names_put(struct names *all, struct span name, struct port *p,
              struct alloc_tally *tally);

/* A reference to the port of that name, or NULL. */
struct port *names_find(struct names *all, struct span name);

/* p, which is closed, has no name any more. */
void names_forget(struct names *all, struct port *p);

/* Whoever has the name has it no more. */
void names_drop(struct names *all, struct span name);

#endif
