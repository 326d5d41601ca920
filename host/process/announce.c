#include "process/announce.h"

#include "base/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct muster muster_of(const struct link *children) {
    struct muster m = {0};
    for (EACH_PROCESS(c, children)) {
        if (c->role != PROCESS_SERVES || !c->ready) continue;
        m.hosts++;
        m.isolates += c->isolates;
    }
    return m;
}

/* "2 isolates", "4 isolates in 2 processes" */
static char *describe(struct muster m, char *out, size_t size) {
    int n = snprintf(out, size, "%u isolate%s", m.isolates, m.isolates == 1 ? "" : "s");
    if (m.hosts > 1) snprintf(out + n, size - (size_t)n, " in %u processes", m.hosts);
    return out;
}

void announce(const struct heritage *h, struct muster m) {
    const struct listeners *all = &h->listeners;
    char *line = NULL, url[ADDR_TEXT], counts[64];
    size_t size;
    FILE *out = open_memstream(&line, &size);
    describe(m, counts, sizeof counts);
    if (!out) { /* who waits for the line need not wait in vain */
        dprintf(STDERR_FILENO, "atoll: serving %s on %s (%s, pid %ld)\n", h->app,
                all->count ? addr_url(&all->at[0].addr, "http", url) : "nothing",
                counts, (long)getpid());
        return;
    }
    const struct settings *set = h->settings;
    fputs("atoll: serving ", out);
    if (!set->app_count) fputs(h->app, out);
    for (size_t i = 0; i < set->app_count; i++) {
        const char *before = i == 0 ? "" : i + 1 < set->app_count ? ", " : " and ";
        fprintf(out, "%s%s at %s", before, set->apps[i].given, set->apps[i].name);
    }
    fputs(" on ", out);
    for (size_t i = 0; i < all->count; i++) {
        const char *before = i == 0 ? "" : i + 1 < all->count ? ", " : " and ";
        fprintf(out, "%s%s%s", before, addr_url(&all->at[i].addr, "http", url),
                all->at[i].proxy ? " (PROXY)" : "");
    }
    fprintf(out, " (%s, pid %ld)\n", counts, (long)getpid());
    if (fclose(out) == 0) fd_write_all(STDERR_FILENO, line, size);
    free(line);
}

void announce_status(const struct notify *n, struct muster m, const char *lines,
                     const char *doing) {
    char counts[64];
    notify_send(n, "%sMAINPID=%ld\nSTATUS=%s%s", lines, (long)getpid(), doing,
                describe(m, counts, sizeof counts));
}
