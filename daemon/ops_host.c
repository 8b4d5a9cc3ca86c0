/* DescribeHost: what the machine offers the broker, and what the broker asks of it. */
#include "base/host.h"
#include "daemon/addresses.h"
#include "daemon/ops.h"
#include "daemon/traffic.h"
#include "proto/host_facts.h"
#include "storage/retention.h"
#include "storage/usage.h"

#include <string.h>

/* ---- answers that wait for the disk ---- */

struct build_work {
    const ProtobufCMessage *request;
    const ProtobufCMessage *response; /* NULL: error says why */
    ks_build_fn build;
    struct ks_error error;
};

static void build_run(struct ks_job *job)
{
    struct ks_call *call = KS_CONTAINER_OF(job, struct ks_call, job);
    struct build_work *work = call->work;
    work->response = work->build(call, work->request, &work->error);
}

static void build_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, job.mail);
    struct build_work *work = call->work;
    if (work->response)
        ks_call_finish(call, work->response);
    else if (work->error.status)
        ks_call_fail(call, work->error.status, &work->error);
    else
        ks_call_fail_memory(call);
}

void ks_call_build(struct ks_call *call, const ProtobufCMessage *request, ks_build_fn build)
{
    struct ks_error error = KS_ERROR_INIT;
    struct build_work *work = ks_arena_zalloc(&call->arena, sizeof(*work));
    if (!work) {
        ks_call_fail_memory(call);
        return;
    }
    *work = (struct build_work){.request = request, .build = build, .error = KS_ERROR_INIT};
    call->work = work;
    call->job.run = build_run;
    call->job.home = &call->loop->mailbox;
    call->job.mail.deliver = build_delivered;
    enum ks_status st = ks_readers_submit(call->server->readers, &call->job, &error);
    if (st)
        ks_call_fail(call, st, &error);
}

/* ---- DescribeHost ---- */

#define STREAMS_A_LOOK 256u

/* A stream grows until retention gives back as much as comes in. */
static void grow(Kstream__DescribeHostResponse *response, const struct ks_traffic *traffic,
    const struct ks_stream *stream)
{
    struct ks_usage usage;
    ks_stream_usage(stream, &usage);
    uint64_t bytes = ks_traffic_of(traffic, stream->number).incoming_bytes;
    uint64_t rate = bytes * 1000 / ks_max_u64(response->growth_seen_ms, 1000);
    uint64_t in_the_end = rate * stream->retention_hours * (KS_HOUR_MS / 1000);
    response->stored_bytes += usage.stored_bytes;
    if (in_the_end <= usage.stored_bytes)
        return;
    response->growth_bytes += in_the_end - usage.stored_bytes;
    response->growth_bytes_per_s += rate;
}

static void grow_all(Kstream__DescribeHostResponse *response, const struct ks_traffic *traffic,
    struct ks_engine *engine)
{
    struct ks_stream *streams[STREAMS_A_LOOK];
    char after[KS_STREAM_NAME_BYTES_MAX + 1] = "";
    for (bool has_more = true; has_more;) {
        uint32_t count = ks_registry_list(engine, after, STREAMS_A_LOOK, streams, &has_more);
        for (uint32_t i = 0; i < count; i++) {
            grow(response, traffic, streams[i]);
            strcpy(after, streams[i]->name);
            ks_stream_unref(streams[i]);
        }
        has_more = has_more && count > 0;
    }
}

static bool is_beyond_loopback(const char *address)
{
    return address[0] && strncmp(address, "127.", 4) != 0 && strncmp(address, "[::1]", 5) != 0 &&
           strncmp(address, "localhost:", 10) != 0;
}

static void fill_settings(Kstream__DescribeHostResponse *response, struct ks_server *server)
{
    const struct ks_config *config = server->config;
    struct ks_compactor_status compactor;
    struct ks_broker_clock_status clock;
    ks_compactor_describe(server->engine, &compactor);
    ks_broker_clock_status(&server->timekeeper->clock, &clock);
    response->clock_difference_ms = clock.difference_ms;
    response->is_retention_held = clock.hold != KS_CLOCK_TRUSTED;
    response->retention_behind_ms = clock.held_gap_ms;
    response->why_held = (char *)(uintptr_t)ks_clock_hold_text(clock.hold);
    response->memory_limit_bytes =
        server->live.limits_memory + server->live.limits_input + server->live.limits_output_memory;
    response->connections_max = server->loop_shared.connections_max;
    response->connections_wanted = config->limits_connections;
    response->journal_bytes_wanted = config->storage_journal_bytes;
    response->listens_beyond_loopback =
        server->addresses && (is_beyond_loopback(server->addresses->native) ||
                                 is_beyond_loopback(server->addresses->http));
    response->is_scrubbing_off =
        config->storage_scrub_interval == 0 || config->storage_scrub_rate == 0;
    struct ks_engine_stats stats;
    ks_engine_stats(server->engine, &stats);
    response->damaged_records = compactor.scrub_damaged_records + stats.damage_met;
}

static const ProtobufCMessage *build_host(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    const Kstream__DescribeHostRequest *request = (const void *)message;
    struct ks_arena *arena = &call->arena;
    struct ks_server *server = call->server;
    struct ks_host_facts *facts = ks_arena_alloc(arena, sizeof(*facts));
    Kstream__HostFacts *host = ks_arena_alloc(arena, sizeof(*host));
    Kstream__HostSync *sync = ks_arena_alloc(arena, sizeof(*sync));
    Kstream__DescribeHostResponse *response = ks_arena_alloc(arena, sizeof(*response));
    char *data_dir = ks_arena_strdup(arena, server->config->storage_data_dir);
    (void)err;
    if (!facts || !host || !sync || !response || !data_dir)
        return NULL;
    ks_host_look(data_dir, request->try_sync, facts);
    ks_host_facts_message(facts, host, sync);
    kstream__describe_host_response__init(response);
    response->host = host;
    response->data_dir = data_dir;
    response->uptime_ms = (ks_clock_mono_ns(&ks_clock_system) - server->started_mono_ns) / 1000000;
    fill_settings(response, server);
    KS_CLEANUP(ks_traffic_finip) struct ks_traffic *traffic = NULL;
    traffic = ks_arena_zalloc(arena, sizeof(*traffic));
    if (!traffic)
        return NULL;
    KS_IGNORE(ks_traffic_collect(server, traffic, NULL), "what could be read counts");
    response->growth_seen_ms = traffic->now_unix_ms > traffic->since_unix_ms
                                   ? traffic->now_unix_ms - traffic->since_unix_ms
                                   : 0;
    grow_all(response, traffic, server->engine);
    return &response->base;
}

void ks_op_describe_host(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_host);
}
