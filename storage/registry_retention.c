/* Changes of a stream's row that make and remove no log: its retention, its mode, deleting it
 * later, restoring it. */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

/* From the call to the completion. */
struct row_work {
    struct ks_change change;
    struct ks_turn turn;
    struct ks_engine *engine;
    struct ks_admin *admin;
    /* Makes during and after out of before. */
    enum ks_status (*prepare)(struct row_work *work, struct ks_error *err);
    struct ks_retention_spec retention; /* for it */
    uint64_t keep_ms;                   /* for it */
    enum ks_stream_mode mode;           /* for it */
    struct ks_stream *before;           /* published again if the commit is refused */
    struct ks_stream *during;           /* what is seen meanwhile */
    struct ks_stream *after;
};

static void row_complete(struct row_work *work, enum ks_status status, const struct ks_error *error)
{
    struct ks_admin *admin = work->admin;
    admin->status = status;
    admin->error = *error;
    admin->stream = NULL;
    struct ks_stream *snapshots[] = {work->before, work->during, work->after};
    for (size_t i = 0; i < KS_COUNT_OF(snapshots); i++) {
        if (snapshots[i])
            ks_stream_unref(snapshots[i]);
    }
    ks_free(work);
    ks_mailbox_send(admin->home, &admin->mail);
}

static void row_publish(struct row_work *work, struct ks_stream *stream)
{
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&work->engine->registry->mu);
        old = ks_registry_publish(work->engine->registry, stream);
    }
    ks_stream_unref(old);
}

static enum ks_status row_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    const struct row_work *work = KS_CONTAINER_OF(change, struct row_work, change);
    return ks_stream_row_put(work->after, txn, err);
}

static void row_done(struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct row_work *work = KS_CONTAINER_OF(change, struct row_work, change);
    if (!status)
        ks_stream_apply_retention(work->after);
    row_publish(work, status ? work->before : work->after);
    if (!status && work->after->purge_unix_ms > 0)
        ks_retention_note_kept(
            work->engine->retention, work->after->number, work->after->purge_unix_ms);
    ks_registry_give_turn_on(work->engine->registry, &work->turn);
    row_complete(work, status, error);
}

static enum ks_status row_begin(struct row_work *work, struct ks_error *err)
{
    work->during = ks_stream_copy(work->before, 0);
    work->after = ks_stream_copy(work->before, 0);
    if (!work->during || !work->after)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot change stream '%s'", work->before->name);
    return work->prepare(work, err);
}

static void row_start(struct ks_turn *turn, struct ks_stream *stream)
{
    struct row_work *work = KS_CONTAINER_OF(turn, struct row_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    work->before = stream;
    error.status = row_begin(work, &error);
    if (error.status) {
        ks_registry_give_turn_on(work->engine->registry, turn);
        row_complete(work, error.status, &error);
        return;
    }
    row_publish(work, work->during);
    work->change.apply = row_apply;
    work->change.done = row_done;
    ks_catalog_submit(work->engine->catalog, &work->change);
}

static void row_cancel(struct ks_turn *turn, enum ks_status status)
{
    struct row_work *work = KS_CONTAINER_OF(turn, struct row_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&error, status, 0, "the stream is gone"), "only fills it");
    row_complete(work, status, &error);
}

/* wanted is copied; its turn says which stream, and what status it must have. */
static enum ks_status row_take_turn(const struct row_work *wanted, struct ks_error *err)
{
    enum ks_status st = ks_registry_require_running(wanted->engine, err);
    if (st)
        return st;
    struct row_work *work = ks_memdup(wanted, sizeof *wanted);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot change a stream");
    work->turn.is_announced = true;
    work->turn.start = row_start;
    work->turn.cancel = row_cancel;
    st = ks_registry_take_turn(work->engine->registry, &work->turn);
    if (st == KS_OK)
        return KS_OK;
    ks_free(work);
    return ks_fail(err, st, 0, "stream %llu %s", (unsigned long long)wanted->turn.stream_number,
        st == KS_NOT_FOUND ? "is not there" : "has another status, or is being changed");
}

/* ---- the changes ---- */

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

static enum ks_status prepare_retention(struct row_work *work, struct ks_error *err)
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
    const struct row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_retention,
        .retention = *spec,
        .turn = {.stream_number = stream_number, .wants = KS_TURN_WANTS_ACTIVE}};
    return row_take_turn(&work, err);
}

static enum ks_status prepare_mode(struct row_work *work, struct ks_error *err)
{
    (void)err;
    work->during->status = KS_STREAM_UPDATING;
    work->after->mode = work->mode;
    return KS_OK;
}

enum ks_status ks_stream_set_mode(struct ks_engine *engine, uint64_t stream_number,
    enum ks_stream_mode mode, struct ks_admin *admin, struct ks_error *err)
{
    const struct row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_mode,
        .mode = mode,
        .turn = {.stream_number = stream_number, .wants = KS_TURN_WANTS_ACTIVE}};
    return row_take_turn(&work, err);
}

static enum ks_status prepare_delete(struct row_work *work, struct ks_error *err)
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
    const struct row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_delete,
        .keep_ms = keep_ms,
        .turn = {.stream_number = stream_number, .wants = KS_TURN_WANTS_ACTIVE}};
    return row_take_turn(&work, err);
}

static enum ks_status prepare_restore(struct row_work *work, struct ks_error *err)
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
    const struct row_work work = {.engine = engine,
        .admin = admin,
        .prepare = prepare_restore,
        .turn = {.stream_number = stream_number, .wants = KS_TURN_WANTS_KEPT}};
    return row_take_turn(&work, err);
}
