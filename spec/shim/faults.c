/* System calls that fail, for specs: a library that is loaded before all others
 * (LD_PRELOAD) and stands between the program, its libraries and libc.
 *
 * FAULTS names a file of struct counter, one for each function in `names`, which all
 * processes map. A counter says how often the function was called; the spec writes
 * into it, at any time, which of the calls fail and how (spec/support/faults.lua).
 * Calls on descriptors that only the program itself knows, eventfd and the like, are
 * left in peace, and so are stdin, stdout and stderr. Any thread. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORT = -1 }; /* as an error: the call does one byte only */

struct counter {
    char name[24];
    _Atomic int64_t calls;  /* so far */
    _Atomic int64_t failed; /* so many of them */
    _Atomic int64_t first;  /* this one fails, from 1 on */
    _Atomic int64_t step;   /* and then each of so many; 0: no other */
    _Atomic int64_t error;  /* with this errno, or SHORT; 0: none fails */
};

/* clang-format off */
#define NAMES(X) \
    X(socket) X(connect) X(bind) X(listen) X(accept) X(accept4) X(shutdown) \
    X(getsockname) X(getpeername) X(getsockopt) X(setsockopt) \
    X(send) X(sendto) X(sendmsg) X(recv) X(recvfrom) X(recvmsg) \
    X(read) X(write) X(writev) X(pread) X(pwrite) X(open) X(openat) X(fcntl) \
    X(poll) X(epoll_create1) X(epoll_ctl) X(epoll_wait) \
    X(eventfd) X(timerfd_create) X(pipe2) X(pthread_create) X(sendfile) X(stat)
/* clang-format on */

#define INDEX(name) FAULT_##name,
enum { NAMES(INDEX) FAULT_openat2, COUNT };

#define TEXT(name) #name,
static const char *const names[COUNT] = {NAMES(TEXT) "openat2"};

static struct counter own[COUNT];
static struct counter *counters = own;

#define REAL(name) static __typeof__(name) *real_##name;
NAMES(REAL)
static long (*real_syscall)(long, ...);

/* Also from where the first call comes, which may be before libraries are begun. */
static void resolve(void) {
#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name);
    NAMES(FIND)
    *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    const char *path = getenv("FAULTS");
    int fd = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return;
    counters = at;
    for (int i = 0; i < COUNT; i++)
        snprintf(counters[i].name, sizeof counters[i].name, "%s", names[i]);
}

/* Counts a call; how it is to fail, or 0. */
static int fault(int which) {
    if (!real_socket) resolve();
    struct counter *c = &counters[which];
    int64_t n = ++c->calls - c->first, step = c->step;
    int error = (int)c->error;
    if (!error || (step > 0 ? n < 0 || n % step != 0 : n != 0)) return 0;
    c->failed++;
    return error;
}

static bool is_spared(int fd) {
    struct stat st;
    return fd <= STDERR_FILENO || fstat(fd, &st) != 0 || (st.st_mode & S_IFMT) == 0;
}

static int fault_on(int which, int fd) {
    if (!real_socket) resolve();
    return is_spared(fd) ? 0 : fault(which);
}

static bool is_datagram(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return real_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type != SOCK_STREAM;
}

/* The call of n bytes as it is to be made, or -1 with errno. */
static bool allows(int which, int fd, size_t *n) {
    int error = fault_on(which, fd);
    if (error == SHORT && *n > 1 && !is_datagram(fd)) *n = 1;
    if (error > 0) errno = error;
    return error <= 0;
}

#define SIMPLE(type, name, parameters, arguments)                                      \
    type name parameters {                                                             \
        int error = fault(FAULT_##name);                                               \
        if (error <= 0) return real_##name arguments;                                  \
        errno = error;                                                                 \
        return -1;                                                                     \
    }

#define SIZED(type, name, parameters, arguments)                                       \
    type name parameters {                                                             \
        return allows(FAULT_##name, fd, &n) ? real_##name arguments : -1;              \
    }

#pragma GCC visibility push(default)

SIMPLE(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
SIMPLE(int, connect, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
SIMPLE(int, bind, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
SIMPLE(int, listen, (int fd, int backlog), (fd, backlog))
SIMPLE(int, accept, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
SIMPLE(int, accept4, (int fd, struct sockaddr *at, socklen_t *n, int flags),
       (fd, at, n, flags))
SIMPLE(int, shutdown, (int fd, int how), (fd, how))
SIMPLE(int, getsockname, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
SIMPLE(int, getpeername, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
SIMPLE(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *n),
       (fd, level, name, value, n))
SIMPLE(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n),
       (fd, level, name, value, n))
SIMPLE(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(int, poll, (struct pollfd * list, nfds_t n, int ms), (list, n, ms))
/* What poll is where the compiler knows the list's size. */
int __poll_chk(struct pollfd *list, nfds_t n, int ms, size_t size);
int __poll_chk(struct pollfd *list, nfds_t n, int ms, size_t size) {
    if (n * sizeof *list > size) abort();
    return poll(list, n, ms);
}

SIMPLE(int, epoll_create1, (int flags), (flags))
SIMPLE(int, epoll_ctl, (int fd, int what, int other, struct epoll_event *event),
       (fd, what, other, event))
SIMPLE(int, epoll_wait, (int fd, struct epoll_event *list, int n, int ms),
       (fd, list, n, ms))
SIMPLE(int, stat, (const char *path, struct stat *st), (path, st))
SIMPLE(int, eventfd, (unsigned int value, int flags), (value, flags))
SIMPLE(int, timerfd_create, (clockid_t clock, int flags), (clock, flags))
SIMPLE(int, pipe2, (int ends[2], int flags), (ends, flags))

SIZED(ssize_t, send, (int fd, const void *data, size_t n, int flags),
      (fd, data, n, flags))
SIZED(ssize_t, sendto,
      (int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
       socklen_t size),
      (fd, data, n, flags, to, size))
SIZED(ssize_t, recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags))
SIZED(ssize_t, recvfrom,
      (int fd, void *to, size_t n, int flags, struct sockaddr *from, socklen_t *size),
      (fd, to, n, flags, from, size))
SIZED(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n))
SIZED(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
SIZED(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
SIZED(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at),
      (fd, data, n, at))

ssize_t sendfile(int fd, int file, off_t *at, size_t n) {
    return allows(FAULT_sendfile, fd, &n) ? real_sendfile(fd, file, at, n) : -1;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    size_t n = SIZE_MAX;
    if (!allows(FAULT_writev, fd, &n)) return -1;
    if (n == 1 && count > 0) return real_write(fd, pieces[0].iov_base, 1);
    return real_writev(fd, pieces, count);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t); /* rubbish unless it is needed */
    va_end(list);
    int error = fault(FAULT_open);
    if (error <= 0) return real_open(path, flags, mode);
    errno = error;
    return -1;
}

int openat(int fd, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    int error = fault(FAULT_openat);
    if (error <= 0) return real_openat(fd, path, flags, mode);
    errno = error;
    return -1;
}

int fcntl(int fd, int what, ...) {
    va_list list;
    va_start(list, what);
    void *argument = va_arg(list, void *);
    va_end(list);
    int error = fault(FAULT_fcntl);
    if (error <= 0) return real_fcntl(fd, what, argument);
    errno = error;
    return -1;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                   void *argument) {
    int error = fault(FAULT_pthread_create);
    return error > 0 ? error : real_pthread_create(thread, attr, fn, argument);
}

/* The program reads and writes by number in places. */
long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    size_t n = (size_t)a[2];
    switch (number) {
    case SYS_read:
        if (!allows(FAULT_read, (int)a[0], &n)) return -1;
        a[2] = (long)n;
        break;
    case SYS_write:
        if (!allows(FAULT_write, (int)a[0], &n)) return -1;
        a[2] = (long)n;
        break;
    case SYS_openat2: {
        int error = fault(FAULT_openat2);
        if (error <= 0) break;
        errno = error;
        return -1;
    }
    case SYS_writev: return writev((int)a[0], (const struct iovec *)a[1], (int)a[2]);
    default:;
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#pragma GCC visibility pop
