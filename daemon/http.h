/*
 * The HTTP door, for now three questions: GET /livez (200 while the process lives, recovery
 * included), GET /readyz (200 when requests are served, else 503 and why) and GET /metrics. A
 * thread of its own, up before anything that may take long.
 *
 * What a peer may take is bounded: connections of all peers together (one more, and the connection
 * that was served longest ago is closed), 8 KiB for the head of a request, 30 s for it to come and
 * 30 s for its answer to be read. Bodies are not read.
 */
#ifndef KS_DAEMON_HTTP_H
#define KS_DAEMON_HTTP_H

#include "base/bytes.h"
#include "base/events.h"
#include "base/status.h"

#define KS_HTTP_SOCKETS_MAX 9u

struct ks_http;

struct ks_http_options {
    const int *fds; /* listening sockets, taken in any case; one to KS_HTTP_SOCKETS_MAX */
    unsigned fd_count;
    unsigned connections_max; /* at a time, of all peers together; at least one */
    const struct ks_events *events;
    /* Any thread. True: ready; else reason says why not, one line. */
    bool (*is_ready)(void *arg, char *reason, size_t reason_bytes);
    /* The HTTP thread: the text of /metrics; false: out of memory. NULL: there is none. */
    bool (*write_metrics)(void *arg, struct ks_buf *to);
    void *arg;
};

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_http_start(const struct ks_http_options *options, struct ks_http **out_http,
    struct ks_error *err) KS_MUST_USE;
void ks_http_stop(struct ks_http *http); /* NULL is fine */

#endif
