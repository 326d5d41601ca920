#include "net/reserve.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <ev.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEAST = 64 * 1024 };

static struct {
    pthread_mutex_t lock;
    void *block;
    size_t size, wanted;
} the = {.lock = PTHREAD_MUTEX_INITIALIZER, .wanted = LEAST};

static void fill(void) {
    if (the.block && the.size >= the.wanted) return;
    void *larger = malloc(the.wanted);
    if (!larger) return;
    free(the.block);
    the.block = larger;
    the.size = the.wanted;
}

/* The reserve in place of the block, if it is large enough. */
static void *spend(void *block, size_t size) {
    if (!the.block || the.size < size) return NULL;
    void *moved = the.block;
    the.block = NULL;
    if (block) {
        size_t old = malloc_usable_size(block);
        memcpy(moved, block, old < size ? old : size);
        free(block);
    }
    return moved;
}

static void *resize(void *block, long size) {
    if (size <= 0) {
        free(block);
        return NULL;
    }
    size_t n = (size_t)size;
    pthread_mutex_lock(&the.lock);
    if (the.wanted < 2 * n) the.wanted = 2 * n;
    fill();
    void *moved = realloc(block, n);
    if (!moved) {
        moved = spend(block, n);
        fill();
    }
    pthread_mutex_unlock(&the.lock);
    if (!moved) log_error("not enough memory for an event loop: the process ends");
    return moved;
}

/* libev asks again when this returns. */
static void out_of_something(const char *what) {
    const struct timespec pause = {.tv_nsec = 20000000};
    int err = errno;
    if (err != EMFILE && err != ENFILE && err != ENOMEM) {
        log_error("%s: %s: the process ends", what, err_text(-err));
        abort();
    }
    nanosleep(&pause, NULL);
}

int reserve_init(void) {
    pthread_mutex_lock(&the.lock);
    fill();
    int err = the.block ? 0 : -ENOMEM;
    if (!err) {
        ev_set_allocator(resize);
        ev_set_syserr_cb(out_of_something);
    }
    pthread_mutex_unlock(&the.lock);
    return err;
}
