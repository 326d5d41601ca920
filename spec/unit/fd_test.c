#include "base/fd.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

static bool same_file(int a, int b) {
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

TEST(send_passes_several) {
    int before = fd_count();
    int wire[2], one[2], two[2], got[4];
    EXPECT_EQ_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, wire), 0);
    EXPECT_EQ_INT(pipe(one), 0);
    EXPECT_EQ_INT(pipe(two), 0);
    int sent[3] = {one[0], one[1], two[0]};
    EXPECT_EQ_INT(fd_send(wire[0], "hello", 5, sent, 3), 0);
    char data[16];
    size_t count = 4;
    EXPECT_EQ_INT(fd_recv(wire[1], data, sizeof data, got, &count), 5);
    EXPECT_EQ_INT(count, 3);
    EXPECT(memcmp(data, "hello", 5) == 0);
    for (size_t i = 0; i < count; i++) {
        EXPECT(got[i] != sent[i] && same_file(got[i], sent[i]));
        EXPECT(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        fd_close(&got[i]);
    }

    count = 4;
    EXPECT_EQ_INT(fd_send(wire[0], "x", 1, NULL, 0), 0);
    EXPECT_EQ_INT(fd_recv(wire[1], data, sizeof data, got, &count), 1);
    EXPECT_EQ_INT(count, 0);
    EXPECT_EQ_INT(fd_send(wire[0], "", 0, sent, 1), -EINVAL);

    fd_close(&wire[0]);
    count = 4;
    EXPECT_EQ_INT(fd_recv(wire[1], data, sizeof data, got, &count), 0);
    EXPECT_EQ_INT(fd_send(wire[1], "x", 1, sent, 1), -EPIPE);
    fd_close(&wire[1]);
    for (int i = 0; i < 2; i++) {
        fd_close(&one[i]);
        fd_close(&two[i]);
    }
    EXPECT_EQ_INT(fd_count(), before);
}

TEST(recv_closes_what_was_not_asked_for) {
    int before = fd_count();
    int wire[2], many[FD_SEND_MAX], got[8];
    EXPECT_EQ_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, wire), 0);
    for (int i = 0; i < FD_SEND_MAX; i++) many[i] = wire[0];
    EXPECT_EQ_INT(fd_send(wire[0], "x", 1, many, FD_SEND_MAX), 0);
    char data[4];
    size_t count = 8;
    EXPECT_EQ_INT(fd_recv(wire[1], data, sizeof data, got, &count), -EMSGSIZE);
    EXPECT_EQ_INT(count, 0);
    EXPECT_EQ_INT(fd_send(wire[0], "x", 1, many, FD_SEND_MAX + 1), -EINVAL);
    fd_close(&wire[0]);
    fd_close(&wire[1]);
    EXPECT_EQ_INT(fd_count(), before);
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
