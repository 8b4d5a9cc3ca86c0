#include "daemon/acceptor.h"

#include "base/alloc.h"
#include "daemon/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100

/* A new socket on its way to its loop. */
struct arrival {
    struct ks_mail mail;
    struct ks_loop *loop;
    const struct ks_conn_protocol *protocol;
    int fd;
    char peer[64];
};

static void arrival_delivered(struct ks_mail *mail)
{
    struct arrival *arrival = KS_CONTAINER_OF(mail, struct arrival, mail);
    struct ks_loop *loop = arrival->loop;
    struct ks_conn *conn;
    struct ks_error error = KS_ERROR_INIT;
    if (loop->is_stopping) {
        close(arrival->fd);
        atomic_fetch_sub(&loop->shared->connections, 1);
    } else if (ks_conn_open(loop, arrival->fd, arrival->protocol, arrival->peer, &conn, &error)) {
        ks_emit(
            loop->shared->events, KS_LEVEL_WARNING, "connection.refused", "why=\"%s\"", error.text);
    }
    ks_free(arrival);
}

static void peer_to_text(int fd, const struct sockaddr_storage *address, char peer[64])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
        snprintf(peer, 64, "%s:%u", host, ntohs(in.sin_port));
    } else if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof(in));
        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof(host));
        snprintf(peer, 64, "[%s]:%u", host, ntohs(in.sin6_port));
    } else {
        struct ucred who = {0};
        socklen_t bytes = sizeof(who);
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes);
        snprintf(peer, 64, "unix:pid=%d,uid=%u", (int)who.pid, who.uid);
    }
}

static void acceptor_deal(
    struct ks_acceptor *acceptor, int fd, const struct sockaddr_storage *address)
{
    struct ks_loop_shared *shared = acceptor->loops[0].shared;
    /* Counted here, not when its loop opens it: a burst is dealt out before any of it is opened. */
    uint64_t wanted = shared->live->limits_connections;
    uint64_t limit = ks_min_u64(wanted, shared->connections_max);
    if (atomic_fetch_add(&shared->connections, 1) >= limit) {
        ks_emit(shared->events, KS_LEVEL_WARNING, "connection.refused", "why=\"%s\" limit=%llu",
            limit == wanted ? "limits.connections is reached"
                            : "open files are limited, raise LimitNOFILE or ulimit -Hn",
            (unsigned long long)limit);
        atomic_fetch_add(&shared->refused, 1);
        atomic_fetch_sub(&shared->connections, 1);
        close(fd);
        return;
    }
    struct arrival *arrival = ks_zalloc(sizeof(*arrival));
    if (!arrival) {
        atomic_fetch_add(&shared->refused, 1);
        atomic_fetch_sub(&shared->connections, 1);
        close(fd);
        return;
    }
    int yes = 1;
    if (address->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    peer_to_text(fd, address, arrival->peer);
    arrival->fd = fd;
    arrival->protocol = acceptor->protocol;
    arrival->loop = &acceptor->loops[acceptor->next++ % acceptor->loop_count];
    arrival->mail.deliver = arrival_delivered;
    atomic_fetch_add(&shared->accepted, 1);
    ks_mailbox_send(&arrival->loop->mailbox, &arrival->mail);
}

static void acceptor_pause(struct ks_acceptor *acceptor)
{
    struct timeval pause = {.tv_usec = PAUSE_MS * 1000};
    for (unsigned i = 0; i < acceptor->socket_count; i++)
        event_del(&acceptor->events[i]);
    event_add(&acceptor->pause_timer, &pause);
}

static void acceptor_resume(evutil_socket_t fd, short what, void *arg)
{
    struct ks_acceptor *acceptor = arg;
    (void)fd, (void)what;
    for (unsigned i = 0; i < acceptor->socket_count; i++)
        event_add(&acceptor->events[i], NULL);
}

/* Out of descriptors: the spare one takes the first connection and closes it, so that the client is
 * not left hanging. */
static void acceptor_shed(struct ks_acceptor *acceptor, int socket)
{
    ks_emit(acceptor->loops[0].shared->events, KS_LEVEL_ERROR, "connection.no_descriptors",
        "text=\"raise LimitNOFILE or ulimit -n\"");
    if (acceptor->spare_fd >= 0) {
        close(acceptor->spare_fd);
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            atomic_fetch_add(&acceptor->loops[0].shared->refused, 1);
            close(fd);
        }
        acceptor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    acceptor_pause(acceptor);
}

static void acceptor_ready(evutil_socket_t socket, short what, void *arg)
{
    struct ks_acceptor *acceptor = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address = {.ss_family = AF_UNIX};
        socklen_t bytes = sizeof(address);
        int fd = accept4(socket, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            acceptor_deal(acceptor, fd, &address);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            acceptor_shed(acceptor, socket);
        return;
    }
}

static void acceptor_stop(struct ks_loop *loop)
{
    /* Loop 0 only: its on_stop is set by ks_acceptor_init. */
    struct ks_acceptor *acceptor = loop->acceptor;
    if (acceptor)
        ks_acceptor_close(acceptor);
}

enum ks_status ks_acceptor_init(
    struct ks_acceptor *acceptor, const int *sockets, unsigned socket_count, struct ks_error *err)
{
    struct ks_loop *loop = &acceptor->loops[0];
    KS_ASSERT(socket_count <= KS_ACCEPTOR_SOCKETS_MAX);
    acceptor->next = 0;
    acceptor->socket_count = socket_count;
    acceptor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    event_assign(&acceptor->pause_timer, loop->base, -1, 0, acceptor_resume, acceptor);
    loop->acceptor = acceptor;
    loop->on_stop = acceptor_stop;
    for (unsigned i = 0; i < socket_count; i++) {
        acceptor->sockets[i] = sockets[i];
        event_assign(&acceptor->events[i], loop->base, sockets[i], EV_READ | EV_PERSIST,
            acceptor_ready, acceptor);
    }
    for (unsigned i = 0; i < socket_count; i++)
        if (event_add(&acceptor->events[i], NULL) < 0) {
            ks_acceptor_close(acceptor);
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot watch a listening socket");
        }
    return KS_OK;
}

void ks_acceptor_close(struct ks_acceptor *acceptor)
{
    for (unsigned i = 0; i < acceptor->socket_count; i++) {
        event_del(&acceptor->events[i]);
        close(acceptor->sockets[i]);
    }
    if (acceptor->socket_count > 0)
        event_del(&acceptor->pause_timer);
    acceptor->socket_count = 0;
    if (acceptor->spare_fd >= 0)
        close(acceptor->spare_fd);
    acceptor->spare_fd = -1;
}
