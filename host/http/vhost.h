/* Which of several apps a request is for, by the host that it names and by its path.
 *
 * Where both fit an app, the more exact host goes first, then the longer path. Pure;
 * any thread. */
#ifndef HTTP_VHOST_H
#define HTTP_VHOST_H

#include "base/span.h"

struct vhost {
    struct span host; /* lower case; "*.example.org": all below it; empty: any */
    struct span path; /* "/shop": that and all below it; empty: any */
};

/* The index of the one that fits best, or -1. authority: as a request has it, in any
 * case and with or without a port; empty when there is none. path: decoded, or "*",
 * which lies under every path. */
int vhost_find(const struct vhost *all, unsigned count, struct span authority,
               struct span path);

/* Whether s can be the host, or the path, of a vhost. */
bool vhost_host_ok(struct span s);
bool vhost_path_ok(struct span s);

#endif
