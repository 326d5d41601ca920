#include "process/sandbox.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
/* Of kernels younger than the headers. */
#define ACCESS_TRUNCATE (1ULL << 14)  /* version 3 */
#define ACCESS_IOCTL_DEV (1ULL << 15) /* version 5 */
#define SCOPE_SIGNAL (1ULL << 1)      /* version 6 */

struct ruleset {
    uint64_t fs, net, scoped;
};

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                          \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                   \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                    \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                      \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |                      \
     LANDLOCK_ACCESS_FS_REFER | ACCESS_TRUNCATE)
#define NEVER                                                                          \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                       \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | ACCESS_IOCTL_DEV)
#define OF_FILES                                                                       \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE)

/* Of these what is there. */
static const char *const readable[] = {"/usr",
                                       "/lib",
                                       "/lib64",
                                       "/etc",
                                       "/proc/self",
                                       "/sys/devices/system/cpu",
                                       "/sys/fs/cgroup",
                                       "/dev/urandom",
                                       "/dev/random",
                                       "/dev/zero",
                                       "/run/systemd/resolve",
                                       "/run/resolvconf",
                                       "/run/NetworkManager"};

struct walls {
    int ruleset;
    uint64_t handled;
    struct problem *p;
};

/* ---- files ---- */

static int allow(struct walls *w, const char *path, uint64_t access) {
    struct landlock_path_beneath_attr rule;
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC), err = 0;
    if (fd < 0 || fstat(fd, &st) < 0) err = -errno;
    if (!err) {
        if (!S_ISDIR(st.st_mode)) access &= OF_FILES;
        rule = (struct landlock_path_beneath_attr){
            .allowed_access = access & w->handled, .parent_fd = fd};
        if (syscall(SYS_landlock_add_rule, w->ruleset, LANDLOCK_RULE_PATH_BENEATH,
                    &rule, 0) < 0)
            err = -errno;
    }
    fd_close(&fd);
    return err;
}

static int must_allow(struct walls *w, const char *what, const char *path,
                      uint64_t access) {
    int err = allow(w, path, access);
    if (!err) return 0;
    return problem_errno(w->p, EX_CONFIG, err, "sandbox: %s '%.400s'", what, path);
}

/* What there need not be: whoever may not look there has nothing to lose. */
static int may_allow(struct walls *w, const char *path, uint64_t access) {
    int err = allow(w, path, access);
    if (err == -EACCES) log_warn("sandbox: '%.400s': %s", path, err_text(err));
    if (!err || err == -ENOENT || err == -ENOTDIR || err == -EACCES) return 0;
    return problem_errno(w->p, EX_OSERR, err, "sandbox: '%.400s'", path);
}

/* The directory that path is in: it may be made again under its name. */
static int allow_around(struct walls *w, const char *what, const char *path,
                        uint64_t access) {
    char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    if (!dir) return problem_set(w->p, EX_OSERR, "out of memory");
    if (slash) slash[slash == dir] = 0;
    int err = must_allow(w, what, slash ? dir : ".", access);
    free(dir);
    return err;
}

/* What path leads to; where it is a link that may be switched, its neighbours too. */
static int allow_app(struct walls *w, const char *path) {
    char *real = realpath(path, NULL);
    if (!real)
        return problem_errno(w->p, EX_CONFIG, errno, "sandbox: app '%.400s'", path);
    int err = must_allow(w, "app", path, READ);
    if (!err && strcmp(real, path) != 0) err = allow_around(w, "app", real, READ);
    free(real);
    return err;
}

static int allow_log(struct walls *w, const char *path) {
    if (strcmp(path, "stderr") == 0 || strcmp(path, "stdout") == 0 ||
        strcmp(path, "off") == 0)
        return 0;
    return allow_around(w, "log", path,
                        READ | LANDLOCK_ACCESS_FS_WRITE_FILE |
                            LANDLOCK_ACCESS_FS_MAKE_REG);
}

static int allow_all(struct walls *w, const struct heritage *h) {
    const struct settings *s = h->settings;
    const char *tmp = getenv("TMPDIR");
    int err = 0;
    for (size_t i = 0; i < sizeof readable / sizeof *readable && !err; i++)
        err = may_allow(w, readable[i], READ);
    if (!err) err = may_allow(w, "/dev/null", READ | WRITE);
    if (!err && h->app_path) err = allow_app(w, h->app_path);
    for (size_t i = 0; i < s->app_count && !err; i++)
        err = allow_app(w, s->apps[i].dir);
    if (!err && h->source->config)
        err = allow_around(w, "config", h->source->config, READ);
    if (!err) err = must_allow(w, "TMPDIR", tmp && *tmp ? tmp : "/tmp", READ | WRITE);
    if (!err) err = allow_log(w, s->log);
    if (!err) err = allow_log(w, s->access_log);
    for (size_t i = 0; i < s->sandbox_read.count && !err; i++)
        err = must_allow(w, "sandbox_read", s->sandbox_read.at[i], READ);
    for (size_t i = 0; i < s->sandbox_write.count && !err; i++)
        err = must_allow(w, "sandbox_write", s->sandbox_write.at[i], READ | WRITE);
    return err;
}

static int confine_files(const struct heritage *h, struct problem *p) {
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1 && errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM)
        return problem_errno(p, EX_OSERR, errno, "sandbox: landlock");
    if (version < 1) {
        log_warn("sandbox: this kernel has no landlock (%s): files are not confined",
                 err_text(-errno));
        return 0;
    }
    struct ruleset rules = {.fs = READ | WRITE | NEVER};
    if (version < 2) rules.fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (version < 3) rules.fs &= ~ACCESS_TRUNCATE;
    if (version < 5) rules.fs &= ~ACCESS_IOCTL_DEV;
    if (version >= 6) rules.scoped = SCOPE_SIGNAL;
    struct walls w = {.handled = rules.fs, .p = p};
    size_t size = version >= 6 ? sizeof rules : sizeof rules.fs;
    w.ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (w.ruleset < 0) return problem_errno(p, EX_OSERR, errno, "sandbox: landlock");
    int err = allow_all(&w, h);
    if (!err && syscall(SYS_landlock_restrict_self, w.ruleset, 0) < 0)
        err = problem_errno(p, EX_OSERR, errno, "sandbox: landlock");
    fd_close(&w.ruleset);
    return err;
}

/* ---- system calls ---- */

/* Refused with EPERM. What a bug in a program, a library or Lua could be used for, and
 * no handler needs. */
static const int refused[] = {SYS_execve,
                              SYS_execveat,
                              SYS_ptrace,
                              SYS_process_vm_readv,
                              SYS_process_vm_writev,
                              SYS_bpf,
                              SYS_perf_event_open,
                              SYS_userfaultfd,
                              SYS_keyctl,
                              SYS_add_key,
                              SYS_request_key,
                              SYS_unshare,
                              SYS_setns,
                              SYS_mount,
                              SYS_umount2,
                              SYS_pivot_root,
                              SYS_chroot,
                              SYS_init_module,
                              SYS_finit_module,
                              SYS_delete_module,
                              SYS_kexec_load,
                              SYS_reboot,
                              SYS_swapon,
                              SYS_swapoff,
                              SYS_open_by_handle_at,
                              SYS_personality,
                              SYS_io_uring_setup,
                              SYS_acct,
                              SYS_settimeofday,
                              SYS_clock_settime,
                              SYS_adjtimex,
                              SYS_quotactl};
enum { REFUSED = sizeof refused / sizeof *refused };

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

static int confine_calls(struct problem *p) {
#ifdef ARCH
    struct sock_filter code[REFUSED + 8];
    unsigned short n = 0;
#define LOAD(field)                                                                    \
    ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,                            \
                                  offsetof(struct seccomp_data, field)))
#define ANSWER(what) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what))
    code[n++] = LOAD(arch);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    code[n++] = ANSWER(SECCOMP_RET_ERRNO | EPERM); /* another machine's calls */
    code[n++] = LOAD(nr);
#ifdef __x86_64__
    /* The same calls once more, under other numbers (x32). */
    code[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    code[n++] = ANSWER(SECCOMP_RET_ERRNO | EPERM);
#endif
    for (int i = 0; i < REFUSED; i++) /* each jumps over the rest, and the allowance */
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                 (unsigned)refused[i],
                                                 (unsigned char)(REFUSED - i), 0);
    code[n++] = ANSWER(SECCOMP_RET_ALLOW);
    code[n++] = ANSWER(SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        if (errno != EINVAL)
            return problem_errno(p, EX_OSERR, errno, "sandbox: seccomp");
        log_warn("sandbox: this kernel has no seccomp (%s): system calls are not "
                 "confined",
                 err_text(-errno));
    }
#else
    log_warn("sandbox: system calls are not confined on this machine");
#endif
    return 0;
}

/* ---- the whole ---- */

int sandbox_privileges(const struct settings *s, struct problem *p) {
    if (s->new_privileges && !s->sandbox) return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) return 0;
    return problem_errno(p, EX_OSERR, errno, "cannot give up new privileges");
}

int sandbox_enter(const struct heritage *h, struct problem *p) {
    if (!h->settings->sandbox) return 0;
    if (confine_files(h, p) < 0) return -1;
    return confine_calls(p);
}
