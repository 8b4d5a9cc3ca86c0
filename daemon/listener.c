#include "daemon/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define HOST_BYTES 256

static bool split_address(const char *address, char host[HOST_BYTES], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || strlen(colon + 1) > 5 || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
        return false;
    size_t bytes = (size_t)(colon - address);
    if (address[0] == '[') {
        if (bytes < 3 || address[bytes - 1] != ']')
            return false;
        address++;
        bytes -= 2;
    }
    if (bytes >= HOST_BYTES)
        return false;
    memcpy(host, address, bytes);
    host[bytes] = '\0';
    strcpy(port, colon + 1);
    return true;
}

bool ks_listener_is_address(const char *address)
{
    char host[HOST_BYTES];
    char port[8];
    return split_address(address, host, port);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof(in));
        return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
    }
    return false;
}

static void address_to_text(int fd, char *to)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof(bound);
    char host[HOST_BYTES];
    char port[8];
    to[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) < 0 ||
        getnameinfo((struct sockaddr *)&bound, bytes, host, sizeof(host), port, sizeof(port),
            NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    snprintf(to, KS_ADDRESS_BYTES, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static enum ks_status refuse_network(
    const struct sockaddr *address, const struct ks_listen_options *options, struct ks_error *err)
{
    if (is_loopback(address) || options->is_insecure)
        return KS_OK;
    return ks_fail(err, KS_USAGE, 0,
        "%s %s would let anybody on the network read and write all streams; use a loopback "
        "address, or add "
        "--insecure if the network is trusted",
        options->flag, options->address);
}

static enum ks_status bind_to(const struct ks_listen_options *options, const struct addrinfo *info,
    int *out_fd, struct ks_error *err)
{
    enum ks_status st = refuse_network(info->ai_addr, options, err);
    if (st)
        return st;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ks_fail(err, KS_IO, errno, "cannot listen on '%s'", options->address);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    /* Two sockets may be bound to one address as long as neither listens. */
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int errnum = errno;
        close(fd);
        if (errnum == EADDRINUSE)
            return ks_fail(err, KS_IN_USE, 0,
                "cannot listen on '%s': another process does; choose another address with %s",
                options->address, options->flag);
        return ks_fail(err, KS_IO, errnum, "cannot listen on '%s'", options->address);
    }
    *out_fd = fd;
    return KS_OK;
}

enum ks_status ks_listener_bind_tcp(
    const struct ks_listen_options *options, int *out_fd, char *out_address, struct ks_error *err)
{
    char host[HOST_BYTES];
    char port[8];
    if (!split_address(options->address, host, port))
        return ks_fail(
            err, KS_USAGE, 0, "%s: '%s' is not HOST:PORT", options->flag, options->address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc)
        return ks_fail(
            err, KS_USAGE, 0, "%s: unknown host '%s': %s", options->flag, host, gai_strerror(rc));
    enum ks_status st = bind_to(options, found, out_fd, err);
    freeaddrinfo(found);
    if (!st)
        address_to_text(*out_fd, out_address);
    return st;
}

/* Something is at path: ours to replace only if it is a socket that refuses connections. */
static enum ks_status unix_clear(
    const char *path, const struct sockaddr_un *address, struct ks_error *err)
{
    struct stat stat;
    if (lstat(path, &stat) < 0)
        return errno == ENOENT ? KS_OK : ks_fail(err, KS_IO, errno, "cannot look at '%s'", path);
    if (!S_ISSOCK(stat.st_mode))
        return ks_fail(err, KS_IN_USE, 0, "'%s' exists and is not a socket", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return ks_fail(err, KS_IO, errno, "cannot look at '%s'", path);
    int rc = connect(probe, (const struct sockaddr *)address, sizeof(*address));
    int errnum = errno;
    close(probe);
    if (rc == 0 || errnum != ECONNREFUSED)
        return ks_fail(err, KS_IN_USE, 0, "another process listens on '%s'", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return ks_fail(err, KS_IO, errno, "cannot remove the stale socket '%s'", path);
    return KS_OK;
}

enum ks_status ks_listener_bind_unix(const char *path, int *out_fd, struct ks_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return ks_fail(err, KS_USAGE, 0, "--unix: '%s' is longer than %zu bytes", path,
            sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    enum ks_status st = unix_clear(path, &address, err);
    if (st)
        return st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ks_fail(err, KS_IO, errno, "cannot listen on '%s'", path);
    /* Not world-accessible for a moment even: the mask holds while bind makes the file. Before
     * threads exist. */
    mode_t mask = umask(0117);
    int rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    int errnum = errno;
    umask(mask);
    /* A socket that refuses connections is taken for a stale one, and replaced. */
    if (rc == 0 && listen(fd, BACKLOG) < 0) {
        rc = -1;
        errnum = errno;
        unlink(path);
    }
    if (rc < 0) {
        close(fd);
        if (errnum == EADDRINUSE)
            return ks_fail(err, KS_IN_USE, 0, "another process listens on '%s'", path);
        return ks_fail(err, KS_IO, errnum, "cannot listen on '%s'", path);
    }
    *out_fd = fd;
    return KS_OK;
}

enum ks_status ks_listener_adopt(
    int fd, const struct ks_listen_options *options, char *out_address, struct ks_error *err)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t bytes = sizeof(bound);
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) < 0)
        return ks_fail(
            err, KS_IO, errno, "cannot look at %s '%s'", options->flag, options->address);
    if (bound.ss_family != AF_UNIX) {
        address_to_text(fd, out_address);
        return refuse_network((const struct sockaddr *)&bound, options, err);
    }
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    memcpy(&path, &bound, KS_MIN((size_t)bytes, sizeof(path) - 1));
    snprintf(out_address, KS_ADDRESS_BYTES, "%s", path.sun_path);
    return KS_OK;
}
