/*
 * All sockets a broker listens on: those that systemd passes, by their names, and for each door
 * that none was passed for what the configuration says. They listen before a long recovery, so that
 * a taken address is known at once.
 */
#ifndef KS_DAEMON_SOCKETS_H
#define KS_DAEMON_SOCKETS_H

#include "base/events.h"
#include "daemon/activation.h"
#include "daemon/addresses.h"
#include "daemon/config.h"

struct ks_sockets {
    int native[KS_ACTIVATION_SOCKETS_MAX + 2]; /* TCP and unix */
    unsigned native_count;
    int http[KS_ACTIVATION_SOCKETS_MAX + 1];
    unsigned http_count;
    struct ks_addresses addresses; /* of each door the first */
    bool is_unix_ours;             /* the path is ours to remove */
};

/* Errors: those of listener.h. On failure what was opened stays in out, for ks_sockets_close. */
enum ks_status ks_sockets_open(const struct ks_config *config,
    const struct ks_activation *activation, const struct ks_events *events, struct ks_sockets *out,
    struct ks_error *err) KS_MUST_USE;
/* Those that nobody has taken (a taker sets the count to 0), and the path of the unix socket. */
void ks_sockets_close(struct ks_sockets *sockets);

#endif
