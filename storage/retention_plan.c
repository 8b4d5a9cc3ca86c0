/* What retention asks of one log: retire, seal, or find the edge; and when it asks again. */
#include "storage/read_priv.h"
#include "storage/retention_priv.h"

/* In a segment that is expired in part the edge is looked for when it may have moved by so much:
 * bounds are late by this at most, reads never. */
#define EDGE_SLACK_MS 20000u
/* Something stands in the way: look again so soon. */
#define AGAIN_MS 1000u
#define REFRESH_AGAIN_MS 60000u

static uint64_t later(uint64_t unix_ms, uint64_t by_ms)
{
    return unix_ms > UINT64_MAX - by_ms ? UINT64_MAX : unix_ms + by_ms;
}

uint64_t ks_retention_leave_due(const struct ks_log *log)
{
    return ks_log_expires_unix_ms(log, ks_max_u64(log->last_arrival_unix_ms, log->closed_unix_ms));
}

/* When the oldest segment goes, or ends. */
static uint64_t oldest_due(const struct ks_log *log, const struct ks_segment *oldest)
{
    bool is_to_end = oldest->state == KS_SEGMENT_ACTIVE && !log->wants_seal;
    return ks_log_expires_unix_ms(
        log, is_to_end ? oldest->first_arrival_unix_ms : oldest->last_arrival_unix_ms);
}

/* When the edge in it has to be looked for. */
static uint64_t edge_due(const struct ks_log *log, const struct ks_segment *oldest)
{
    uint64_t known = ks_max_u64(oldest->first_arrival_unix_ms, log->edge.arrival_unix_ms);
    return later(ks_log_expires_unix_ms(log, known), EDGE_SLACK_MS);
}

/* Not before edge_not_before for the sake of the edge alone. */
static uint64_t due_of(const struct ks_log *log, uint64_t edge_not_before)
{
    uint64_t due = UINT64_MAX;
    if (log->state == KS_LOG_DELETED)
        return due;
    if (log->state == KS_LOG_CLOSED && !log->is_leaving)
        due = ks_retention_leave_due(log);
    const struct ks_segment *oldest = log->segments.count > 0 ? log->segments.items[0] : NULL;
    if (!oldest || oldest->batch_count == 0)
        return due;
    due = ks_min_u64(due, oldest_due(log, oldest));
    return ks_min_u64(due, ks_max_u64(edge_due(log, oldest), edge_not_before));
}

uint64_t ks_retention_due(const struct ks_log *log)
{
    return due_of(log, 0);
}

/* Log mutex held. Looked at just now: again when something new is due, or a little later. */
static void note_again(struct ks_log *log, uint64_t now_unix_ms, uint64_t edge_not_before)
{
    uint64_t due = due_of(log, edge_not_before);
    ks_retention_note_at(
        log->engine->retention, log, due <= now_unix_ms ? later(now_unix_ms, AGAIN_MS) : due);
}

static bool is_expired(const struct ks_segment *segment, uint64_t horizon)
{
#ifdef KS_PLANTED_BUG_EXPIRE_EARLY
    return segment->batch_count > 0 && segment->first_arrival_unix_ms < horizon;
#else
    return segment->batch_count > 0 && segment->last_arrival_unix_ms < horizon;
#endif
}

/* Log mutex held. The oldest segments, as long as nothing of them can be read any more. False: the
 * flusher has one of them in hand. */
static bool take_expired(struct ks_retention *retention, struct ks_log *log, uint64_t horizon)
{
    for (uint32_t i = 0; i < log->segments.count; i++) {
        struct ks_segment *segment = log->segments.items[i];
        if (!is_expired(segment, horizon) || retention->doomed_count == KS_RETIRE_ROUND_MAX ||
            retention->allowance == 0)
            return true;
        bool is_active = segment->state == KS_SEGMENT_ACTIVE;
        if (is_active && log->is_flushing)
            return false;
        log->is_flushing = log->is_flushing || is_active;
        retention->allowance--;
        retention->doomed[retention->doomed_count++] = (struct ks_doomed){
            .log = ks_log_ref(log), .segment = ks_segment_ref(segment), .has_token = is_active};
    }
    return true;
}

/* Log mutex held. What the oldest segment asks for short of its end. */
static void tend_oldest(
    struct ks_retention *retention, struct ks_log *log, uint64_t horizon, bool is_free)
{
    const struct ks_segment *oldest = log->segments.count > 0 ? log->segments.items[0] : NULL;
    if (!oldest || oldest->batch_count == 0 || oldest->first_arrival_unix_ms >= horizon)
        return;
    if (is_free && oldest->state == KS_SEGMENT_ACTIVE && !log->wants_seal) {
        log->wants_seal = true;
        ks_flush_note(retention->engine->flush, log);
        ks_engine_count(retention->engine, KS_COUNT_SEGMENTS_AGED, 1);
    }
    if (log->edge.arrival_unix_ms < horizon && retention->refresh_count < KS_LOOK_ROUND_MAX)
        retention->refresh[retention->refresh_count++] = ks_log_ref(log);
}

void ks_retention_plan(struct ks_retention *retention, struct ks_log *log, uint64_t now_unix_ms)
{
    KS_LOCK_SCOPE(&log->mu);
    if (log->state == KS_LOG_DELETED)
        return;
    uint64_t horizon = ks_log_horizon(log, now_unix_ms);
    ks_log_advance_edge(log, horizon);
    uint32_t doomed_before = retention->doomed_count;
    bool is_free = take_expired(retention, log, horizon);
    if (retention->doomed_count > doomed_before)
        return; /* looked at again when they are gone */
    tend_oldest(retention, log, horizon, is_free);
    note_again(log, now_unix_ms, 0);
}

void ks_retention_refresh(struct ks_log *log, uint64_t now_unix_ms)
{
    struct ks_segment_view view = {.may_block = true};
    enum ks_status st = KS_OK;
    {
        KS_LOCK_SCOPE(&log->mu);
        uint64_t durable = atomic_load(&log->durable_sequence);
        view.horizon = ks_log_horizon(log, now_unix_ms);
        ks_log_advance_edge(log, view.horizon);
        struct ks_segment *segment = ks_segment_list_find(&log->segments, log->edge.sequence);
        if (log->state == KS_LOG_DELETED || !segment || segment->batch_count == 0 ||
            segment->first_arrival_unix_ms >= view.horizon)
            return;
        st = ks_segment_view_init(&view, log, segment, durable, NULL);
    }
    struct ks_log_edge edge;
    if (!st)
        st = ks_segment_view_open(&view, true, NULL);
    if (!st)
        st = ks_segment_view_find_edge(&view, &edge, NULL);
    ks_segment_view_fini(&view);
    KS_LOCK_SCOPE(&log->mu);
    if (!st)
        ks_log_note_edge(log, &edge);
    /* Damage can keep it from being known: not every second, then. */
    note_again(log, now_unix_ms, later(now_unix_ms, REFRESH_AGAIN_MS));
}
