/* What a producing and a consuming run have in common. */
#include "base/alloc.h"
#include "base/clock.h"
#include "tools/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_MS 5000u
#define CREATE_MS 120000u /* ten thousand shards take their time */

uint64_t bench_now_ns(void)
{
    return ks_clock_mono_ns(&ks_clock_system);
}

enum ks_status bench_fail(
    struct ks_error *err, enum kstream_status status, const struct kstream_error *from)
{
    enum ks_status st = status < KSTREAM_FULL ? (enum ks_status)status : KS_INTERNAL;
    return ks_fail(err, st, 0, "%s", from->text[0] ? from->text : kstream_strerror(status));
}

enum ks_status bench_connect(
    const struct bench_options *options, struct kstream_client **out_client, struct ks_error *err)
{
    struct kstream_error error = KSTREAM_ERROR_INIT;
    struct kstream_config *config = kstream_config_new();
    if (!config)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a connection");
    enum kstream_status st = kstream_config_set(config, "endpoint", options->endpoint, &error);
    if (st) {
        kstream_config_free(config);
        return ks_fail(err, KS_USAGE, 0, "%s", error.text);
    }
    st = kstream_connect(config, CONNECT_MS, out_client, &error);
    return st ? bench_fail(err, st, &error) : KS_OK;
}

enum ks_status bench_prepare_stream(const struct bench_options *options,
    struct kstream_client *client, uint32_t *out_shards, struct ks_error *err)
{
    struct kstream_error error = KSTREAM_ERROR_INIT;
    enum kstream_status st = KSTREAM_OK;
    if (options->shards > 0) {
        struct kstream_create_options create = KSTREAM_CREATE_OPTIONS_INIT;
        create.shard_count = options->shards;
        create.timeout_ms = CREATE_MS;
        st = kstream_create_stream(client, options->stream, &create, &error);
        if (st && st != KSTREAM_EXISTS)
            return bench_fail(err, st, &error);
    }
    struct kstream_stream *summary = NULL;
    st = kstream_describe_stream_summary(client, options->stream, NULL, &summary, &error);
    if (st)
        return bench_fail(err, st, &error);
    *out_shards = summary->open_shard_count;
    kstream_stream_free(summary);
    if (options->shards > 0 && *out_shards != options->shards)
        return ks_fail(err, KS_EXISTS, 0, "stream '%.128s' is there already, with %u open shards",
            options->stream, *out_shards);
    return KS_OK;
}

/* ---- CPU ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool endpoint_is_here(const char *endpoint)
{
    static const char *const local[] = {"unix:", "127.", "localhost", "[::1]", "kstream://127.",
        "kstream://localhost", "kstream://[::1]"};
    for (size_t i = 0; i < KS_COUNT_OF(local); i++)
        if (strncmp(endpoint, local[i], strlen(local[i])) == 0)
            return true;
    return false;
}

/* The number may be of another machine's or container's process: it must be a kstreamd here. */
static bool pid_is_broker(pid_t pid)
{
    char path[64];
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool is_broker = fgets(name, sizeof name, file) && strcmp(name, "kstreamd\n") == 0;
    fclose(file);
    return is_broker;
}

enum ks_status bench_meter_init(struct bench_meter *meter, const struct bench_options *options,
    struct kstream_client *client, struct ks_error *err)
{
    *meter = (struct bench_meter){.has_server = false};
    pid_t pid = options->server_pid;
    if (pid == 0 && endpoint_is_here(options->endpoint)) {
        struct kstream_server_info info = KSTREAM_SERVER_INFO_INIT;
        struct kstream_error error = KSTREAM_ERROR_INIT;
        enum kstream_status st = kstream_ping(client, CONNECT_MS, &info, &error);
        if (st)
            return bench_fail(err, st, &error);
        pid = info.pid > 0 && pid_is_broker((pid_t)info.pid) ? (pid_t)info.pid : 0;
    }
    if (pid > 0)
        meter->has_server = clock_getcpuclockid(pid, &meter->server_clock) == 0;
    if (options->server_pid > 0 && !meter->has_server)
        return ks_fail(err, KS_NOT_FOUND, 0, "there is no process %ld", (long)options->server_pid);
    return KS_OK;
}

void bench_meter_start(struct bench_meter *meter)
{
    meter->client_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    meter->server_cpu_ns = meter->has_server ? clock_ns(meter->server_clock) : 0;
    meter->started_ns = bench_now_ns();
}

void bench_meter_stop(const struct bench_meter *meter, struct bench_result *result)
{
    uint64_t server_ns = meter->has_server ? clock_ns(meter->server_clock) : 0;
    result->seconds = (double)(bench_now_ns() - meter->started_ns) / 1e9;
    result->client_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - meter->client_cpu_ns;
    /* A process that has ended has no clock any more. */
    result->has_server_cpu = server_ns > 0 && server_ns >= meter->server_cpu_ns;
    result->server_cpu_ns = result->has_server_cpu ? server_ns - meter->server_cpu_ns : 0;
}
