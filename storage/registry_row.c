/* A change of a stream's row that makes and removes no log: its turn, what is seen meanwhile, the
 * commit. */
#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

static void row_complete(
    struct ks_row_work *work, enum ks_status status, const struct ks_error *error)
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

static void row_publish(struct ks_row_work *work, struct ks_stream *stream)
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
    const struct ks_row_work *work = KS_CONTAINER_OF(change, struct ks_row_work, change);
    return ks_stream_row_put(work->after, txn, err);
}

static void row_done(struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_row_work *work = KS_CONTAINER_OF(change, struct ks_row_work, change);
    if (!status)
        ks_stream_apply_retention(work->after);
    row_publish(work, status ? work->before : work->after);
    if (!status && work->after->purge_unix_ms > 0)
        ks_retention_note_kept(
            work->engine->retention, work->after->number, work->after->purge_unix_ms);
    ks_registry_give_turn_on(work->engine->registry, &work->turn);
    row_complete(work, status, error);
}

static enum ks_status row_begin(struct ks_row_work *work, struct ks_error *err)
{
    work->during = ks_stream_copy(work->before, 0);
    work->after = ks_stream_copy(work->before, 0);
    if (!work->during || !work->after)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot change stream '%s'", work->before->name);
    return work->prepare(work, err);
}

static void row_start(struct ks_turn *turn, struct ks_stream *stream)
{
    struct ks_row_work *work = KS_CONTAINER_OF(turn, struct ks_row_work, turn);
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
    struct ks_row_work *work = KS_CONTAINER_OF(turn, struct ks_row_work, turn);
    struct ks_error error = KS_ERROR_INIT;
    KS_IGNORE(ks_fail(&error, status, 0, "the stream is gone"), "only fills it");
    row_complete(work, status, &error);
}

enum ks_status ks_row_change(const struct ks_row_work *wanted, struct ks_error *err)
{
    enum ks_status st = ks_registry_require_running(wanted->engine, err);
    if (st)
        return st;
    struct ks_row_work *work = ks_memdup(wanted, sizeof *wanted);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot change a stream");
    work->turn.start = row_start;
    work->turn.cancel = row_cancel;
    st = ks_registry_take_turn(work->engine->registry, &work->turn);
    if (st == KS_OK)
        return KS_OK;
    ks_free(work);
    return ks_fail(err, st, 0, "stream %llu %s", (unsigned long long)wanted->turn.stream_number,
        st == KS_NOT_FOUND ? "is not there" : "has another status, or is being changed");
}
