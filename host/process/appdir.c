#include "process/appdir.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_absolute(const char *path, struct problem *p) {
    char *cwd = NULL, *absolute = NULL;
    if (*path == '/') {
        absolute = strdup(path);
    } else {
        cwd = getcwd(NULL, 0);
        if (!cwd) {
            problem_errno(p, EX_NOINPUT, errno, "the working directory");
            return NULL;
        }
        const char *slash = strcmp(cwd, "/") == 0 ? "" : "/";
        if (asprintf(&absolute, "%s%s%s", cwd, slash, path) < 0) absolute = NULL;
        free(cwd);
    }
    if (!absolute) problem_set(p, EX_OSERR, "out of memory");
    return absolute;
}

/* 1 when it is there and of that type, 0 when not, or a negative errno. */
static int has(const char *dir, const char *name, mode_t type) {
    char path[PATH_MAX + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) == 0) return (st.st_mode & S_IFMT) == type;
    return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

char *appdir_resolve(const char *path, struct problem *p) {
    struct stat st;
    char *dir = realpath(path, NULL);
    if (!dir || stat(dir, &st) < 0) {
        problem_errno(p, errno == EACCES ? EX_NOPERM : EX_NOINPUT, errno,
                      "no app directory '%.400s'", path);
        goto fail;
    }
    if (!S_ISDIR(st.st_mode)) {
        problem_set(p, EX_NOINPUT, "'%.400s' is not a directory", path);
        goto fail;
    }
    int app = has(dir, "app.lua", S_IFREG), routes = has(dir, "routes", S_IFDIR),
        files = has(dir, "public", S_IFDIR);
    if (app > 0 || routes > 0 || files > 0) return dir;
    int err = app < 0 ? app : routes < 0 ? routes : files;
    if (err < 0)
        problem_errno(p, err == -EACCES ? EX_NOPERM : EX_NOINPUT, err,
                      "app directory '%.400s'", path);
    else
        problem_set(p, EX_NOINPUT,
                    "'%.400s' is not an app directory: it has no app.lua, routes/ or "
                    "public/",
                    path);
fail:
    free(dir);
    return NULL;
}
