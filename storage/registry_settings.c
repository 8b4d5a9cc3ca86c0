/* Changes of a stream's settings, each one row of the catalog. */
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

bool ks_stream_limits_equal(const struct ks_stream_limits *a, const struct ks_stream_limits *b)
{
    return a->mode == b->mode && a->write_bytes_per_s == b->write_bytes_per_s &&
           a->write_records_per_s == b->write_records_per_s &&
           a->read_bytes_per_s == b->read_bytes_per_s &&
           a->read_calls_per_s == b->read_calls_per_s && a->records_per_day == b->records_per_day &&
           a->client_bytes_per_s == b->client_bytes_per_s &&
           a->client_records_per_s == b->client_records_per_s;
}

/* ACTIVE, or about to be again: what is deleted is not changed any more. */
static enum ks_status require_kept(const struct ks_stream *stream, struct ks_error *err)
{
    if (stream->status != KS_STREAM_DELETING)
        return KS_OK;
    return ks_fail(err, KS_IN_USE, 0, "stream '%s' is deleted", stream->name);
}

static enum ks_status set_tags(struct ks_stream *stream, const struct ks_setting_change *change,
    enum ks_status (*make)(const struct ks_tags *from, const struct ks_tag *tags, uint32_t count,
        struct ks_tags **out, struct ks_error *err),
    struct ks_error *err)
{
    struct ks_tags *tags = NULL;
    enum ks_status st = make(stream->tags, change->tags, change->tag_count, &tags, err);
    if (st)
        return st;
    ks_tags_unref(stream->tags);
    stream->tags = tags;
    return KS_OK;
}

/* In after, a copy that nobody else sees yet. */
static enum ks_status apply(
    struct ks_stream *after, struct ks_setting_change *change, struct ks_error *err)
{
    switch (change->setting) {
    case KS_SETTING_RECORD_BYTES:
        /* Producers that route keep to what the routing says: a newer one makes them look. */
        after->routing_epoch += after->record_bytes_max != change->number;
        after->record_bytes_max = change->number;
        return KS_OK;
    case KS_SETTING_WARM_MIBPS:
        after->warm_mibps = change->number;
        return KS_OK;
    case KS_SETTING_METRICS_ON:
        after->shard_metrics |= change->number;
        return KS_OK;
    case KS_SETTING_METRICS_OFF:
        after->shard_metrics &= ~change->number;
        return KS_OK;
    case KS_SETTING_TAGS_ADD:
        return set_tags(after, change, ks_tags_with, err);
    case KS_SETTING_TAGS_REMOVE:
        return set_tags(after, change, ks_tags_without, err);
    case KS_SETTING_LIMITS:
        after->limits = change->limits;
        return KS_OK;
    case KS_SETTING_COUNT:
        break;
    }
    return KS_OK;
}

static enum ks_status prepare_setting(struct ks_row_work *work, struct ks_error *err)
{
    enum ks_status st = require_kept(work->before, err);
    if (st)
        return st;
    if (work->turn.is_announced)
        work->during->status = KS_STREAM_UPDATING;
    work->setting->metrics_before = work->before->shard_metrics;
    return apply(work->after, work->setting, err);
}

enum ks_status ks_stream_set(struct ks_engine *engine, uint64_t stream_number,
    struct ks_setting_change *change, struct ks_admin *admin, struct ks_error *err)
{
    bool is_of_tags =
        change->setting == KS_SETTING_TAGS_ADD || change->setting == KS_SETTING_TAGS_REMOVE;
    const struct ks_row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_setting,
        .setting = change,
        .turn = {.stream_number = stream_number,
            .is_announced = !is_of_tags,
            .wants = KS_TURN_WANTS_ACTIVE}};
    return ks_row_change(&work, err);
}
