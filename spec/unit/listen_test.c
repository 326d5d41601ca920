/* net/listen without descriptors: who waits, who is turned away, and when it goes on.
 */
#include "net/listen.h"
#include "net/stream.h"
#include "unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LEFT = 4, CLIENTS = 12 };

struct scene {
    struct loop loop;
    struct acceptor acceptor;
    int listening, clients[CLIENTS];
    struct rlimit before;
    int accepted[CLIENTS];
    unsigned count;
};

static void acceptable(struct acceptor *l) {
    struct scene *s = l->user;
    struct sockaddr_storage peer;
    int fd;
    while ((fd = acceptor_accept(l, &peer)) >= 0) s->accepted[s->count++] = fd;
}

static int dial(int listening) {
    struct sockaddr_in to;
    socklen_t n = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (getsockname(listening, (struct sockaddr *)&to, &n) < 0 ||
                    connect(fd, (struct sockaddr *)&to, n) < 0))
        return -1;
    return fd;
}

/* Clients are waiting; the process may have LEFT descriptors more. */
static bool begin(struct scene *s) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *s = (struct scene){0};
    if (loop_init(&s->loop) != 0) return false;
    s->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(s->listening, (struct sockaddr *)&any, sizeof any) < 0 ||
        listen(s->listening, CLIENTS) < 0)
        return false;
    for (int i = 0; i < CLIENTS; i++)
        if ((s->clients[i] = dial(s->listening)) < 0) return false;
    if (acceptor_init(&s->acceptor, &s->loop, s->listening, acceptable, s) != 0)
        return false;
    s->acceptor.farewell = SPAN("no");
    acceptor_start(&s->acceptor, false);
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &s->before);
    struct rlimit few = s->before;
    few.rlim_cur = (rlim_t)next + LEFT;
    return setrlimit(RLIMIT_NOFILE, &few) == 0;
}

static void end(struct scene *s) {
    setrlimit(RLIMIT_NOFILE, &s->before);
    acceptor_done(&s->acceptor);
    for (unsigned i = 0; i < s->count; i++)
        if (s->accepted[i] >= 0) close(s->accepted[i]);
    for (int i = 0; i < CLIENTS; i++) close(s->clients[i]);
    close(s->listening);
    loop_done(&s->loop);
}

/* A slow one's timers are late, and have to wait for another look. */
static void turn(struct scene *s) {
    do {
        loop_stop(&s->loop);
        loop_run(&s->loop);
    } while (s->loop.looks);
}

/* How many have been told to go. */
static int told(const struct scene *s) {
    char text[2];
    int n = 0;
    for (int i = 0; i < CLIENTS; i++)
        n += recv(s->clients[i], text, sizeof text, MSG_DONTWAIT | MSG_PEEK) == 2;
    return n;
}

/* Without waiting for it. */
static void pass_back_off(struct scene *s) {
    s->acceptor.away_after = 0;
    timer_set(&s->loop, &s->acceptor.backoff, s->loop.now);
    turn(s);
}

TEST(goes_on_as_soon_as_a_stream_is_closed) {
    static const struct stream_user nobody;
    struct scene s;
    REQUIRE(begin(&s));
    acceptable(&s.acceptor);
    EXPECT_EQ_INT(s.count, LEFT);
    EXPECT(s.acceptor.paused);
    EXPECT_EQ_INT(told(&s), 1);
    s.acceptor.away_after = INT64_MAX; /* it is still the same tenth of a second */
    struct stream stream;
    stream_init(&stream, &s.loop, s.accepted[0], &stream_plain, &nobody);
    s.accepted[0] = -1;
    EXPECT(s.acceptor.backoff.at > s.loop.now);
    stream_done(&stream);
    EXPECT(s.acceptor.backoff.at <= s.loop.now);
    turn(&s);
    EXPECT_EQ_INT(s.count, LEFT + 1);
    EXPECT(s.acceptor.paused);
    EXPECT_EQ_INT(told(&s), 1);
    end(&s);
}

/* Not under valgrind, which keeps the limit by itself: it accepts, and then closes. */
TEST(of_the_kernels_limit_turns_away_more_each_time) {
    struct scene s;
    REQUIRE(begin(&s));
    acceptable(&s.acceptor);
    EXPECT_EQ_INT(told(&s), 1);
    pass_back_off(&s);
    EXPECT_EQ_INT(told(&s), 3);
    pass_back_off(&s);
    EXPECT_EQ_INT(told(&s), 7);
    pass_back_off(&s);
    EXPECT_EQ_INT(told(&s), CLIENTS - LEFT);
    EXPECT_EQ_INT(s.count, LEFT);
    end(&s);
}

TEST(tells_of_trouble_once) {
    static const int64_t SECOND = 1000000000;
    struct trouble t = {0};
    EXPECT(trouble_begins(&t, SECOND));
    EXPECT(!trouble_begins(&t, 30 * SECOND));
    EXPECT(trouble_ends(&t));
    EXPECT(!trouble_ends(&t));
    EXPECT(!trouble_begins(&t, 2 * SECOND));
    EXPECT(!trouble_ends(&t));
    EXPECT(trouble_begins(&t, 11 * SECOND));
}
