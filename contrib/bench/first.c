/* first: how long a server takes from exec to its first answer.
 *
 *   first -p PORT [-c CPU] [-t PATH] -- COMMAND [ARG...]
 *
 * Starts the command on the given CPU, knocks at the port until a connection is taken,
 * asks for PATH, and prints as JSON the microseconds that passed until the first bytes
 * of the answer. Ends the command with TERM and waits for it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KNOCK_NS = 50000, PATIENCE_US = 10000000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static pid_t start(char **command, int cpu) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0) _exit(126);
    }
    execvp(command[0], command);
    _exit(127);
}

/* A connection to the port, or -1 while nobody listens. */
static int knock(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) return fd;
    close(fd);
    return -1;
}

/* *pid is 0 afterwards when the command has ended by itself. */
static int first_answer(int port, const char *path, pid_t *pid, double begin) {
    char text[1024];
    struct timespec pause = {.tv_nsec = KNOCK_NS};
    struct timeval patience = {.tv_sec = 10};
    int fd;
    while ((fd = knock(port)) < 0) {
        if (waitpid(*pid, NULL, WNOHANG) == *pid) *pid = 0;
        if (*pid == 0 || now_us() - begin > PATIENCE_US) return -1;
        nanosleep(&pause, NULL);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    int n = snprintf(text, sizeof(text),
                     "GET %.512s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path, port);
    ssize_t got = -1;
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) == n)
        got = read(fd, text, sizeof(text));
    close(fd);
    return got >= 12 && memcmp(text, "HTTP/1.1 200", 12) == 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    int port = 0, cpu = -1, option;
    const char *path = "/hello";
    while ((option = getopt(argc, argv, "+p:c:t:")) != -1) {
        if (option == 'p')
            port = atoi(optarg);
        else if (option == 'c')
            cpu = atoi(optarg);
        else if (option == 't')
            path = optarg;
    }
    if (port <= 0 || optind >= argc) {
        fprintf(stderr,
                "usage: first -p PORT [-c CPU] [-t PATH] -- COMMAND [ARG...]\n");
        return 64;
    }
    double begin = now_us();
    pid_t pid = start(argv + optind, cpu);
    if (pid < 0) return 1;
    int failed = first_answer(port, path, &pid, begin);
    double took = now_us() - begin;
    if (pid > 0) {
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    if (failed) {
        fprintf(stderr, "first: no answer from %s\n", argv[optind]);
        return 1;
    }
    printf("{\"first_us\": %.0f}\n", took);
    return 0;
}
