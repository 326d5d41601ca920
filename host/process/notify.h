/* What systemd is told of a service of Type=notify or notify-reload, over the datagram
 * socket that it names in NOTIFY_SOCKET (sd_notify(3)), without its library; and the
 * watchdog that it asks for in WATCHDOG_USEC.
 *
 * Where the environment names no socket nothing is sent, and what cannot be sent is
 * lost: the service goes on. The supervisor's thread. */
#ifndef PROCESS_NOTIFY_H
#define PROCESS_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
    bool on;
    int64_t watchdog; /* ns between two signs of life at most; 0 when none is wanted */
    char path[108];   /* with '@' at the start: of the abstract name space */
};

/* The sign of life. */
#define NOTIFY_ALIVE "WATCHDOG=1"

/* Reads the environment. A socket that cannot be used is logged. */
void notify_init(struct notify *n);

/* Lines such as "READY=1\nSTATUS=...". */
__attribute__((format(printf, 2, 3))) void notify_send(const struct notify *n,
                                                       const char *format, ...);

/* That a reload begins, which READY=1 ends: with the time, as notify-reload asks. */
void notify_reloading(const struct notify *n);

/* In the host: what it starts is not to speak for it. */
void notify_forget(void);

#endif
