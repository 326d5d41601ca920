/* Memory and descriptors for libev, which ends the process when it does not get what it
 * asks for: its tables, which grow by doubling, and seldom. A block as large as the
 * next one may be is kept in reserve, and given away when there is no memory; it is
 * made anew when libev next asks. Untouched it is address space and nothing else.
 *
 * Only when the reserve has gone, too, does the process end, and the log says why. A
 * descriptor that is not to be had is waited for.
 * Any thread. */
#ifndef NET_RESERVE_H
#define NET_RESERVE_H

/* Before the first loop, and any number of times. 0 or a negative error. */
int reserve_init(void);

#endif
