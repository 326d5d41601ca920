#include "base/fd.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

TEST(flags_are_set_and_cleared) {
    int pair[2];
    EXPECT_EQ_INT(pipe(pair), 0);
    EXPECT_EQ_INT(fd_cloexec(pair[0], true), 0);
    EXPECT(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ_INT(fd_cloexec(pair[0], false), 0);
    EXPECT(!(fcntl(pair[0], F_GETFD) & FD_CLOEXEC));
    EXPECT_EQ_INT(fd_nonblock(pair[1], true), 0);
    EXPECT_EQ_INT(fcntl(pair[1], F_GETFL), O_WRONLY | O_NONBLOCK);
    EXPECT_EQ_INT(fd_nonblock(pair[1], false), 0);
    EXPECT_EQ_INT(fcntl(pair[1], F_GETFL), O_WRONLY);
    EXPECT_EQ_INT(fd_nonblock(-1, true), -EBADF);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

TEST(dup_is_cloexec_and_beyond_the_standard_streams) {
    int pair[2];
    EXPECT_EQ_INT(pipe(pair), 0);
    int copy = fd_dup(pair[0]);
    EXPECT(copy >= 3);
    EXPECT(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    fd_close(&copy);
    EXPECT_EQ_INT(copy, -1);
    fd_close(&copy);
    EXPECT_EQ_INT(fd_dup(-1), -EBADF);
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

TEST(close_keeps_errno) {
    int bad = 100000;
    errno = ENOENT;
    fd_close(&bad);
    EXPECT_EQ_INT(errno, ENOENT);
}

enum { MUCH = 1 << 20 };

static void *read_much(void *argument) {
    int fd = *(int *)argument;
    size_t total = 0;
    char data[65536];
    for (ssize_t n; (n = read(fd, data, sizeof data)) > 0;) total += (size_t)n;
    return (void *)total;
}

TEST(write_all_waits_for_a_slow_reader) {
    int pair[2];
    EXPECT_EQ_INT(pipe2(pair, O_CLOEXEC), 0);
    EXPECT_EQ_INT(fd_nonblock(pair[1], true), 0);
    pthread_t reader;
    EXPECT_EQ_INT(pthread_create(&reader, NULL, read_much, &pair[0]), 0);
    static const char data[MUCH];
    EXPECT_EQ_INT(fd_write_all(pair[1], data, sizeof data), 0);
    fd_close(&pair[1]);
    void *total;
    pthread_join(reader, &total);
    EXPECT_EQ_INT((size_t)total, MUCH);
    fd_close(&pair[0]);
    EXPECT_EQ_INT(fd_write_all(-1, "x", 1), -EBADF);
}
