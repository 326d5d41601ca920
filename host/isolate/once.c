#include "isolate/once.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct once_job {
    struct once *once;
    struct link link;
    unsigned references;
    int64_t last; /* when it was due that was claimed last */
    bool running;
    char name[];
};

void once_init(struct once *o) {
    CHECK(pthread_mutex_init(&o->lock, NULL) == 0);
    list_init(&o->jobs);
}

void once_done(struct once *o) {
    CHECK(list_empty(&o->jobs));
    pthread_mutex_destroy(&o->lock);
}

static struct once_job *find(struct once *o, const char *name) {
    for (struct link *l = o->jobs.next; l != &o->jobs; l = l->next) {
        struct once_job *j = LIST_OF(l, struct once_job, link);
        if (strcmp(j->name, name) == 0) return j;
    }
    size_t len = strlen(name) + 1;
    struct once_job *j = malloc(sizeof *j + len);
    if (!j) return NULL;
    *j = (struct once_job){.once = o, .last = INT64_MIN};
    memcpy(j->name, name, len);
    list_init(&j->link);
    list_append(&o->jobs, &j->link);
    return j;
}

struct once_job *once_ref(struct once *o, const char *name) {
    pthread_mutex_lock(&o->lock);
    struct once_job *j = find(o, name);
    if (j) j->references++;
    pthread_mutex_unlock(&o->lock);
    return j;
}

void once_unref(struct once_job *j) {
    struct once *o = j->once;
    pthread_mutex_lock(&o->lock);
    if (--j->references == 0) {
        list_unlink(&j->link);
        free(j);
    }
    pthread_mutex_unlock(&o->lock);
}

bool once_claim(struct once_job *j, int64_t due) {
    pthread_mutex_lock(&j->once->lock);
    bool mine = !j->running && due > j->last;
    if (mine) {
        j->running = true;
        j->last = due;
    }
    pthread_mutex_unlock(&j->once->lock);
    return mine;
}

void once_over(struct once_job *j) {
    pthread_mutex_lock(&j->once->lock);
    j->running = false;
    pthread_mutex_unlock(&j->once->lock);
}
