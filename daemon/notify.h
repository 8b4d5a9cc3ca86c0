/*
 * What systemd is told (sd_notify(3)): datagrams of NAME=value lines to the socket of
 * $NOTIFY_SOCKET. The protocol is promised to stay as it is and is a page of code, so that neither
 * the build nor the binary needs libsystemd. Without the variable nothing is sent.
 *
 * Threads: main.
 */
#ifndef KS_DAEMON_NOTIFY_H
#define KS_DAEMON_NOTIFY_H

#include "base/defs.h"

#include <sys/socket.h>
#include <sys/un.h>

#define KS_NOTIFY_BYTES_MAX 1024

struct ks_notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un address;
    socklen_t address_bytes;
    const char *told_what; /* as ks_notify_progress was last told, a literal */
    unsigned told_percent;
    uint64_t told_mono_ms;
    uint64_t begun_mono_ms; /* of told_what */
};

/* path: $NOTIFY_SOCKET, absolute or '@' for the abstract namespace; NULL or unusable: nobody
 * listens. */
void ks_notify_init(struct ks_notify *notify, const char *path);
void ks_notify_fini(struct ks_notify *notify);
/* One datagram: "READY=1\nSTATUS=...". Cut at KS_NOTIFY_BYTES_MAX; a failure is of no consequence
 * for us. */
void ks_notify_send(struct ks_notify *notify, const char *format, ...) KS_PRINTF(2, 3);
/*
 * Something that may take long goes on: "STATUS=<what>, 43 % (12 s to go)" and more time to start;
 * told when it begins, every 10 % and once a second. percent above 100: unknown.
 */
void ks_notify_progress(struct ks_notify *notify, const char *what, unsigned percent);

#endif
