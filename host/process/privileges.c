#include "process/privileges.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name of digits is an id that needs no entry. */
static bool is_id(const char *text, unsigned long *id) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits]) return false;
    *id = strtoul(text, NULL, 10);
    return true;
}

/* No entry, or none to be had: that is in errno, where some systems put the former. */
static int unknown(struct problem *p, const char *what, const char *name) {
    if (errno == 0 || errno == ENOENT || errno == ESRCH)
        return problem_set(p, EX_CONFIG, "%s: there is no %s '%.100s'", what, what,
                           name);
    return problem_errno(p, EX_OSERR, errno, "%s '%.100s'", what, name);
}

static int find_user(const char *name, struct identity *who, struct problem *p) {
    unsigned long id;
    errno = 0;
    struct passwd *entry = getpwnam(name);
    if (!entry && is_id(name, &id)) {
        who->uid = (uid_t)id;
        entry = getpwuid(who->uid);
        who->gid = entry ? entry->pw_gid : (gid_t)id;
    } else if (!entry) {
        return unknown(p, "user", name);
    } else {
        who->uid = entry->pw_uid;
        who->gid = entry->pw_gid;
    }
    if (entry) snprintf(who->user, sizeof who->user, "%s", entry->pw_name);
    return 0;
}

static int find_group(const char *name, struct identity *who, struct problem *p) {
    unsigned long id;
    errno = 0;
    struct group *entry = getgrnam(name);
    if (!entry && !is_id(name, &id)) return unknown(p, "group", name);
    who->gid = entry ? entry->gr_gid : (gid_t)id;
    return 0;
}

int privileges_find(const struct settings *s, struct identity *who, struct problem *p) {
    *who = (struct identity){.uid = geteuid(), .gid = getegid()};
    if (!*s->user && !*s->group) return 0;
    if (*s->user && find_user(s->user, who, p) < 0) return -1;
    if (*s->group && find_group(s->group, who, p) < 0) return -1;
    if (geteuid() != 0) {
        /* Who is already there need not be root. */
        if (who->uid == geteuid() && who->gid == getegid()) return 0;
        return problem_set(p, EX_NOPERM, "only root can change user or group");
    }
    who->changes = true;
    return 0;
}

int privileges_own_log(const char *path, const struct identity *who) {
    static const char *const others[] = {"stderr", "stdout", "off"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(path, others[i]) == 0) return 0;
    if (!who->changes) return 0;
    int err = 0;
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    if (fd < 0) return -errno;
    /* Devices and pipes belong to others. */
    if (fstat(fd, &st) < 0 ||
        (S_ISREG(st.st_mode) && fchown(fd, who->uid, who->gid) < 0))
        err = -errno;
    fd_close(&fd);
    return err;
}

int privileges_drop(const struct identity *who, struct problem *p) {
    if (!who->changes) return 0;
    /* 1. Groups, while still root: the user's own, or none but the new one. */
    int err = *who->user ? initgroups(who->user, who->gid) : setgroups(1, &who->gid);
    /* 2. The group, real, effective and saved; then the user, which ends the right to.
     */
    if (err < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
        setresuid(who->uid, who->uid, who->uid) < 0)
        return problem_errno(p, EX_NOPERM, errno, "cannot become user %u, group %u",
                             (unsigned)who->uid, (unsigned)who->gid);
    /* 3. There is no way back. */
    if ((who->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) ||
        getuid() != who->uid || geteuid() != who->uid || getgid() != who->gid ||
        getegid() != who->gid)
        return problem_set(p, EX_NOPERM, "root privileges did not go away");
    /* 4. The change took /proc/self and core files away; there is no secret of root's
     *    in this process that its user must not see. */
    prctl(PR_SET_DUMPABLE, 1);
    return 0;
}
