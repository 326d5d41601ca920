/* base/trim: that it is done, elsewhere, and not once for each who asks. */
#include "base/trim.h"
#include "unit.h"

#include <pthread.h>
#include <time.h>

static void *ask(void *nothing) {
    for (int i = 0; i < 1000; i++) trim_soon();
    return nothing;
}

TEST(slow_is_done_once_for_many) {
    const struct timespec moment = {.tv_nsec = 1000000};
    pthread_t threads[4];
    unsigned before = trim_count();
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, ask, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 20000 && trim_count() == before; i++) nanosleep(&moment, NULL);
    EXPECT(trim_count() > before);
    EXPECT(trim_count() < before + 10);
    /* The thread ends, and another one comes. */
    const struct timespec longer = {.tv_sec = 2, .tv_nsec = 500000000};
    nanosleep(&longer, NULL);
    before = trim_count();
    trim_soon();
    for (int i = 0; i < 20000 && trim_count() == before; i++) nanosleep(&moment, NULL);
    EXPECT(trim_count() > before);
}
