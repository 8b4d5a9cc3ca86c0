#include "storage/reshard.h"

#include "base/alloc.h"
#include "storage/reshard_priv.h"

#define CLOSE_RETRY_MS 10u   /* while the journal has no room */
#define SWITCH_RETRY_MS 500u /* while the catalog has none, or there is no memory */

/* ---- the step ---- */

/*
 * Whether the step is the one to move a work on, or the start and the end in its stead: then nobody
 * else moves or frees it meanwhile. A waiting one may be cancelled and one that the catalog has in
 * hand may be finished at any moment, by another thread: they are not even to be looked at.
 */
static bool is_own(enum reshard_state state)
{
    switch (state) {
    case RESHARD_PLANNED:
    case RESHARD_ADOPTED:
    case RESHARD_CLOSING:
    case RESHARD_CLOSED:
    case RESHARD_REFUSED:
        return true;
    case RESHARD_WAITING:
    case RESHARD_INTENT:
    case RESHARD_SWITCH:
        break;
    }
    return false;
}

/* An own work that this round of the step has not looked at, with its state, which only the caller
 * changes; NULL: there is none. */
static struct ks_reshard *next_work(struct ks_reshards *reshards, enum reshard_state *out_state)
{
    KS_LOCK_SCOPE(&reshards->mu);
    KS_LIST_FOR_EACH(node, &reshards->works)
    {
        struct ks_reshard *reshard = KS_CONTAINER_OF(node, struct ks_reshard, link);
        if (reshard->seen_round == reshards->round || !is_own(reshard->state))
            continue;
        reshard->seen_round = reshards->round;
        *out_state = reshard->state;
        return reshard;
    }
    return NULL;
}

/* True when it has gone on; it may be gone then. *out_retry_ms: it has not, look again after so
 * long. */
static bool reshard_advance(
    struct ks_reshard *reshard, enum reshard_state state, uint64_t *out_retry_ms)
{
    uint64_t now = ks_clock_mono_ns(reshard->reshards->engine->options.clock);
    switch (state) {
    case RESHARD_PLANNED:
        ks_reshard_begin(reshard);
        return true;
    case RESHARD_CLOSING:
        if (ks_reshard_close(reshard))
            return true;
        *out_retry_ms = CLOSE_RETRY_MS;
        return false;
    case RESHARD_CLOSED:
#ifndef KS_PLANTED_BUG_PUBLISH_BEFORE_CLOSE_DURABLE
        if (reshard->closes_pending > 0)
            return false;
#endif
        if (ks_reshard_switch(reshard))
            return true;
        *out_retry_ms = SWITCH_RETRY_MS;
        return false;
    case RESHARD_REFUSED:
        if (now >= reshard->retry_mono_ns && ks_reshard_switch(reshard))
            return true;
        *out_retry_ms = SWITCH_RETRY_MS;
        return false;
    case RESHARD_ADOPTED:
        return false; /* the start says when */
    case RESHARD_WAITING:
    case RESHARD_INTENT:
    case RESHARD_SWITCH:
        break; /* not own */
    }
    return false;
}

static bool reshards_begin(void *self)
{
    struct ks_reshards *reshards = self;
    ks_mailbox_deliver(&reshards->mailbox);
    {
        KS_LOCK_SCOPE(&reshards->mu);
        reshards->round++;
    }
    bool has_gone_on = false;
    uint64_t look_ms = ks_scaling_look(reshards->scaling);
    struct ks_reshard *reshard;
    enum reshard_state state = RESHARD_WAITING;
    while ((reshard = next_work(reshards, &state))) {
        uint64_t retry_ms = 0;
        has_gone_on |= reshard_advance(reshard, state, &retry_ms);
        if (retry_ms > 0)
            look_ms = look_ms ? ks_min_u64(look_ms, retry_ms) : retry_ms;
    }
    reshards->step.idle_ms_max = look_ms;
    return has_gone_on;
}

/* All is done in begin: nothing here waits for the disk. */
static void reshards_nothing(void *self)
{
    (void)self;
}

struct ks_step *ks_reshards_step(struct ks_reshards *reshards)
{
    return &reshards->step;
}

/* ---- beginning ---- */

static void reshard_start(struct ks_turn *turn, struct ks_stream *stream)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(turn, struct ks_reshard, turn);
    struct ks_reshards *reshards = reshard->reshards;
    bool is_ending = false;
    reshard->before = stream;
    {
        KS_LOCK_SCOPE(&reshards->mu);
        is_ending = reshards->is_ending;
        if (!is_ending)
            reshard->state = RESHARD_PLANNED; /* from here on the step's */
    }
    if (is_ending) {
        struct ks_error error = KS_ERROR_INIT;
        error.status = ks_fail(&error, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text);
        ks_reshard_answer(reshard, KS_STOPPING, &error);
        ks_reshard_finish(reshard);
        return;
    }
    ks_wake_set(&reshards->wake);
}

static void reshard_cancel(struct ks_turn *turn, enum ks_status status)
{
    struct ks_reshard *reshard = KS_CONTAINER_OF(turn, struct ks_reshard, turn);
    struct ks_error error = KS_ERROR_INIT;
    error.status = ks_fail(&error, status, 0, "the stream is gone");
    ks_reshard_answer(reshard, status, &error);
    {
        KS_LOCK_SCOPE(&reshard->reshards->mu);
        ks_list_remove(&reshard->link);
    }
    ks_reshard_free(reshard);
}

static struct ks_reshard *reshard_new(struct ks_reshards *reshards, uint64_t stream_number)
{
    struct ks_reshard *reshard = ks_zalloc(sizeof *reshard);
    if (!reshard)
        return NULL;
    reshard->reshards = reshards;
    reshard->turn = (struct ks_turn){.stream_number = stream_number,
        .is_announced = true,
        .start = reshard_start,
        .cancel = reshard_cancel};
    return reshard;
}

enum ks_status ks_stream_reshard(struct ks_engine *engine, uint64_t stream_number,
    const struct ks_reshard_spec *spec, struct ks_admin *admin, struct ks_error *err)
{
    struct ks_reshards *reshards = engine->reshards;
    enum ks_status st = ks_registry_require_running(engine, err);
    if (st)
        return st;
    struct ks_reshard *reshard = reshard_new(reshards, stream_number);
    if (!reshard)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot reshard");
    reshard->spec = *spec;
    reshard->admin = admin;
    {
        KS_LOCK_SCOPE(&reshards->mu);
        ks_list_push(&reshards->works, &reshard->link);
    }
    st = ks_registry_take_turn(engine->registry, &reshard->turn);
    if (st == KS_OK)
        return KS_OK;
    {
        KS_LOCK_SCOPE(&reshards->mu);
        ks_list_remove(&reshard->link);
    }
    ks_reshard_free(reshard);
    return ks_fail(
        err, st, 0, st == KS_IN_USE ? "the stream is not ACTIVE" : "the stream is not there");
}

/* ---- after a start ---- */

/* The parents are those open shards of the stream that a made one names. */
static enum ks_status adopt_parents(struct ks_reshard *reshard, struct ks_error *err)
{
    const struct ks_stream *stream = reshard->current;
    struct ks_reshard_plan *plan = &reshard->plan;
    KS_AUTO_FREE bool *is_parent = ks_calloc(stream->shard_count, sizeof *is_parent);
    plan->parents = ks_calloc(stream->shard_count, sizeof *plan->parents);
    if (!is_parent || !plan->parents)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    for (uint32_t i = 0; i < plan->made_count; i++) {
        const struct ks_shard *made = &plan->made[i];
        uint32_t indexes[2] = {made->parent_index, made->adjacent_parent_index};
        bool has[2] = {made->has_parent, made->has_adjacent_parent};
        for (size_t k = 0; k < 2; k++) {
            const struct ks_shard *parent = has[k] ? ks_stream_shard(stream, indexes[k]) : NULL;
            if (parent && parent->is_open)
                is_parent[parent - stream->shards] = true;
        }
        plan->made_open += made->is_open;
    }
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (is_parent[i])
            plan->parents[plan->parent_count++] = i;
    }
    /* What it will be must be whole: the rows are checked here, not when it is too late. */
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *after = ks_reshard_make_after(reshard);
    if (!after)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    if (plan->parent_count == 0 || !ks_stream_route_init(after))
        return ks_fail(err, KS_CORRUPT, 0,
            "catalog table 'shards', stream %llu: its planned shards do not tile the hash keys",
            (unsigned long long)stream->number);
    return ks_reshard_make_closes(reshard, err);
}

enum ks_status ks_reshards_adopt(struct ks_reshards *reshards, struct ks_stream *stream,
    struct ks_shard *take_made, uint32_t made_count, struct ks_error *err)
{
    struct ks_registry *registry = reshards->engine->registry;
    struct ks_reshard *reshard = reshard_new(reshards, stream->number);
    if (!reshard) {
        for (uint32_t i = 0; i < made_count; i++)
            ks_log_unref(take_made[i].log);
        ks_free(take_made);
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    }
    reshard->current = ks_stream_ref(stream);
    reshard->plan.made = take_made;
    reshard->plan.made_count = made_count;
    reshard->is_durable = true;
    reshard->state = RESHARD_ADOPTED;
    ks_list_push(&reshards->works, &reshard->link);
    ks_registry_adopt_turn(registry, &reshard->turn);
    enum ks_status st = adopt_parents(reshard, err);
    if (!st && !ks_u64_map_reserve(&registry->logs, registry->logs_expected + made_count))
        st = ks_fail(err, KS_NO_MEMORY, 0, "cannot load the streams");
    if (st)
        return st; /* the start ends here, and the works with it */
    const struct ks_reshard_plan *plan = &reshard->plan;
    if (plan->made_open > plan->parent_count)
        reshard->open_added = plan->made_open - plan->parent_count;
    registry->open_shards += reshard->open_added;
    registry->kept_shards += made_count;
    registry->logs_expected += made_count;
    return KS_OK;
}

void ks_reshards_resume(struct ks_reshards *reshards)
{
    KS_LOCK_SCOPE(&reshards->mu);
    KS_LIST_FOR_EACH(node, &reshards->works)
    {
        struct ks_reshard *reshard = KS_CONTAINER_OF(node, struct ks_reshard, link);
        KS_ASSERT(reshard->state == RESHARD_ADOPTED);
#ifndef KS_PLANTED_BUG_RESHARD_NOT_RESUMED
        reshard->state = RESHARD_CLOSING;
#endif
    }
}

/* ---- life ---- */

enum ks_status ks_reshards_create(
    struct ks_engine *engine, struct ks_reshards **out, struct ks_error *err)
{
    struct ks_reshards *reshards = ks_zalloc(sizeof *reshards);
    if (!reshards)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start resharding");
    enum ks_status st = ks_scaling_create(engine, &reshards->mailbox, &reshards->scaling, err);
    if (!st)
        st = ks_mailbox_init(&reshards->mailbox, false, err);
    if (st) {
        ks_scaling_destroy(reshards->scaling);
        ks_free(reshards);
        return st;
    }
    reshards->engine = engine;
    ks_mutex_init(&reshards->mu, KS_RANK_RESHARD);
    ks_wake_init(&reshards->wake, KS_RANK_WAKE);
    ks_list_init(&reshards->works);
    reshards->step = (struct ks_step){.name = "reshard",
        .self = reshards,
        .begin = reshards_begin,
        .run = reshards_nothing,
        .end = reshards_nothing,
        .wake = &reshards->wake};
    *out = reshards;
    return KS_OK;
}

/* What the catalog has in hand it completes itself. */
void ks_reshards_end(struct ks_reshards *reshards)
{
    if (!reshards)
        return;
    ks_mailbox_deliver(&reshards->mailbox);
    {
        KS_LOCK_SCOPE(&reshards->mu);
        reshards->is_ending = true;
        reshards->round++;
    }
    struct ks_error stopping = KS_ERROR_INIT;
    stopping.status = ks_fail(&stopping, KS_STOPPING, 0, "%s", ks_status_info(KS_STOPPING)->text);
    struct ks_reshard *reshard;
    enum reshard_state state = RESHARD_WAITING;
    while (
        (reshard = next_work(reshards, &state))) { /* a waiting one is told when its turn comes */
        if (reshard->is_durable)
            ks_reshard_answer_early(reshard);
        else
            ks_reshard_answer(reshard, KS_STOPPING, &stopping);
        ks_reshard_finish(reshard);
    }
}

void ks_reshards_destroy(struct ks_reshards *reshards)
{
    if (!reshards)
        return;
    KS_ASSERT(ks_list_is_empty(&reshards->works));
    while (ks_list_pop(&reshards->mailbox.mails))
        continue;
    ks_scaling_destroy(reshards->scaling);
    ks_mailbox_fini(&reshards->mailbox);
    ks_wake_fini(&reshards->wake);
    ks_mutex_fini(&reshards->mu);
    ks_free(reshards);
}
