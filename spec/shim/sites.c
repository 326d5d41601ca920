/* Allocations and system calls that fail, by the place in the program that makes them
 * or by the function: a library that is loaded before all others (LD_PRELOAD) and
 * stands between the program, the libraries that it is linked with, and libc.
 *
 * SITES names a file of struct board, which all processes map. Every call is counted
 * for its function and for its site: the function that is called, the file that the
 * caller is in, and where in it the call returns to. The spec writes into the board, at
 * any time, which of their calls fail and how (spec/support/sites.lua for sites,
 * faults.lua for functions). A call fails only in a way in
 * which the kernel might have it fail: a file is never reset, a blocking read never
 * told to come again, and descriptors that only the program knows, eventfd and the
 * like, are left in peace. What libc does by itself is not counted. Any thread. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHORT = -1 }; /* as an error: the call does one byte only */
enum { FUNCTIONS = 120, FILES = 16, SITES = 4096, RANGES = 64, ARMS = 3 };

/* Which calls fail. */
struct arm {
    _Atomic int64_t first;  /* this one, from 1 on */
    _Atomic int64_t step;   /* and then each of so many; below 0: so many behind it */
    _Atomic int64_t error;  /* with this errno, or SHORT; 0: none fails */
    _Atomic int64_t seen;   /* calls since it was armed that might fail so */
    _Atomic int64_t failed; /* so many of them */
};

struct armed_site {
    _Atomic uint64_t key;
    struct arm arm;
};

struct function {
    char name[24];
    _Atomic int64_t calls;
    struct arm arm;
};

struct site {
    _Atomic uint64_t key;  /* function, file, offset: 8, 8 and 48 bits; 0: none yet */
    _Atomic int64_t calls; /* so far */
    _Atomic int64_t failed;
};

struct board {
    struct armed_site armed[ARMS];
    _Atomic int64_t lost; /* sites for which there was no room */
    _Atomic int64_t lock; /* for files */
    struct function functions[FUNCTIONS];
    char files[FILES][64]; /* the first is the program */
    struct site sites[SITES];
};

/* clang-format off */
#define NAMES(X) \
    X(malloc) X(calloc) X(realloc) X(aligned_alloc) X(strdup) X(strndup) \
    X(vasprintf) X(open_memstream) \
    X(setenv) \
    X(accept) X(accept4) X(access) X(bind) X(chmod) X(close) X(connect) \
    X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(eventfd) X(execv) X(fchmod) \
    X(fchown) X(fcntl) X(fdopen) X(fdopendir) X(flock) X(fopen) X(fopen64) X(fork) \
    X(freopen64) X(fstat) X(fstatat) X(fsync) X(ftruncate) X(getaddrinfo) X(getcwd) \
    X(getgrnam) X(gethostname) X(getpeername) X(getpwnam) X(getpwuid) X(getrandom) \
    X(getrlimit) X(getsockname) X(getsockopt) X(initgroups) X(ioctl) X(lchown) X(link) \
    X(listen) X(lstat) X(memfd_create) X(mkdir) X(mkstemp64) X(mmap) X(open) X(openat) \
    X(opendir) X(pipe2) X(poll) X(popen) X(posix_spawn) X(ppoll) X(prctl) X(pread) \
    X(pthread_create) X(pwrite) X(read) X(readlink) X(realpath) X(recv) X(recvfrom) \
    X(recvmsg) X(remove) X(rename) X(rmdir) X(scandir) X(sched_getaffinity) X(send) \
    X(sendfile) X(sendmsg) X(sendto) X(setgroups) X(setresgid) X(setresuid) \
    X(setrlimit) X(setsockopt) X(shutdown) X(sigaltstack) X(signalfd) X(socket) \
    X(stat) X(system) X(timerfd_create) X(timerfd_settime) X(tmpfile64) X(unlink) \
    X(unlinkat) X(waitpid) X(write) X(writev)
/* clang-format on */

#define INDEX(name) FN_##name,
enum { NAMES(INDEX) FN_landlock, FN_openat2, FN_pidfd_open, FN_syscall, COUNT };
_Static_assert((int)COUNT <= (int)FUNCTIONS, "no room for the names");

#define TEXT(name) #name,
static const char *const names[COUNT] = {NAMES(TEXT) "landlock", "openat2",
                                         "pidfd_open", "syscall"};

#define REAL(name) static __typeof__(name) *real_##name;
NAMES(REAL)
static void (*real_free)(void *);
static long (*real_syscall)(long, ...);

static struct board *board;

/* ---- who calls ---- */

static struct range {
    uintptr_t from, to, base;
    int file; /* -1: not counted */
} ranges[RANGES];
static _Atomic int range_count;
static atomic_flag scanning = ATOMIC_FLAG_INIT;

/* The number of a file in all processes. */
static int file_number(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    static const char *const quiet[] = {"libc.",      "ld-",      "libgcc",  "libasan",
                                        "libtsan",    "libubsan", "libstdc", "sites.so",
                                        "linux-vdso", "libm.",    "libdl",   "liblsan"};
    if (!*name) return 0; /* the program has no name */
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        if (strncmp(name, quiet[i], strlen(quiet[i])) == 0) return -1;
    int found = -1;
    int64_t free_lock = 0;
    /* Who has it may have been killed. */
    for (int tries = 0; tries < 10000000; tries++, free_lock = 0)
        if (atomic_compare_exchange_weak(&board->lock, &free_lock, 1)) break;
    for (int i = 1; i < FILES && found < 0; i++) {
        if (!board->files[i][0]) strncpy(board->files[i], path, 63);
        if (strncmp(board->files[i], path, 63) == 0) found = i;
    }
    board->lock = 0;
    return found;
}

static int add_range(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        uintptr_t from = info->dlpi_addr + p->p_vaddr;
        int n = range_count;
        bool known = false;
        for (int j = 0; j < n; j++) known |= ranges[j].from == from;
        if (known || n == RANGES) continue;
        ranges[n] = (struct range){from, from + p->p_memsz, info->dlpi_addr,
                                   file_number(info->dlpi_name)};
        range_count = n + 1;
    }
    return 0;
}

static const struct range *find_range(uintptr_t at) {
    for (int i = 0, n = range_count; i < n; i++)
        if (at >= ranges[i].from && at < ranges[i].to) return &ranges[i];
    return NULL;
}

static uint64_t key_of(int function, const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    const struct range *r = find_range(at);
    if (!r && !atomic_flag_test_and_set(&scanning)) {
        dl_iterate_phdr(add_range, NULL);
        atomic_flag_clear(&scanning);
        r = find_range(at);
    }
    if (!r || r->file < 0) return 0;
    return (uint64_t)(function + 1) << 56 | (uint64_t)r->file << 48 | (at - r->base);
}

static struct site *site_of(uint64_t key) {
    uint32_t at = (uint32_t)((key ^ key >> 52) * 2654435761u >> 4);
    for (int i = 0; i < SITES; i++) {
        struct site *s = &board->sites[(at + (uint32_t)i) % SITES];
        uint64_t is = s->key;
        if (!is && atomic_compare_exchange_strong(&s->key, &is, key)) return s;
        if (is == key) return s;
    }
    board->lost++;
    return NULL;
}

/* ---- what fails ---- */

/* Whether the kernel might say that of this descriptor. */
static bool may(int fd, int error) {
    struct stat st;
    if (real_fstat(fd, &st) != 0 || (st.st_mode & S_IFMT) == 0) return false;
    bool file = S_ISREG(st.st_mode);
    switch (error) {
    case EIO:
    case ENOSPC: return file;
    case SHORT: return !S_ISFIFO(st.st_mode); /* as short as that is no message */
    case EAGAIN: return !file && (real_fcntl(fd, F_GETFL) & O_NONBLOCK);
    case EPIPE:
        return fd > STDERR_FILENO && (S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode));
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOBUFS: return fd > STDERR_FILENO && S_ISSOCK(st.st_mode);
    default: return true;
    }
}

static void resolve(void);

/* How a call is to fail, or 0. */
static int meet(struct arm *a, int fd) {
    int error = (int)a->error;
    if (!error || (fd >= 0 && !may(fd, error))) return 0;
    int64_t n = ++a->seen - a->first, step = a->step;
    if (n < 0 || (step > 0 ? n % step != 0 : n > -step)) return 0;
    a->failed++;
    return error;
}

/* Counts a call; how it is to fail, or 0. fd: -1 when it is of none. */
static int fault(int function, const void *caller, int fd) {
    if (!board) return 0;
    int saved = errno;
    uint64_t key = key_of(function, caller);
    struct site *s = key ? site_of(key) : NULL;
    int error = 0;
    if (s) {
        s->calls++;
        board->functions[function].calls++;
        error = meet(&board->functions[function].arm, fd);
        for (int i = 0; i < ARMS && !error; i++)
            if (board->armed[i].key == key) error = meet(&board->armed[i].arm, fd);
        if (error) s->failed++;
    }
    errno = saved;
    return error;
}

static bool is_datagram(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return real_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type != SOCK_STREAM;
}

/* The call of n bytes as it is to be made, or false with errno. */
static bool allows(int function, const void *caller, int fd, size_t *n) {
    int error = fault(function, caller, fd);
    if (error == SHORT && *n > 1 && !is_datagram(fd)) *n = 1;
    if (error > 0) errno = error;
    return error <= 0;
}

/* Before the functions behind are known, which allocating cannot wait for: sanitizers
 * allocate when nothing can be looked up yet. Never given back. */
static alignas(16) char early[256 * 1024];
static _Atomic size_t early_used;

static void *early_block(size_t size) {
    size_t at = atomic_fetch_add(&early_used, (size + 15) & ~(size_t)15);
    return at + size <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *block) {
    return (const char *)block >= early && (const char *)block < early + sizeof early;
}

static void resolve(void) {
    static _Thread_local bool busy;
    if (busy || real_writev) return;
    busy = true;
#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name);
    *(void **)&real_free = dlsym(RTLD_NEXT, "free");
    *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
    NAMES(FIND)
    busy = false;
}

/* What the program starts is another program. */
static bool is_the_program(void) {
    char path[4096];
    ssize_t n = real_readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    const char *slash = strrchr(path, '/');
    return slash && strncmp(slash, "/atoll", 6) == 0;
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    if (!is_the_program()) return;
    const char *path = getenv("SITES");
    int fd = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    struct board *at =
        real_mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    real_close(fd);
    if (at == MAP_FAILED) return;
    for (int i = 0; i < COUNT; i++)
        snprintf(at->functions[i].name, sizeof at->functions[i].name, "%s", names[i]);
    board = at;
}

/* ---- the functions ---- */

#define HERE __builtin_return_address(0)

#define MAKES(type, failure, name, parameters, arguments)                              \
    type name parameters {                                                             \
        if (!real_##name) resolve();                                                   \
        int error = fault(FN_##name, HERE, -1);                                        \
        if (error <= 0) return real_##name arguments;                                  \
        errno = error;                                                                 \
        return failure;                                                                \
    }

#define SIMPLE(name, parameters, arguments) MAKES(int, -1, name, parameters, arguments)

/* Those that give their error. */
#define TELLS(name, parameters, arguments)                                             \
    int name parameters {                                                              \
        int error = fault(FN_##name, HERE, -1);                                        \
        return error > 0 ? error : real_##name arguments;                              \
    }

#define SIZED(name, parameters, arguments)                                             \
    ssize_t name parameters {                                                          \
        return allows(FN_##name, HERE, fd, &n) ? real_##name arguments : -1;           \
    }

/* On a descriptor, without a size. */
#define ON(name, parameters, arguments)                                                \
    int name parameters {                                                              \
        int error = fault(FN_##name, HERE, fd);                                        \
        if (error <= 0) return real_##name arguments;                                  \
        errno = error;                                                                 \
        return -1;                                                                     \
    }

#pragma GCC visibility push(default)

#define ALLOCATES(name, parameters, arguments, size)                                   \
    void *name parameters {                                                            \
        if (!real_##name) return early_block(size);                                    \
        if (fault(FN_##name, HERE, -1) > 0) {                                          \
            errno = ENOMEM;                                                            \
            return NULL;                                                               \
        }                                                                              \
        return real_##name arguments;                                                  \
    }

ALLOCATES(malloc, (size_t n), (n), n)
ALLOCATES(calloc, (size_t n, size_t each), (n, each), n *each)
ALLOCATES(aligned_alloc, (size_t to, size_t n), (to, n), n)

void *realloc(void *block, size_t n) {
    if (!real_realloc || is_early(block)) {
        void *moved = malloc(n);
        if (!moved || !block) return moved;
        size_t rest = (size_t)(early + sizeof early - (char *)block);
        return memcpy(moved, block, n < rest ? n : rest);
    }
    if (fault(FN_realloc, HERE, -1) > 0) {
        errno = ENOMEM;
        return NULL;
    }
    return real_realloc(block, n);
}

void free(void *block) {
    if (real_free && !is_early(block)) real_free(block);
}

MAKES(char *, NULL, strdup, (const char *s), (s))
MAKES(char *, NULL, strndup, (const char *s, size_t n), (s, n))
MAKES(FILE *, NULL, open_memstream, (char **at, size_t *size), (at, size))
SIMPLE(vasprintf, (char **to, const char *format, va_list list), (to, format, list))

int __asprintf_chk(char **to, int flag, const char *format, ...);
int __asprintf_chk(char **to, int flag, const char *format, ...) {
    (void)flag;
    if (fault(FN_vasprintf, HERE, -1) > 0) {
        errno = ENOMEM;
        return -1;
    }
    va_list list;
    va_start(list, format);
    int n = real_vasprintf(to, format, list);
    va_end(list);
    return n;
}

int asprintf(char **to, const char *format, ...) {
    if (fault(FN_vasprintf, HERE, -1) > 0) {
        errno = ENOMEM;
        return -1;
    }
    va_list list;
    va_start(list, format);
    int n = real_vasprintf(to, format, list);
    va_end(list);
    return n;
}

SIMPLE(setenv, (const char *name, const char *value, int over), (name, value, over))
ON(accept, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
ON(accept4, (int fd, struct sockaddr *at, socklen_t *n, int flags), (fd, at, n, flags))
SIMPLE(access, (const char *path, int mode), (path, mode))
SIMPLE(bind, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
SIMPLE(chmod, (const char *path, mode_t mode), (path, mode))
SIMPLE(connect, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
SIMPLE(epoll_create1, (int flags), (flags))
SIMPLE(epoll_wait, (int fd, struct epoll_event *list, int n, int ms), (fd, list, n, ms))
SIMPLE(eventfd, (unsigned int value, int flags), (value, flags))
SIMPLE(execv, (const char *path, char *const list[]), (path, list))
SIMPLE(fchmod, (int fd, mode_t mode), (fd, mode))
SIMPLE(fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
MAKES(FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode))
MAKES(DIR *, NULL, fdopendir, (int fd), (fd))
SIMPLE(flock, (int fd, int how), (fd, how))
MAKES(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
MAKES(FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode))
MAKES(pid_t, -1, fork, (void), ())
MAKES(FILE *, NULL, freopen64, (const char *path, const char *mode, FILE *old),
      (path, mode, old))
SIMPLE(fstat, (int fd, struct stat *st), (fd, st))
SIMPLE(fstatat, (int fd, const char *path, struct stat *st, int flags),
       (fd, path, st, flags))
SIMPLE(fsync, (int fd), (fd))
SIMPLE(ftruncate, (int fd, off_t n), (fd, n))
MAKES(char *, NULL, getcwd, (char *to, size_t n), (to, n))
MAKES(struct group *, NULL, getgrnam, (const char *name), (name))
SIMPLE(gethostname, (char *to, size_t n), (to, n))
SIMPLE(getpeername, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
MAKES(struct passwd *, NULL, getpwnam, (const char *name), (name))
MAKES(struct passwd *, NULL, getpwuid, (uid_t uid), (uid))
MAKES(ssize_t, -1, getrandom, (void *to, size_t n, unsigned flags), (to, n, flags))
SIMPLE(getrlimit, (__rlimit_resource_t what, struct rlimit *to), (what, to))
SIMPLE(getsockname, (int fd, struct sockaddr *at, socklen_t *n), (fd, at, n))
SIMPLE(getsockopt, (int fd, int level, int name, void *value, socklen_t *n),
       (fd, level, name, value, n))
SIMPLE(initgroups, (const char *user, gid_t group), (user, group))
SIMPLE(lchown, (const char *path, uid_t user, gid_t group), (path, user, group))
SIMPLE(link, (const char *from, const char *to), (from, to))
SIMPLE(listen, (int fd, int backlog), (fd, backlog))
SIMPLE(lstat, (const char *path, struct stat *st), (path, st))
SIMPLE(memfd_create, (const char *name, unsigned flags), (name, flags))
SIMPLE(mkdir, (const char *path, mode_t mode), (path, mode))
SIMPLE(mkstemp64, (char *template), (template))
MAKES(void *, MAP_FAILED, mmap, (void *at, size_t n, int p, int flags, int fd, off_t o),
      (at, n, p, flags, fd, o))
MAKES(DIR *, NULL, opendir, (const char *path), (path))
SIMPLE(pipe2, (int ends[2], int flags), (ends, flags))
SIMPLE(poll, (struct pollfd * list, nfds_t n, int ms), (list, n, ms))
MAKES(FILE *, NULL, popen, (const char *command, const char *mode), (command, mode))
SIMPLE(ppoll,
       (struct pollfd * list, nfds_t n, const struct timespec *t, const sigset_t *mask),
       (list, n, t, mask))
MAKES(ssize_t, -1, readlink, (const char *path, char *to, size_t n), (path, to, n))
MAKES(char *, NULL, realpath, (const char *path, char *to), (path, to))
MAKES(ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(remove, (const char *path), (path))
SIMPLE(rename, (const char *from, const char *to), (from, to))
SIMPLE(rmdir, (const char *path), (path))
SIMPLE(scandir,
       (const char *path, struct dirent ***to, int (*wanted)(const struct dirent *),
        int (*order)(const struct dirent **, const struct dirent **)),
       (path, to, wanted, order))
SIMPLE(sched_getaffinity, (pid_t pid, size_t n, cpu_set_t *to), (pid, n, to))
MAKES(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(setgroups, (size_t n, const gid_t *list), (n, list))
SIMPLE(setresgid, (gid_t real, gid_t now, gid_t saved), (real, now, saved))
SIMPLE(setresuid, (uid_t real, uid_t now, uid_t saved), (real, now, saved))
SIMPLE(setrlimit, (__rlimit_resource_t what, const struct rlimit *to), (what, to))
SIMPLE(setsockopt, (int fd, int level, int name, const void *value, socklen_t n),
       (fd, level, name, value, n))
SIMPLE(shutdown, (int fd, int how), (fd, how))
SIMPLE(sigaltstack, (const stack_t *new, stack_t *old), (new, old))
SIMPLE(signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
SIMPLE(socket, (int domain, int type, int protocol), (domain, type, protocol))
SIMPLE(stat, (const char *path, struct stat *st), (path, st))
SIMPLE(system, (const char *command), (command))
SIMPLE(timerfd_create, (clockid_t clock, int flags), (clock, flags))
SIMPLE(timerfd_settime,
       (int fd, int flags, const struct itimerspec *new, struct itimerspec *old),
       (fd, flags, new, old))
MAKES(FILE *, NULL, tmpfile64, (void), ())
SIMPLE(unlink, (const char *path), (path))
SIMPLE(unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
MAKES(pid_t, -1, waitpid, (pid_t pid, int *status, int options), (pid, status, options))

TELLS(pthread_create,
      (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *data),
      (thread, attr, fn, data))
TELLS(posix_spawn,
      (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
       const posix_spawnattr_t *attr, char *const list[], char *const env[]),
      (pid, path, actions, attr, list, env))

SIZED(pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
SIZED(pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at))
SIZED(read, (int fd, void *to, size_t n), (fd, to, n))
SIZED(recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags))
SIZED(recvfrom,
      (int fd, void *to, size_t n, int flags, struct sockaddr *from, socklen_t *size),
      (fd, to, n, flags, from, size))
SIZED(send, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags))
SIZED(sendfile, (int fd, int file, off_t *at, size_t n), (fd, file, at, n))
SIZED(sendto,
      (int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
       socklen_t size),
      (fd, data, n, flags, to, size))
SIZED(write, (int fd, const void *data, size_t n), (fd, data, n))

static ssize_t writev_from(const void *caller, int fd, const struct iovec *pieces,
                           int count) {
    size_t n = SIZE_MAX;
    if (!allows(FN_writev, caller, fd, &n)) return -1;
    if (n == 1 && count > 0) return real_write(fd, pieces[0].iov_base, 1);
    return real_writev(fd, pieces, count);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    return writev_from(HERE, fd, pieces, count);
}

/* Only what is added needs memory. */
int epoll_ctl(int fd, int what, int other, struct epoll_event *event) {
    int error = what == EPOLL_CTL_ADD ? fault(FN_epoll_ctl, HERE, -1) : 0;
    if (error <= 0) return real_epoll_ctl(fd, what, other, event);
    errno = error;
    return -1;
}

/* Closed it is all the same. */
int close(int fd) {
    if (!real_close) resolve();
    int error = fault(FN_close, HERE, -1), result = real_close(fd);
    if (error <= 0 || result < 0) return result;
    errno = error;
    return -1;
}

/* The error is one of libc's own numbers. */
int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **to) {
    int error = fault(FN_getaddrinfo, HERE, -1);
    if (error > 0) return error == ENOMEM ? EAI_MEMORY : EAI_AGAIN;
    return real_getaddrinfo(name, port, hints, to);
}

#define OPENS(name, parameters, last, real)                                            \
    int name parameters {                                                              \
        va_list list;                                                                  \
        va_start(list, last);                                                          \
        mode_t mode = va_arg(list, mode_t); /* rubbish unless it is needed */          \
        va_end(list);                                                                  \
        int error = fault(FN_##name, HERE, -1);                                        \
        if (error <= 0) return real;                                                   \
        errno = error;                                                                 \
        return -1;                                                                     \
    }
OPENS(open, (const char *path, int flags, ...), flags, real_open(path, flags, mode))
OPENS(openat, (int fd, const char *path, int flags, ...), flags,
      real_openat(fd, path, flags, mode))

#define CONTROLS(name, type)                                                           \
    int name(int fd, type what, ...) {                                                 \
        va_list list;                                                                  \
        va_start(list, what);                                                          \
        void *argument = va_arg(list, void *);                                         \
        va_end(list);                                                                  \
        int error = fault(FN_##name, HERE, -1);                                        \
        if (error <= 0) return real_##name(fd, what, argument);                        \
        errno = error;                                                                 \
        return -1;                                                                     \
    }
CONTROLS(fcntl, int)
CONTROLS(ioctl, unsigned long)

int prctl(int what, ...) {
    unsigned long a[4];
    va_list list;
    va_start(list, what);
    for (int i = 0; i < 4; i++) a[i] = va_arg(list, unsigned long);
    va_end(list);
    int error = fault(FN_prctl, HERE, -1);
    if (error <= 0) return real_prctl(what, a[0], a[1], a[2], a[3]);
    errno = error;
    return -1;
}

/* What these are where the compiler knows a size. */
#define CHECKED(type, name, parameters, function, real)                                \
    type name parameters;                                                              \
    type name parameters {                                                             \
        int error = fault(FN_##function, HERE, -1);                                    \
        if (error <= 0) return real;                                                   \
        errno = error;                                                                 \
        return (type)-1;                                                               \
    }
CHECKED(int, __poll_chk, (struct pollfd * list, nfds_t n, int ms, size_t size), poll,
        ((void)size, real_poll(list, n, ms)))
CHECKED(int, __ppoll_chk,
        (struct pollfd * list, nfds_t n, const struct timespec *t, const sigset_t *mask,
         size_t size),
        ppoll, ((void)size, real_ppoll(list, n, t, mask)))
CHECKED(int, __open_2, (const char *path, int flags), open, real_open(path, flags))
CHECKED(int, __openat_2, (int fd, const char *path, int flags), openat,
        real_openat(fd, path, flags))

char *__realpath_chk(const char *path, char *to, size_t size);
char *__realpath_chk(const char *path, char *to, size_t size) {
    (void)size;
    int error = fault(FN_realpath, HERE, -1);
    if (error <= 0) return real_realpath(path, to);
    errno = error;
    return NULL;
}

/* The program reads and writes by number in places. */
long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    size_t n = (size_t)a[2];
    int error = 0;
    if (!real_syscall) resolve();
    switch (number) {
    case SYS_read:
        if (!allows(FN_read, HERE, (int)a[0], &n)) return -1;
        a[2] = (long)n;
        break;
    case SYS_write:
        if (!allows(FN_write, HERE, (int)a[0], &n)) return -1;
        a[2] = (long)n;
        break;
    case SYS_writev:
        return writev_from(HERE, (int)a[0], (const struct iovec *)a[1], (int)a[2]);
    case SYS_openat2: error = fault(FN_openat2, HERE, -1); break;
    case SYS_landlock_create_ruleset:
    case SYS_landlock_add_rule:
    case SYS_landlock_restrict_self: error = fault(FN_landlock, HERE, -1); break;
    case SYS_pidfd_open: error = fault(FN_pidfd_open, HERE, -1); break;
    case SYS_futex: break; /* of sanitizers */
    default: error = fault(FN_syscall, HERE, -1);
    }
    if (error > 0) {
        errno = error;
        return -1;
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#pragma GCC visibility pop
