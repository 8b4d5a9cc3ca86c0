/*
 * Takes new connections on loop 0 and deals them out, one loop after the other. When descriptors
 * run out it waits a moment instead of spinning; past the limit of connections it says so and
 * closes.
 */
#ifndef KS_DAEMON_ACCEPTOR_H
#define KS_DAEMON_ACCEPTOR_H

#include "daemon/conn.h"
#include "daemon/loop.h"

#define KS_ACCEPTOR_SOCKETS_MAX 10

struct ks_acceptor {
    struct ks_loop *loops; /* all; the first one's thread accepts */
    unsigned loop_count;
    unsigned next;
    const struct ks_conn_protocol *protocol;
    unsigned socket_count;
    int sockets[KS_ACCEPTOR_SOCKETS_MAX];
    struct event events[KS_ACCEPTOR_SOCKETS_MAX];
    struct event pause_timer;
    int spare_fd; /* given up for a moment to answer a connection when descriptors have run out */
};

/* Takes the sockets. Before the loops run. Errors: KS_NO_MEMORY. */
enum ks_status ks_acceptor_init(struct ks_acceptor *acceptor, const int *sockets,
    unsigned socket_count, struct ks_error *err) KS_MUST_USE;
/* On loop 0, or when no loop runs. Idempotent. */
void ks_acceptor_close(struct ks_acceptor *acceptor);

#endif
