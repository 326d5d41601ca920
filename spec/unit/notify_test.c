#include "process/notify.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket bound to the name, which is of the abstract name space with a '@'. */
static int listen_at(const char *name) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    memcpy(to.sun_path, name, len);
    if (*name == '@') to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    EXPECT_EQ_INT(bind(fd, (struct sockaddr *)&to,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                  0);
    return fd;
}

static void expect_told(int fd, const char *text) {
    char got[600] = "";
    EXPECT_EQ_INT(recv(fd, got, sizeof got - 1, 0), (long long)strlen(text));
    EXPECT(strcmp(got, text) == 0);
}

static void tell_at(const char *name) {
    struct notify n;
    int fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init(&n);
    EXPECT(n.on);
    notify_send(&n, "READY=1\nMAINPID=%d", 42);
    expect_told(fd, "READY=1\nMAINPID=42");
    close(fd);
    if (*name == '/') unlink(name);
    notify_forget();
}

TEST(notify_reaches_a_path_and_an_abstract_name) {
    char name[100];
    snprintf(name, sizeof name, "/tmp/atoll-notify-%ld", (long)getpid());
    tell_at(name);
    snprintf(name, sizeof name, "@atoll-notify-%ld", (long)getpid());
    tell_at(name);
}

TEST(notify_is_silent_without_a_socket) {
    struct notify n;
    notify_forget();
    notify_init(&n);
    EXPECT(!n.on);
    notify_send(&n, "READY=1");
    EXPECT(!n.watchdog);
}

TEST(notify_reads_the_watchdog_meant_for_this_process) {
    struct notify n;
    char pid[16];
    setenv("NOTIFY_SOCKET", "@nobody", 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    notify_init(&n);
    EXPECT_EQ_INT(n.watchdog, 2000000000);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    notify_init(&n);
    EXPECT_EQ_INT(n.watchdog, 2000000000);
    setenv("WATCHDOG_PID", "1", 1);
    notify_init(&n);
    EXPECT_EQ_INT(n.watchdog, 0);
    notify_forget();
    EXPECT(!getenv("WATCHDOG_USEC"));
}
