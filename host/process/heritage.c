#include "process/heritage.h"

#include <errno.h>
#include <unistd.h>

int heritage_say(const struct heritage *h, enum message_kind kind, unsigned number) {
    struct notice m = {.kind = (uint32_t)kind, .number = number};
    ssize_t n;
    do n = write(h->supervisor_pipe, &m, sizeof m);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0; /* shorter than PIPE_BUF: all or nothing */
}
