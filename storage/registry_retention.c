/* Changes of a stream's row: its retention, its mode, deleting it later, restoring it. */
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

uint64_t ks_stream_horizon_unix_ms(const struct ks_engine *engine, const struct ks_stream *stream)
{
    uint64_t now = ks_engine_retention_unix_ms(engine);
    uint64_t kept_ms = (uint64_t)stream->retention_hours * KS_HOUR_MS;
    uint64_t horizon = kept_ms > 0 && now > kept_ms ? now - kept_ms : 0;
    return ks_max_u64(stream->retention_floor_unix_ms, horizon);
}

/* What has expired under the old retention or would under the new one: gone from now on, for ever.
 */
static uint64_t floor_after(const struct ks_stream *stream, uint32_t retention_hours, uint64_t now)
{
    uint64_t kept_ms = (uint64_t)KS_MIN(stream->retention_hours, retention_hours) * KS_HOUR_MS;
    return ks_max_u64(stream->retention_floor_unix_ms, now > kept_ms ? now - kept_ms : 0);
}

static enum ks_status prepare_retention(struct ks_row_work *work, struct ks_error *err)
{
    const struct ks_retention_spec *spec = &work->retention;
    uint32_t hours = work->before->retention_hours;
    if ((spec->direction == KS_RETENTION_INCREASE && spec->hours < hours) ||
        (spec->direction == KS_RETENTION_DECREASE && spec->hours > hours))
        return ks_fail(err, KS_INVALID, 0, "the retention is %u hours, so %u is no %s", hours,
            spec->hours, spec->direction == KS_RETENTION_INCREASE ? "increase" : "decrease");
    work->during->status = KS_STREAM_UPDATING;
    work->after->retention_hours = spec->hours;
    work->after->retention_floor_unix_ms =
        floor_after(work->before, spec->hours, ks_engine_retention_unix_ms(work->engine));
    return KS_OK;
}

enum ks_status ks_stream_set_retention(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_retention_spec *spec, struct ks_admin *admin, struct ks_error *err)
{
    const struct ks_row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_retention,
        .retention = *spec,
        .turn = {
            .stream_number = stream_number, .is_announced = true, .wants = KS_TURN_WANTS_ACTIVE}};
    return ks_row_change(&work, err);
}

static enum ks_status prepare_mode(struct ks_row_work *work, struct ks_error *err)
{
    (void)err;
    work->during->status = KS_STREAM_UPDATING;
    work->after->mode = work->mode;
    return KS_OK;
}

enum ks_status ks_stream_set_mode(struct ks_engine *engine, uint64_t stream_number,
    enum ks_stream_mode mode, struct ks_admin *admin, struct ks_error *err)
{
    const struct ks_row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_mode,
        .mode = mode,
        .turn = {
            .stream_number = stream_number, .is_announced = true, .wants = KS_TURN_WANTS_ACTIVE}};
    return ks_row_change(&work, err);
}

static enum ks_status prepare_delete(struct ks_row_work *work, struct ks_error *err)
{
    (void)err;
    work->during->status = KS_STREAM_DELETING;
    work->after->status = KS_STREAM_DELETING;
    work->after->purge_unix_ms =
        ks_engine_retention_unix_ms(work->engine) + ks_max_u64(work->keep_ms, 1);
    return KS_OK;
}

enum ks_status ks_stream_delete_later(struct ks_engine *engine, uint64_t stream_number,
    uint64_t keep_ms, struct ks_admin *admin, struct ks_error *err)
{
    const struct ks_row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_delete,
        .keep_ms = keep_ms,
        .turn = {
            .stream_number = stream_number, .is_announced = true, .wants = KS_TURN_WANTS_ACTIVE}};
    return ks_row_change(&work, err);
}

static enum ks_status prepare_restore(struct ks_row_work *work, struct ks_error *err)
{
    (void)err;
    work->during->purge_unix_ms = 0;
    work->after->status = KS_STREAM_ACTIVE;
    work->after->purge_unix_ms = 0;
    return KS_OK;
}

enum ks_status ks_stream_restore(
    struct ks_engine *engine, uint64_t stream_number, struct ks_admin *admin, struct ks_error *err)
{
    const struct ks_row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_restore,
        .turn = {
            .stream_number = stream_number, .is_announced = true, .wants = KS_TURN_WANTS_KEPT}};
    return ks_row_change(&work, err);
}
