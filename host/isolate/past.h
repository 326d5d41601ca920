/* What a topic keeps of what was published to it: the last bulletins, up to a number
 * and to TOPIC_BYTES_MAX, in the order of their places.
 *
 * Those with cargo are passed over: they would keep alive what they refer to. NULL
 * stands for one that keeps nothing. Used by topic.c, under the topic's lock. */
#ifndef ISOLATE_PAST_H
#define ISOLATE_PAST_H

#include "isolate/topic.h"

/* One that keeps count (at least 1), or p grown to that; NULL without memory, when p
 * stays as it was. */
struct past *past_grow(struct past *p, unsigned count);
void past_free(struct past *p);

/* With a reference of its own. What goes for it is dropped. */
void past_put(struct past *p, struct bulletin *it, struct bulletin **dead);

unsigned past_count(const struct past *p);
struct bulletin *past_at(const struct past *p, unsigned i); /* 0: the oldest */

/* The first behind the place, or past_count; and how many behind it are gone, if that
 * can be known, as it cannot for place 0. */
unsigned past_behind(const struct past *p, uint64_t place);
uint64_t past_missed(const struct past *p, uint64_t place);

#endif
