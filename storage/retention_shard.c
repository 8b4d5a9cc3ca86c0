/*
 * Closed shards leave their stream when their close lies before the horizon: then every record has
 * expired, and a list of the shards at any time that can still be asked for tiles all hash keys
 * without them. The removal is the registry's (ks_shard_remove) and takes its turn; its outcome
 * comes by mail to the compactor's own box, which begin empties.
 */
#include "base/alloc.h"
#include "storage/retention_priv.h"

#define REMOVALS_MAX 16u
#define TRY_AGAIN_MS 2000u /* a parent is still there, or the disk is full */

struct removal {
    struct ks_admin admin;
    struct ks_retention *retention;
    struct ks_log *log; /* referenced */
};

static void removal_free(struct removal *removal)
{
    ks_log_unref(removal->log);
    ks_free(removal);
}

static void removal_end(struct removal *removal, enum ks_status status)
{
    struct ks_retention *retention = removal->retention;
    struct ks_log *log = removal->log;
    if (status == KS_OK)
        ks_engine_count(retention->engine, KS_COUNT_SHARDS_REMOVED, 1);
    retention->removal_count--;
    {
        KS_LOCK_SCOPE(&log->mu);
        log->is_leaving = false;
        if (log->state == KS_LOG_CLOSED)
            ks_retention_note_at(
                retention, log, ks_engine_retention_unix_ms(retention->engine) + TRY_AGAIN_MS);
    }
    removal_free(removal);
}

static void removal_delivered(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    removal_end(KS_CONTAINER_OF(admin, struct removal, admin), admin->status);
}

/* When the shard of a closed log was closed, at the latest; 0: it has no such shard any more. */
static uint64_t closed_unix_ms(struct ks_engine *engine, const struct ks_log *log)
{
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    if (ks_registry_find_number(engine, log->identity.stream_number, &stream))
        return 0;
    const struct ks_shard *shard = ks_stream_shard(stream, log->identity.shard_index);
    return shard && shard->log == log && !shard->is_open ? shard->closed_s * 1000 + 999 : 0;
}

/* Log mutex held. */
static bool may_leave(const struct ks_log *log, uint64_t now_unix_ms)
{
    return log->state == KS_LOG_CLOSED && !log->is_leaving &&
           ks_retention_leave_due(log) <= now_unix_ms;
}

bool ks_retention_remove_shard(
    struct ks_retention *retention, struct ks_log *log, uint64_t now_unix_ms)
{
    {
        KS_LOCK_SCOPE(&log->mu);
        if (!may_leave(log, now_unix_ms))
            return false;
    }
    uint64_t closed = closed_unix_ms(retention->engine, log);
    {
        KS_LOCK_SCOPE(&log->mu);
        log->closed_unix_ms = closed;
        if (closed == 0 || !may_leave(log, now_unix_ms) || retention->removal_count >= REMOVALS_MAX)
            return false;
        log->is_leaving = true;
    }
    struct removal *removal = ks_zalloc(sizeof *removal);
    if (removal) {
        removal->retention = retention;
        removal->log = ks_log_ref(log);
        removal->admin.mail.deliver = removal_delivered;
        removal->admin.home = &retention->box;
        retention->removal_count++;
        enum ks_status st = ks_shard_remove(retention->engine, log->identity.stream_number,
            log->identity.shard_index, &removal->admin, NULL);
        if (st)
            removal_end(removal, st);
        return true;
    }
    KS_LOCK_SCOPE(&log->mu);
    log->is_leaving = false;
    return false;
}
