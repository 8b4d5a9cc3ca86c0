/* What a reshard does in each of its states (storage/reshard.h). */
#include "base/alloc.h"
#include "storage/reshard_priv.h"

#define SWITCH_RETRY_NS 500000000ull
/* Closed shards cost memory too: there may be so many in all for each open one allowed. */
#define KEPT_SHARDS_PER_OPEN 5u

/* ---- answers ---- */

static void answer(struct ks_reshard *reshard, enum ks_status status, const struct ks_error *error,
    bool is_delayed)
{
    struct ks_admin *admin = KS_TAKE(reshard->admin);
    if (!admin)
        return;
    admin->status = status;
    admin->error = *error;
    admin->stream = NULL;
    admin->is_delayed = is_delayed;
    ks_mailbox_send(admin->home, &admin->mail);
}

void ks_reshard_answer(
    struct ks_reshard *reshard, enum ks_status status, const struct ks_error *error)
{
    answer(reshard, status, error, false);
}

void ks_reshard_answer_early(struct ks_reshard *reshard)
{
    const struct ks_error none = KS_ERROR_INIT;
    answer(reshard, KS_OK, &none, true);
}

void ks_reshard_free(struct ks_reshard *reshard)
{
    for (uint32_t i = 0; i < reshard->plan.made_count; i++)
        ks_log_unref(reshard->plan.made[i].log);
    ks_reshard_plan_fini(&reshard->plan);
    struct ks_stream *streams[] = {reshard->before, reshard->current, reshard->after};
    for (size_t i = 0; i < KS_COUNT_OF(streams); i++) {
        if (streams[i])
            ks_stream_unref(streams[i]);
    }
    ks_free(reshard->closes);
    ks_free(reshard);
}

void ks_reshard_finish(struct ks_reshard *reshard)
{
    struct ks_reshards *reshards = reshard->reshards;
    {
        KS_LOCK_SCOPE(&reshards->mu);
        ks_list_remove(&reshard->link);
    }
    ks_registry_give_turn_on(reshards->engine->registry, &reshard->turn);
    ks_reshard_free(reshard);
    ks_wake_set(&reshards->wake); /* scaling may have been answered */
}

/* In its new state it may be somebody else's, and gone, as soon as the mutex is free. */
static void reshard_move(struct ks_reshard *reshard, enum reshard_state state)
{
    struct ks_reshards *reshards = reshard->reshards;
    {
        KS_LOCK_SCOPE(&reshards->mu);
        reshard->state = state;
    }
    ks_wake_set(&reshards->wake);
}

/* ---- the intent ---- */

static enum ks_status intent_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(change, struct ks_reshard, change);
    enum ks_status st = ks_registry_high_put(reshard->reshards->engine->registry, txn, err);
    if (!st)
        st = ks_stream_row_put(reshard->current, txn, err);
    for (uint32_t i = 0; !st && i < reshard->plan.made_count; i++) {
        const struct ks_shard *made = &reshard->plan.made[i];
        st = ks_shard_row_put(reshard->current, made,
            made->is_open ? KS_SHARD_ROW_PLANNED : KS_SHARD_ROW_PLANNED_SHORT, txn, err);
    }
    return st;
}

/* Nothing was committed: the stream is what it was. */
static void intent_take_back(struct ks_reshard *reshard)
{
    struct ks_registry *registry = reshard->reshards->engine->registry;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        registry->open_shards -= reshard->open_added;
        registry->kept_shards -= reshard->plan.made_count;
        registry->logs_expected -= reshard->plan.made_count;
        old = ks_registry_publish(registry, reshard->before);
    }
    ks_stream_unref(old);
}

static void intent_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(change, struct ks_reshard, change);
    if (status) {
        intent_take_back(reshard);
        ks_reshard_answer(reshard, status, error);
        ks_reshard_finish(reshard);
        return;
    }
    reshard->is_durable = true;
    reshard_move(reshard, RESHARD_CLOSING);
}

/* Under the registry's mutex: room in the account, ids given out, UPDATING visible. */
static enum ks_status intent_announce(
    struct ks_reshard *reshard, uint64_t *out_first_log_id, struct ks_error *err)
{
    struct ks_registry *registry = reshard->reshards->engine->registry;
    const struct ks_reshard_plan *plan = &reshard->plan;
    uint32_t shards_max = atomic_load(&registry->engine->shards_max);
    uint32_t more = plan->made_open > plan->parent_count ? plan->made_open - plan->parent_count : 0;
    struct ks_stream *old = NULL;
    {
        KS_LOCK_SCOPE(&registry->mu);
        if (more > 0 && registry->open_shards + more > shards_max)
            return ks_fail(err, KS_LIMIT, 0,
                "%u more shards would exceed the limit of %u (there are %u)", more, shards_max,
                registry->open_shards);
        if (registry->kept_shards + (uint64_t)plan->made_count >
            (uint64_t)KEPT_SHARDS_PER_OPEN * shards_max)
            return ks_fail(err, KS_LIMIT, 0,
                "%u shards, closed ones included, are kept already: they go when their records "
                "expire",
                registry->kept_shards);
        if (!ks_u64_map_reserve(&registry->logs, registry->logs_expected + plan->made_count))
            return ks_fail(err, KS_NO_MEMORY, 0, "cannot reshard");
        *out_first_log_id = registry->log_id_high + 1;
        registry->log_id_high += plan->made_count;
        registry->open_shards += more;
        registry->kept_shards += plan->made_count;
        registry->logs_expected += plan->made_count;
        reshard->open_added = more;
        old = ks_registry_publish(registry, reshard->current);
    }
    ks_stream_unref(old);
    return KS_OK;
}

static enum ks_status make_logs(
    struct ks_reshard *reshard, uint64_t first_log_id, struct ks_error *err)
{
    for (uint32_t i = 0; i < reshard->plan.made_count; i++) {
        enum ks_status st = ks_shard_make_log(reshard->reshards->engine, reshard->current,
            &reshard->plan.made[i], first_log_id + i, err);
        if (st)
            return st;
        /* Nothing that was routed before the switch may come in. */
        reshard->plan.made[i].log->routing_epoch = reshard->current->routing_epoch + 1;
    }
    return KS_OK;
}

enum ks_status ks_reshard_make_closes(struct ks_reshard *reshard, struct ks_error *err)
{
    reshard->closes = ks_calloc(reshard->plan.parent_count, sizeof *reshard->closes);
    if (!reshard->closes)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot reshard");
    for (uint32_t i = 0; i < reshard->plan.parent_count; i++)
        reshard->closes[i].reshard = reshard;
    return KS_OK;
}

/* The turn has come. Everything that the way ahead needs is taken here. */
static enum ks_status reshard_plan(struct ks_reshard *reshard, struct ks_error *err)
{
    struct ks_engine *engine = reshard->reshards->engine;
    uint64_t now_s = ks_clock_unix_ms(engine->options.clock) / 1000;
    enum ks_status st =
        ks_reshard_plan_make(reshard->before, &reshard->spec, now_s, &reshard->plan, err);
    if (st || reshard->plan.made_count == 0)
        return st;
    reshard->current = ks_stream_copy(reshard->before, 0);
    if (!reshard->current)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot reshard");
    reshard->current->status = KS_STREAM_UPDATING;
    reshard->current->next_shard_index += reshard->plan.made_count;
    st = ks_reshard_make_closes(reshard, err);
    uint64_t first_log_id = 0;
    if (!st)
        st = intent_announce(reshard, &first_log_id, err);
    if (st)
        return st;
    st = make_logs(reshard, first_log_id, err);
    if (st)
        intent_take_back(reshard);
    return st;
}

void ks_reshard_begin(struct ks_reshard *reshard)
{
    struct ks_error error = KS_ERROR_INIT;
    error.status = ks_engine_is_poisoned(reshard->reshards->engine)
                       ? ks_fail(&error, KS_POISONED, 0, "%s", ks_status_info(KS_POISONED)->text)
                       : reshard_plan(reshard, &error);
    if (error.status || reshard->plan.made_count == 0) {
        ks_reshard_answer(reshard, error.status, &error);
        ks_reshard_finish(reshard);
        return;
    }
    reshard_move(reshard, RESHARD_INTENT);
    reshard->change.apply = intent_apply;
    reshard->change.done = intent_done;
    ks_catalog_submit(reshard->reshards->engine->catalog, &reshard->change);
}

/* ---- closing ---- */

static void close_delivered(struct ks_mail *mail)
{
    struct ks_append *append = KS_CONTAINER_OF(mail, struct ks_append, mail);
    struct parent_close *close = KS_CONTAINER_OF(append, struct parent_close, append);
    /* Anything but success is a poison: then all ends as it is. */
    if (append->status == KS_OK)
        close->reshard->closes_pending--;
}

static struct ks_log *parent_log(const struct ks_reshard *reshard, uint32_t i)
{
    return reshard->current->shards[reshard->plan.parents[i]].log;
}

/* Room in the journal for all that is still to be queued, or for nothing: parents that have begun
 * to close make producers wait. */
static enum ks_status closes_reserve(struct ks_reshard *reshard)
{
    struct ks_journal *journal = reshard->reshards->engine->journal;
    for (uint32_t i = 0; i < reshard->plan.parent_count; i++) {
        struct parent_close *close = &reshard->closes[i];
        if (close->is_queued)
            continue;
        enum ks_status st =
            ks_journal_reserve(journal, ks_close_bytes(), &close->append.reserved_bytes);
        if (st == KS_OK)
            continue;
        while (i-- > 0) {
            if (!reshard->closes[i].is_queued)
                ks_journal_release(journal, reshard->closes[i].append.reserved_bytes);
        }
        return st;
    }
    return KS_OK;
}

/* At the start a parent's close may be there already. */
static bool parent_is_closed(struct ks_log *log)
{
    KS_LOCK_SCOPE(&log->mu);
    return log->state != KS_LOG_OPEN;
}

/* False: for some there was no memory, or the engine is stopping; what they had reserved is given
 * back. */
static bool closes_queue(struct ks_reshard *reshard)
{
    struct ks_engine *engine = reshard->reshards->engine;
    bool is_all = true;
    for (uint32_t i = 0; i < reshard->plan.parent_count; i++) {
        struct parent_close *close = &reshard->closes[i];
        if (close->is_queued)
            continue;
        uint64_t reserved = close->append.reserved_bytes;
        close->append.mail.deliver = close_delivered;
        close->append.home = &reshard->reshards->mailbox;
        reshard->closes_pending++;
        close->is_queued = ks_log_close(parent_log(reshard, i), &close->append, NULL) == KS_OK;
        if (close->is_queued)
            continue;
        reshard->closes_pending--;
        ks_journal_release(engine->journal, reserved);
        is_all = false;
    }
    return is_all;
}

/* Returns true when it has gone on. */
bool ks_reshard_close(struct ks_reshard *reshard)
{
    struct ks_engine *engine = reshard->reshards->engine;
    if (atomic_load(&engine->is_stopping) || ks_engine_is_poisoned(engine))
        return false; /* the next start goes on */
    for (uint32_t i = 0; i < reshard->plan.parent_count; i++) {
        if (!reshard->closes[i].is_queued)
            reshard->closes[i].is_queued = parent_is_closed(parent_log(reshard, i));
    }
    if (closes_reserve(reshard) != KS_OK || !closes_queue(reshard)) {
        ks_wake_set(ks_flush_step(engine->flush)->wake);
        ks_reshard_answer_early(reshard);
        return false;
    }
    reshard_move(reshard, RESHARD_CLOSED);
    return true;
}

/* ---- the switch ---- */

static enum ks_status switch_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(change, struct ks_reshard, change);
    const struct ks_stream *after = reshard->after;
    enum ks_status st = ks_stream_row_put(after, txn, err);
    for (uint32_t i = 0; !st && i < reshard->plan.parent_count; i++)
        st = ks_shard_row_put(
            after, &after->shards[reshard->plan.parents[i]], KS_SHARD_ROW_CLOSED, txn, err);
    for (uint32_t i = reshard->current->shard_count; !st && i < after->shard_count; i++)
        st = ks_shard_row_put(after, &after->shards[i],
            after->shards[i].is_open ? KS_SHARD_ROW_OPEN : KS_SHARD_ROW_CLOSED, txn, err);
    return st;
}

/* The children first: who sees the end of a parent finds them. */
static void reshard_publish(struct ks_reshard *reshard)
{
    struct ks_registry *registry = reshard->reshards->engine->registry;
    const struct ks_reshard_plan *plan = &reshard->plan;
    struct ks_stream *after = reshard->after;
    struct ks_stream *old = NULL;
    for (uint32_t i = reshard->current->shard_count; i < after->shard_count; i++) {
        if (!after->shards[i].is_open)
            KS_IGNORE(
                ks_log_settle_end(after->shards[i].log, 0, NULL), "an empty log has no damage");
    }
    {
        KS_LOCK_SCOPE(&registry->mu);
        registry->logs_expected -= plan->made_count;
        for (uint32_t i = 0; i < plan->made_count; i++)
            ks_u64_map_put(
                &registry->logs, ks_log_id(plan->made[i].log), ks_log_ref(plan->made[i].log));
        registry->open_shards -= reshard->open_added;
        registry->open_shards -= plan->parent_count;
        registry->open_shards += plan->made_open;
        old = ks_registry_publish(registry, after);
    }
    ks_stream_unref(old);
    for (uint32_t i = 0; i < plan->parent_count; i++)
        ks_log_show_end(parent_log(reshard, i));
}

static void switch_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(change, struct ks_reshard, change);
    if (status && status != KS_POISONED && status != KS_STOPPING) {
        uint64_t now = ks_clock_mono_ns(reshard->reshards->engine->options.clock);
        reshard->retry_mono_ns = now + SWITCH_RETRY_NS;
        ks_reshard_answer_early(reshard);
        reshard_move(reshard, RESHARD_REFUSED);
        return;
    }
    if (status == KS_OK)
        reshard_publish(reshard);
    ks_reshard_answer(reshard, status, error);
    ks_reshard_finish(reshard);
}

/* Close times never go back along the lineage, whatever the clock does: lists at a time rely on it.
 */
static uint64_t close_time(
    const struct ks_stream *stream, const struct ks_shard *shard, uint64_t now_s)
{
    uint32_t indexes[2] = {shard->parent_index, shard->adjacent_parent_index};
    bool has[2] = {shard->has_parent, shard->has_adjacent_parent};
    for (size_t i = 0; i < 2; i++) {
        const struct ks_shard *parent = has[i] ? ks_stream_shard(stream, indexes[i]) : NULL;
        if (parent)
            now_s = ks_max_u64(now_s, parent->closed_s);
    }
    return now_s;
}

static void after_close(struct ks_shard *shard, uint64_t closed_s)
{
    shard->is_open = false;
    shard->closed_s = closed_s;
    shard->end_sequence = atomic_load(&shard->log->durable_sequence);
}

/* The stream as it will be, but for its routing. One time for all that close now, so that at any
 * time shards tile. */
struct ks_stream *ks_reshard_make_after(const struct ks_reshard *reshard)
{
    const struct ks_stream *current = reshard->current;
    const struct ks_reshard_plan *plan = &reshard->plan;
    struct ks_stream *after = ks_stream_copy(current, plan->made_count);
    if (!after)
        return NULL;
    after->status = KS_STREAM_ACTIVE;
    after->routing_epoch++;
    uint64_t closed_s = ks_clock_unix_ms(reshard->reshards->engine->options.clock) / 1000;
    for (uint32_t i = 0; i < plan->parent_count; i++)
        closed_s = close_time(current, &current->shards[plan->parents[i]], closed_s);
    for (uint32_t i = 0; i < plan->parent_count; i++)
        after_close(&after->shards[plan->parents[i]], closed_s);
    for (uint32_t i = 0; i < plan->made_count; i++) {
        struct ks_shard *made = &after->shards[current->shard_count + i];
        *made = plan->made[i];
        ks_log_ref(made->log);
        if (!made->is_open)
            after_close(made, closed_s);
    }
    return after;
}

bool ks_reshard_switch(struct ks_reshard *reshard)
{
    if (!reshard->after)
        reshard->after = ks_reshard_make_after(reshard);
    if (!reshard->after)
        return false; /* memory: again, later */
    KS_ASSERT(ks_stream_route_init(reshard->after));
    reshard_move(reshard, RESHARD_SWITCH);
    reshard->change.apply = switch_apply;
    reshard->change.done = switch_done;
    ks_catalog_submit(reshard->reshards->engine->catalog, &reshard->change);
    return true;
}
