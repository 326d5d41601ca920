/* wake: how long two threads take to wake each other, to and fro, with nothing between
 * them but an eventfd and an epoll each: the least that a call of another isolate can
 * take when both sleep. Prints "call N us", the mean of half a second. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct side {
    int event, epoll;
};

static struct side here, there;

static void make(struct side *s) {
    s->event = eventfd(0, EFD_NONBLOCK);
    s->epoll = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    if (s->event < 0 || s->epoll < 0 ||
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->event, &e) < 0) {
        perror("wake");
        exit(1);
    }
}

static uint64_t await(struct side *s) {
    struct epoll_event e;
    uint64_t value = 0;
    while (read(s->event, &value, sizeof value) < 0) epoll_wait(s->epoll, &e, 1, -1);
    return value;
}

static void wake(struct side *s, uint64_t value) {
    if (write(s->event, &value, sizeof value) < 0) exit(1);
}

static void *answer(void *unused) {
    (void)unused;
    while (await(&there) == 1) wake(&here, 1);
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void) {
    make(&here);
    make(&there);
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer, NULL)) return 1;
    double began = now();
    int count = 0;
    for (; now() < began + 0.5; count++) {
        wake(&there, 1);
        await(&here);
    }
    printf("call %.1f us\n", (now() - began) / count * 1e6);
    wake(&there, 2);
    return pthread_join(thread, NULL);
}
