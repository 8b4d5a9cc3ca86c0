/*
 * What of a log has expired. Expiry is by arrival and exact: a record is served as long as its
 * arrival is not below the horizon, which is the clock less the retention or the stream's floor,
 * whichever is higher. Nothing has to happen at that moment: whoever asks moves the log's edge
 * first. Files go later (retention.c).
 */
#include "storage/engine_priv.h"

uint64_t ks_engine_retention_unix_ms(const struct ks_engine *engine)
{
    return ks_clock_retention_unix_ms(engine->options.clock);
}

void ks_log_set_retention(struct ks_log *log, const struct ks_log_retention *retention)
{
    KS_LOCK_SCOPE(&log->mu);
    log->retention_ms = (uint64_t)retention->hours * KS_HOUR_MS;
    log->retention_floor_unix_ms = retention->floor_unix_ms;
    if (log->engine->retention)
        ks_retention_note(log->engine->retention, log);
}

uint64_t ks_log_horizon(const struct ks_log *log, uint64_t now_unix_ms)
{
    bool is_any_old = log->retention_ms > 0 && now_unix_ms > log->retention_ms;
    uint64_t oldest = is_any_old ? now_unix_ms - log->retention_ms : 0;
    return ks_max_u64(oldest, log->retention_floor_unix_ms);
}

uint64_t ks_log_expires_unix_ms(const struct ks_log *log, uint64_t arrival_unix_ms)
{
    if (arrival_unix_ms < log->retention_floor_unix_ms)
        return 0;
    if (log->retention_ms == 0 || arrival_unix_ms >= UINT64_MAX - 1 - log->retention_ms)
        return UINT64_MAX;
    return arrival_unix_ms + log->retention_ms + 1;
}

void ks_log_note_edge(struct ks_log *log, const struct ks_log_edge *edge)
{
    if (edge->sequence < log->edge.sequence ||
        (edge->sequence == log->edge.sequence && edge->arrival_unix_ms < log->edge.arrival_unix_ms))
        return;
    log->edge = *edge;
}

/*
 * In a segment that is expired in part the edge stays where the last reader or the compactor left
 * it: only the file knows better. Everywhere else it is exact.
 */
void ks_log_advance_edge(struct ks_log *log, uint64_t horizon)
{
    if (horizon <= log->edge.arrival_unix_ms)
        return;
    const struct ks_segment *segment = ks_segment_list_find_arrival(&log->segments, horizon);
    if (segment) {
        struct ks_log_edge edge = {
            .sequence = segment->first_sequence, .arrival_unix_ms = segment->first_arrival_unix_ms};
        ks_log_note_edge(log, &edge);
        return;
    }
    uint64_t durable = atomic_load(&log->durable_sequence);
    const struct ks_tail_query query = {
        .unix_ms = horizon, .last_sequence = durable, .with_damage = true};
    struct ks_tail_arrival found;
    struct ks_log_edge edge = {.sequence = durable + 1,
        .arrival_unix_ms = ks_min_u64(horizon, atomic_load(&log->durable_arrival_unix_ms))};
    if (ks_tail_find_arrival(&log->tail, &query, &found))
        edge = (struct ks_log_edge){
            .sequence = found.first_sequence, .arrival_unix_ms = found.arrival_unix_ms};
    ks_log_note_edge(log, &edge);
}

/* Flushed records lie in segments, the others in the tail. */
uint64_t ks_log_first_sequence(const struct ks_log *log, uint64_t durable)
{
    uint64_t tail_first = ks_tail_first_sequence(&log->tail);
    uint64_t first = durable + 1;
    if (log->segments.count > 0 && log->segments.items[0]->batch_count > 0)
        first = log->segments.items[0]->first_sequence;
    else if (tail_first > 0)
        first = tail_first;
    return ks_min_u64(ks_max_u64(first, log->edge.sequence), durable + 1);
}
