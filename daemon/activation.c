#include "daemon/activation.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD 3

static const char *const known_names[] = {"native", "unix", "http"};

static bool name_is_known(const char *name)
{
    for (size_t i = 0; i < KS_COUNT_OF(known_names); i++)
        if (strcmp(known_names[i], name) == 0)
            return true;
    return false;
}

/* The i-th of "a:b:c"; what does not fit is cut, and then no known name. */
static void name_take(const char *names, unsigned index, char out[KS_ACTIVATION_NAME_BYTES])
{
    const char *p = names ? names : "";
    for (; index > 0 && *p; index--) {
        p += strcspn(p, ":");
        p += *p == ':';
    }
    size_t bytes = KS_MIN(strcspn(p, ":"), (size_t)KS_ACTIVATION_NAME_BYTES - 1);
    memcpy(out, p, bytes);
    out[bytes] = '\0';
}

static bool socket_listens(int fd)
{
    int type = 0;
    int is_listening = 0;
    socklen_t bytes = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &bytes) == 0 && is_listening;
}

enum ks_status ks_activation_take(
    const struct ks_activation_words *words, struct ks_activation *out, struct ks_error *err)
{
    memset(out, 0, sizeof(*out));
    if (!words->listen_pid || !words->listen_fds ||
        strtoull(words->listen_pid, NULL, 10) != (unsigned long long)getpid())
        return KS_OK; /* meant for somebody before us */
    unsigned long count = strtoul(words->listen_fds, NULL, 10);
    if (count > KS_ACTIVATION_SOCKETS_MAX)
        return ks_fail(err, KS_USAGE, 0, "systemd passes %lu sockets; at most %d are taken", count,
            KS_ACTIVATION_SOCKETS_MAX);
    for (unsigned i = 0; i < count; i++) {
        int fd = FIRST_FD + (int)i;
        name_take(words->listen_names, i, out->names[i]);
        if (!name_is_known(out->names[i]))
            return ks_fail(err, KS_USAGE, 0,
                "systemd passes a socket named '%s': FileDescriptorName must be native, unix or "
                "http",
                out->names[i]);
        if (!socket_listens(fd))
            return ks_fail(err, KS_USAGE, 0,
                "systemd passes a '%s' that is no listening stream socket: it needs ListenStream "
                "and Accept=no",
                out->names[i]);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        out->fds[out->count++] = fd;
    }
    return KS_OK;
}
