#include "base/program.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int program_start(pid_t *pid, const char *path, char *const argv[], int fd, int as,
                  bool fresh) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    if (fresh) sigfillset(&defaults);
    int err = posix_spawn_file_actions_init(&files);
    if (err) return -err;
    err = posix_spawnattr_init(&attributes);
    if (err == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
        posix_spawnattr_setflags(&attributes,
                                 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        if (fd >= 0) err = posix_spawn_file_actions_adddup2(&files, fd, as);
        if (err == 0) err = posix_spawn(pid, path, &files, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return -err;
}

int program_wait(pid_t pid, int *status) {
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR) return -errno;
    return 0;
}
