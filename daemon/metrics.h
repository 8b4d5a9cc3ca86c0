/*
 * /metrics: everything that is counted, as Prometheus text 0.0.4. Families stand in metrics.def;
 * values are collected when somebody asks, from counters that are there anyway.
 *
 * Threads: ks_metrics_write from any; the others main.
 */
#ifndef KS_DAEMON_METRICS_H
#define KS_DAEMON_METRICS_H

#include "base/bytes.h"
#include "daemon/log.h"
#include "daemon/server.h"
#include "storage/io.h"

#define KS_METRICS_BYTES_MAX (64u << 20)
#define KS_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct ks_metrics {
    struct ks_mutex mu;       /* KS_RANK_METRICS: held while somebody looks at server */
    struct ks_server *server; /* [mu] NULL: not serving */
    struct ks_io *io;         /* [mu] of the data directory */
    struct ks_logger *logger;
    uint64_t started_unix_ms;
};

void ks_metrics_init(struct ks_metrics *metrics, struct ks_logger *logger);
void ks_metrics_fini(struct ks_metrics *metrics);
/* The server is whole from now on, until close returns. */
void ks_metrics_open(struct ks_metrics *metrics, struct ks_server *server, struct ks_io *io);
void ks_metrics_close(struct ks_metrics *metrics);

/* The whole text; recovery_percent while not serving. False: out of memory. */
bool ks_metrics_write(
    struct ks_metrics *metrics, unsigned recovery_percent, struct ks_buf *to) KS_MUST_USE;

/* Of the process (metrics_process.c). */
struct ks_process_figures {
    uint64_t cpu_ms;
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t threads;
    uint64_t open_fds;
    uint64_t max_fds;
};
void ks_process_figures(struct ks_process_figures *out); /* what cannot be read is 0 */

#endif
