/*
 * kstream-bench, inside. A run connects, works through a warm-up that is not counted, then through
 * the window that is; it has a result only if everything that was sent was answered and everything
 * that was read was intact. Written on the public header of libkstream alone.
 */
#ifndef KS_TOOLS_BENCH_H
#define KS_TOOLS_BENCH_H

#include "base/status.h"
#include "client/kstream.h"
#include "tools/bench_histogram.h"

#include <sys/types.h>

struct bench_options {
    const char *endpoint;
    const char *stream;
    uint32_t shards;       /* make the stream with so many; 0: it must be there */
    uint32_t record_bytes; /* of data; the key comes on top */
    double seconds;        /* of the window */
    double warmup_seconds;
    uint32_t connections;
    uint64_t in_flight; /* unanswered records of a connection */
    uint32_t linger_ms;
    uint64_t keys;       /* different partition keys */
    double rate;         /* records a second, all connections together; 0: as fast as it goes */
    uint32_t timeout_ms; /* how long the last acknowledgements may take */
    pid_t server_pid;    /* 0: ask the broker, if it is on this machine */
};

/* Of the window. */
struct bench_result {
    uint64_t records;
    uint64_t bytes; /* of data, without keys */
    double seconds;
    struct bench_histogram latency; /* ns: put to acknowledgement; consume: asked to decoded */
    bool has_server_cpu;
    uint64_t server_cpu_ns;
    uint64_t client_cpu_ns;
    uint32_t shards;
    uint64_t laps; /* consume: how often the stream was read to its end */
};

/* Errors are for the user; whatever went wrong, there is no result. */
enum ks_status bench_produce(const struct bench_options *options, struct bench_result *result,
    struct ks_error *err) KS_MUST_USE;
enum ks_status bench_consume(const struct bench_options *options, struct bench_result *result,
    struct ks_error *err) KS_MUST_USE;

/* ---- what both use (bench_run.c) ---- */

uint64_t bench_now_ns(void);
/* From the library's error, so that everything here has one kind. */
enum ks_status bench_fail(
    struct ks_error *err, enum kstream_status status, const struct kstream_error *from);
enum ks_status bench_connect(const struct bench_options *options,
    struct kstream_client **out_client, struct ks_error *err) KS_MUST_USE;
/* Makes the stream if that is asked for, and counts its open shards. */
enum ks_status bench_prepare_stream(const struct bench_options *options,
    struct kstream_client *client, uint32_t *out_shards, struct ks_error *err) KS_MUST_USE;

/* Time and CPU of the window. */
struct bench_meter {
    bool has_server;
    clockid_t server_clock; /* CPU time of the broker's process, threads that ended included */
    uint64_t started_ns;
    uint64_t server_cpu_ns;
    uint64_t client_cpu_ns;
};
/* Errors: KS_NOT_FOUND --server-pid names no process. Without a pid of this machine there is no
 * figure, and no error. */
enum ks_status bench_meter_init(struct bench_meter *meter, const struct bench_options *options,
    struct kstream_client *client, struct ks_error *err) KS_MUST_USE;
void bench_meter_start(struct bench_meter *meter);
void bench_meter_stop(const struct bench_meter *meter, struct bench_result *result);

#endif
