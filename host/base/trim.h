/* Gives freed memory back to the system. For that the whole heap is looked through,
 * which takes tens of milliseconds where 200 MB are free, and threads that want much
 * from the allocator wait meanwhile: so it is done by a thread of its own, once a
 * second at most, which ends when nobody has asked for so long.
 *
 * Asked for where much has been freed, and where a crowd has left. Any thread. */
#ifndef BASE_TRIM_H
#define BASE_TRIM_H

/* Soon; returns at once. Without a thread it is not done. */
void trim_soon(void);

/* How often it was done so far. */
unsigned trim_count(void);

#endif
