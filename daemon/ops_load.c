/* DescribeLoad: counters, latencies and the hottest shards of this moment. */
#include "base/alloc.h"
#include "base/host.h"
#include "daemon/ops.h"

#define HOT_SHARDS 10u

struct load_work {
    struct ks_call *call;
    struct ks_u64_map ages; /* stream number to the age of the oldest read in ms, + 1 */
    Kstream__DescribeLoadResponse *response;
};

/* ---- streams ---- */

static void note_age(void *arg, const struct ks_minute_row *row)
{
    struct load_work *work = arg;
    const struct ks_figure_value *age = &row->values[KS_FIGURE_ITERATOR_AGE];
    if (row->shard_index != KS_MINUTES_WHOLE_STREAM || age->count == 0 ||
        !ks_u64_map_reserve(&work->ages, 1))
        return;
    uintptr_t before = (uintptr_t)ks_u64_map_remove(&work->ages, row->stream_number);
    uintptr_t now = (uintptr_t)ks_min_u64(age->greatest, UINTPTR_MAX - 1) + 1;
    ks_u64_map_put(&work->ages, row->stream_number, (void *)KS_MAX(before, now));
}

static Kstream__LoadStream *stream_message(
    struct load_work *work, const struct ks_stream_sums *sums, const struct ks_stream *stream)
{
    Kstream__LoadStream *message = ks_arena_alloc(&work->call->arena, sizeof(*message));
    if (!message)
        return NULL;
    kstream__load_stream__init(message);
    message->stream_name = ks_arena_strdup(&work->call->arena, stream->name);
    message->incoming_records = sums->values[KS_STREAM_IN_RECORDS];
    message->incoming_bytes = sums->values[KS_STREAM_IN_BYTES];
    message->outgoing_records = sums->values[KS_STREAM_OUT_RECORDS];
    message->outgoing_bytes = sums->values[KS_STREAM_OUT_BYTES];
    for (unsigned r = 0; r < KS_REFUSAL_COUNT; r++)
        message->throttled_records += sums->values[KS_STREAM_REFUSED + r];
    uintptr_t age = (uintptr_t)ks_u64_map_get(&work->ages, stream->number);
    message->has_behind_ms = age > 0;
    message->behind_ms = age > 0 ? age - 1 : 0;
    message->open_shards = stream->open_count;
    return message->stream_name ? message : NULL;
}

static bool streams_fill(struct load_work *work)
{
    struct ks_server *server = work->call->server;
    size_t room = (size_t)server->meter->options.streams_max + 1;
    KS_AUTO_FREE struct ks_stream_sums *sums = ks_calloc(room, sizeof(sums[0]));
    work->response->streams =
        ks_arena_alloc(&work->call->arena, room * sizeof(work->response->streams[0]));
    if (!sums || !work->response->streams)
        return false;
    uint32_t count = ks_meter_streams(server->meter, sums);
    for (uint32_t i = 0; i < count; i++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
        if (sums[i].number == 0 || ks_registry_find_number(server->engine, sums[i].number, &stream))
            continue; /* those that share, or deleted this moment */
        Kstream__LoadStream *message = stream_message(work, &sums[i], stream);
        if (!message)
            return false;
        work->response->streams[work->response->n_streams++] = message;
    }
    return true;
}

static bool shards_fill(struct load_work *work)
{
    struct ks_call *call = work->call;
    struct ks_hot_shard hot[HOT_SHARDS];
    uint32_t count = ks_heat_hottest(call->server, hot, HOT_SHARDS);
    work->response->shards =
        ks_arena_alloc(&call->arena, HOT_SHARDS * sizeof(work->response->shards[0]));
    if (!work->response->shards)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
        if (ks_registry_find_number(call->server->engine, hot[i].stream_number, &stream))
            continue;
        Kstream__LoadShard *message = ks_arena_alloc(&call->arena, sizeof(*message));
        if (!message)
            return false;
        kstream__load_shard__init(message);
        message->stream_name = ks_arena_strdup(&call->arena, stream->name);
        message->shard_id = ks_shard_id_in(&call->arena, hot[i].shard_index);
        message->records_per_s = hot[i].records_per_s;
        message->bytes_per_s = hot[i].bytes_per_s;
        if (!message->stream_name || !message->shard_id)
            return false;
        work->response->shards[work->response->n_shards++] = message;
    }
    return true;
}

/* ---- the broker ---- */

static bool syncs_fill(struct load_work *work)
{
    struct ks_arena *arena = &work->call->arena;
    Kstream__DescribeLoadResponse *response = work->response;
    struct ks_latency_sum sum = {.sum_ns = 0};
    ks_latency_sum_add(&sum, &ks_engine_latencies(work->call->server->engine)->journal_sync);
    response->sync_sum_ns = sum.sum_ns;
    response->sync_counts = ks_arena_alloc(arena, sizeof(sum.counts));
    response->sync_bounds_ns = ks_arena_alloc(arena, KS_LATENCY_BOUNDS * sizeof(uint64_t));
    if (!response->sync_counts || !response->sync_bounds_ns)
        return false;
    for (unsigned i = 0; i < KS_LATENCY_BOUNDS + 1; i++)
        response->sync_counts[response->n_sync_counts++] = sum.counts[i];
    for (unsigned i = 0; i < KS_LATENCY_BOUNDS; i++)
        response->sync_bounds_ns[response->n_sync_bounds_ns++] = ks_latency_bounds_ns[i];
    return true;
}

static void figures_fill(struct load_work *work)
{
    Kstream__DescribeLoadResponse *response = work->response;
    struct ks_server *server = work->call->server;
    struct ks_engine_stats stats;
    struct ks_host_facts facts;
    uint64_t now_ns = ks_clock_mono_ns(&ks_clock_system);
    ks_engine_stats(server->engine, &stats);
    ks_host_look(server->config->storage_data_dir, false, &facts);
    response->mono_ms = now_ns / 1000000;
    response->uptime_ms = (now_ns - server->started_mono_ns) / 1000000;
    response->connections = atomic_load(&server->loop_shared.connections);
    response->memory_bytes = stats.tail_bytes;
    response->memory_limit_bytes = server->live.limits_memory;
    response->journal_used_percent = (uint32_t)stats.journal_used_percent;
    response->disk_free_bytes = facts.free_bytes;
    response->disk_total_bytes = facts.total_bytes;
    for (unsigned l = 0; l < server->meter->loop_count; l++) {
        const struct ks_loop_meter *meter = &server->meter->loops[l];
        for (unsigned i = 0; i < KS_METER_OPERATIONS_MAX; i++)
            response->requests += atomic_load_explicit(&meter->requests[i], memory_order_relaxed);
        for (unsigned i = 0; i < KS_METER_STATUSES_MAX; i++)
            response->errors += atomic_load_explicit(&meter->errors[i], memory_order_relaxed);
    }
}

static const ProtobufCMessage *build_load(
    struct ks_call *call, const ProtobufCMessage *message, struct ks_error *err)
{
    struct ks_minutes *minutes = call->server->minutes;
    struct load_work work = {.call = call};
    (void)message, (void)err;
    work.response = ks_arena_alloc(&call->arena, sizeof(*work.response));
    if (!work.response)
        return NULL;
    kstream__describe_load_response__init(work.response);
    uint64_t minute = atomic_load_explicit(&minutes->minute, memory_order_relaxed);
    ks_minutes_collect(minutes, minute - 1, note_age, &work);
    ks_minutes_collect(minutes, minute, note_age, &work);
    figures_fill(&work);
    bool is_fine = syncs_fill(&work) && streams_fill(&work) && shards_fill(&work);
    ks_u64_map_fini(&work.ages);
    return is_fine ? &work.response->base : NULL;
}

void ks_op_describe_load(struct ks_call *call, const ProtobufCMessage *message)
{
    ks_call_build(call, message, build_load);
}
