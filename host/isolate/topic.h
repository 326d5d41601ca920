/* Topics: what is published to one reaches all who are subscribed at that moment, in
 * every isolate, and all of them in the same order. A bulletin is kept once, however
 * many have yet to read it, and goes with its last reader. Publishing never waits: a
 * topic has a board for each isolate, a bounded ring of what is yet to be read there.
 * Who lags behind finds the oldest gone, and is told how many.
 *
 * A topic may keep what was published last, for those who come late, or come back and
 * know what they have seen: they read that first, and then go on without a gap.
 *
 * Publishing costs one wake-up for each isolate that has subscribers, and none for one
 * that is about to look anyway. A topic lives as long as somebody holds it or is
 * subscribed. The locks are held for a few assignments for each board, and now and then
 * the growth of a ring; never while Lua runs. Any thread, unless it says the
 * subscriber's. */
#ifndef ISOLATE_TOPIC_H
#define ISOLATE_TOPIC_H

#include "base/span.h"
#include "isolate/bulletin.h"
#include "net/loop.h"

enum { TOPIC_BYTES_MAX = 16 * 1024 * 1024 }; /* on a board, if it is more than one */

struct topics;
struct topic;
struct board;
struct past;

/* The topics of a process by name. NULL without memory. */
struct topics *topics_new(void);
void topics_free(struct topics *all); /* no topic is left; NULL is none */

/* A reference to the one of that name; NULL without memory. */
struct topic *topic_open(struct topics *all, struct span name);
struct topic *topic_ref(struct topic *t);
void topic_unref(struct topic *t);
struct span topic_name(const struct topic *t);

/* From now on it keeps so many bulletins (or as many as it was told before, if that is
 * more), without cargo and TOPIC_BYTES_MAX together, and lives as long as all. 0 or
 * -ENOMEM. */
int topic_keep(struct topic *t, unsigned count);
bool topic_keeps(struct topic *t);
/* Places are of this process: elsewhere they say nothing. */
uint32_t topic_epoch(const struct topic *t);

/* To how many subscribers. The reference stays the caller's. */
size_t topic_publish(struct topic *t, struct bulletin *b);

size_t topic_count(struct topic *t); /* subscribers */

/* One who reads. All of it the subscriber's thread. */
struct subscriber {
    struct board *board;  /* NULL: not subscribed */
    struct link idle;     /* of the board's, when it has read everything */
    uint64_t next;        /* what it reads next */
    struct board *before; /* what it has brought from another thread; or NULL */
    uint64_t next_before;
    uint64_t lost; /* and not yet told */
    unsigned capacity;
    /* After subscriber_take has found nothing: there is something. May end this and
       other subscribers. */
    void (*arrived)(struct subscriber *s);
    void *user;
};

/* Reads what is published from now on, up to capacity (at least 1) behind. l: this
 * thread's. 0 or -ENOMEM. */
int topic_subscribe(struct topic *t, struct loop *l, unsigned capacity,
                    struct subscriber *s);
/* The same, and before it what the topic has kept behind that place, 0 for all. */
int topic_resume(struct topic *t, struct loop *l, unsigned capacity, uint64_t place,
                 struct subscriber *s);
void subscriber_end(struct subscriber *s); /* if it is subscribed */

/* It goes to another thread: leaves its own with all that it has yet to read, and what
 * is published on the way is kept for it, up to its capacity. Then it enters there, or
 * is ended, on whatever thread. Whoever entered takes before it waits to be told. 0 or
 * -ENOMEM, and nothing has changed. */
int subscriber_leave(struct subscriber *s);
int subscriber_enter(struct subscriber *s, struct loop *l);

/* A reference to the next one, or NULL. *missed is how many had to go before it. *last:
 * nobody else will read it on this thread. */
struct bulletin *subscriber_take(struct subscriber *s, uint64_t *missed, bool *last);

/* Yet to be read. */
size_t subscriber_count(struct subscriber *s);

#endif
