/*
 * Sockets that systemd has opened for us (sd_listen_fds(3)): $LISTEN_FDS of them from descriptor 3
 * on, named by $LISTEN_FDNAMES, if $LISTEN_PID is us. Clients then wait in their queue while we
 * start, and ports below 1024 need no privilege.
 */
#ifndef KS_DAEMON_ACTIVATION_H
#define KS_DAEMON_ACTIVATION_H

#include "base/status.h"

#define KS_ACTIVATION_SOCKETS_MAX 8
#define KS_ACTIVATION_NAME_BYTES 16

struct ks_activation {
    unsigned count;
    int fds[KS_ACTIVATION_SOCKETS_MAX];
    char names[KS_ACTIVATION_SOCKETS_MAX][KS_ACTIVATION_NAME_BYTES];
};

/* The environment's words; NULL: not there. */
struct ks_activation_words {
    const char *listen_pid;
    const char *listen_fds;
    const char *listen_names;
};

/*
 * Takes what is meant for this process: stream sockets that listen, named native, unix or http.
 * Errors: KS_USAGE anything else; nothing is closed.
 */
enum ks_status ks_activation_take(const struct ks_activation_words *words,
    struct ks_activation *out, struct ks_error *err) KS_MUST_USE;

#endif
