/* Mailboxes between isolates: a port is read by the one isolate that made it and
 * written by anybody who holds a reference. A message is bytes (pack.h) and what
 * travels beside them (cargo.h). The queue is bounded, by the number of messages and by
 * their bytes: whoever finds it full waits to be told of room, first come first served,
 * so a message never overtakes one of the same sender.
 *
 * A message that comes to nothing brings back what moves: freeing it, whoever does so
 * and for whatever reason, sends it to its `reply` with what is left in it. Freeing it
 * when all was taken out of it tells who wants a receipt.
 *
 * Many messages cost the receiver one wake-up: it is posted one when the queue was
 * empty and takes all. The lock is held for a few assignments and a wake-up, never
 * while Lua runs or memory is allocated. Any thread, unless it says the receiver's. */
#ifndef ISOLATE_PORT_H
#define ISOLATE_PORT_H

#include "isolate/cargo.h"
#include "net/loop.h"

#include <pthread.h>
#include <stdatomic.h>

struct port;

enum { PORT_BYTES_MAX = 16 * 1024 * 1024 }; /* in a queue, if it is more than one */

enum message_wants { WANTS_NOTHING, WANTS_RECEIPT, WANTS_ANSWER };

/* On the heap; whoever has it owns it. */
struct message {
    struct message *next;
    struct port *reply; /* a reference, or NULL: where it comes from */
    enum message_wants wants;
    uint64_t call; /* of the asker: which question; in an answer the same */
    uint64_t home; /* of the sender: which handle its first cargo came out of */
    bool failed;   /* an answer that says that there will be none */
    unsigned cargo_count;
    struct cargo *cargo;
    size_t len;
    char bytes[];
};

/* NULL without memory. The bytes are to be written, cargo_count to be counted up. */
struct message *message_new(size_t len, unsigned cargo_count);

/* Its end, see above. Drops its cargo if that cannot go back, and tells who asked that
 * there will be no answer. NULL is fine. */
void message_free(struct message *m);

/* Its end without a word to anybody. */
void message_discard(struct message *m);

/* A sender that waits for room. On the heap, for it may be on its way to its loop when
 * nobody wants it any more. */
struct port_wait {
    struct link link; /* of the port's; under its lock */
    struct post post;
    struct port *port; /* a reference */
    struct loop *loop;
    size_t len;      /* of the message */
    bool told, used; /* of room; which port_put has taken. The waiting thread's */
    /* There is room, or the port has closed; on the waiting loop's thread. NULL when it
       was called off. */
    void (*room)(struct port_wait *w);
    void *user;
};

struct port {
    atomic_uint references;
    pthread_mutex_t lock;
    struct message *first, **last;
    unsigned count, capacity; /* messages */
    size_t bytes;             /* of these messages */
    unsigned promised;        /* rooms of those told to try again */
    size_t promised_bytes;
    struct loop *loop;   /* the receiver's; NULL when closed */
    struct link waiting; /* port_wait */
    struct link named;   /* names.c's, under its lock */
    struct post wake;
    bool woken; /* the wake-up is on its way; it holds a reference */
    /* Messages have come; on the receiver's thread, not after port_close. */
    void (*arrived)(struct port *p);
    void *user;
};

/* One reference, the receiver's; NULL without memory. capacity: at least 1. */
struct port *port_new(struct loop *receiver, unsigned capacity,
                      void (*arrived)(struct port *p), void *user);
struct port *port_ref(struct port *p);
void port_unref(struct port *p);

/* Puts m last and takes it over. 0; -EAGAIN when the queue is full or others wait, and
 * ERR_CLOSED: then m is still the caller's. w: a wait of the caller's that was told of
 * room, or NULL. */
int port_put(struct port *p, struct message *m, struct port_wait *w);

/* Puts m whatever the queue holds: an answer to who waits for it. 0 or ERR_CLOSED. */
int port_put_answer(struct port *p, struct message *m);

/* Takes back the message of that call that is to be told of at `reply`; NULL when it
 * has been taken already. */
struct message *port_withdraw(struct port *p, const struct port *reply, uint64_t call);

/* After -EAGAIN, for a message of that length: room is called once. A wait of one's
 * own; NULL without memory. */
struct port_wait *port_wait_for_room(struct port *p, size_t len, struct loop *l,
                                     void (*room)(struct port_wait *w), void *user);

/* The waiting loop's thread: calls it off, or frees it after room was called. */
void port_wait_end(struct port_wait *w);

/* The receiver's thread: the first message, or NULL. */
struct message *port_take(struct port *p);

/* The receiver's thread: no more messages; those in the queue are freed, and all who
 * wait are told. */
void port_close(struct port *p);

bool port_is_closed(struct port *p);
unsigned port_count(struct port *p);

#endif
