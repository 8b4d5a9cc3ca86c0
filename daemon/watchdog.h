/*
 * Tells systemd that the broker lives, but only while what must not stand does its work: every
 * loop answers mail, and the committer makes turns when it has work. A loop that hangs, a deadlock
 * or a disk that does not come back thus ends in a restart, not in a broker that looks alive.
 *
 * Looked at four times in the time systemd grants; a ping that is not sent costs nothing yet.
 *
 * Threads: main.
 */
#ifndef KS_DAEMON_WATCHDOG_H
#define KS_DAEMON_WATCHDOG_H

#include "daemon/notify.h"
#include "daemon/server.h"

struct ks_watchdog {
    struct ks_notify *notify;
    const struct ks_server *server;
    const struct ks_events *events;
    uint64_t interval_ms; /* 0: nobody asks */
    uint64_t due_mono_ms;
    uint64_t committer_turns; /* as last seen */
    bool is_committer_busy;   /* as last seen */
    bool is_stuck;
};

/* usec, pid: $WATCHDOG_USEC, $WATCHDOG_PID; NULL: not there. */
void ks_watchdog_init(struct ks_watchdog *watchdog, const char *usec, const char *pid);
/* How long main may sleep: milliseconds until the next look, at most most_ms. */
int ks_watchdog_sleep_ms(const struct ks_watchdog *watchdog, uint64_t now_mono_ms, int most_ms);
/* Looks when it is time. Events: watchdog.stuck, watchdog.goes_on. */
void ks_watchdog_tick(struct ks_watchdog *watchdog, uint64_t now_mono_ms);

#endif
