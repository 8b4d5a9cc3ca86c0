#include "daemon/server.h"

#define PRESSURE_AGE_MS 10
#define MEMORY_SHORT_PERCENT 90u

void ks_server_look_at_pressure(struct ks_server *server)
{
    uint64_t now = ks_clock_mono_ns(server->clock) / 1000000;
    uint64_t seen = atomic_load_explicit(&server->pressure_mono_ms, memory_order_relaxed);
    if (now - seen < PRESSURE_AGE_MS ||
        !atomic_compare_exchange_strong(&server->pressure_mono_ms, &seen, now))
        return;
    struct ks_engine_stats stats;
    ks_engine_stats(server->engine, &stats);
    uint64_t memory = stats.tail_bytes * 100 / server->live.limits_memory;
    uint64_t pressure = ks_max_u64(memory, stats.journal_used_percent);
    atomic_store(&server->loop_shared.put_gate.pressure_percent, (uint32_t)pressure);
    atomic_store(&server->loop_shared.put_gate.is_hopeless, stats.is_disk_full);
    atomic_store(&server->loop_shared.is_memory_short, memory >= MEMORY_SHORT_PERCENT);
}

void ks_server_engine_limits(const struct ks_config *config, struct ks_engine_limits *limits)
{
    ks_engine_limits_default(limits);
    limits->segment_bytes = config->storage_segment_bytes;
    limits->journal_bytes = config->storage_journal_bytes;
    limits->journal_file_bytes = config->storage_journal_file_bytes;
    limits->flush_bytes = config->storage_flush_bytes;
    limits->flush_age_ms = config->storage_flush_age;
    limits->tail_bytes_max = config->limits_memory;
    limits->shards_max = (uint32_t)config->limits_shards;
    limits->compact_files_per_s = (uint32_t)config->storage_compact_files;
    limits->scrub_bytes_per_s = config->storage_scrub_rate;
    limits->scrub_interval_ms = config->storage_scrub_interval;
}

void ks_server_apply(struct ks_server *server, const struct ks_config *config)
{
    struct ks_engine_limits limits;
    ks_live_store(&server->live, config);
    atomic_store(&server->loop_shared.input.bytes_max, config->limits_input);
    atomic_store(&server->loop_shared.output.bytes_max, config->limits_output_memory);
    ks_server_engine_limits(config, &limits);
    if (server->engine)
        ks_engine_set_limits(server->engine, &limits);
    if (server->timekeeper)
        ks_timekeeper_apply(server->timekeeper, config);
}
