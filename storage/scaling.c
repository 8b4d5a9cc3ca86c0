#include "storage/scaling.h"

#include "base/alloc.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

#define HOT_PERCENT 50u  /* more is */
#define COLD_PERCENT 10u /* less is */

struct shard_meter {
    uint32_t shard_index;
    uint64_t records; /* the shard had taken at the last look */
    uint64_t bytes;
    bool is_hot;
    bool is_cold;
    uint64_t cold_since_ns;
};

struct stream_meter {
    struct ks_admin admin;
    struct ks_scaling *scaling;
    uint64_t stream_number;
    uint64_t look;              /* the last one that has seen the stream */
    uint64_t looked_ns;         /* when that was */
    struct shard_meter *shards; /* open ones, by index */
    uint32_t shard_count;
    struct ks_reshard_step *steps; /* of the reshard under way; NULL: none is */
    uint32_t step_count;
};

struct ks_scaling {
    struct ks_engine *engine;
    struct ks_mailbox *home;
    struct ks_u64_map meters; /* by stream number */
    uint64_t look;
    uint64_t next_ns; /* 0: at once */
};

/* ---- measuring ---- */

/* Is so much in that time more than so many percent of the rate? */
static bool is_above(uint64_t amount, uint64_t per_s, uint64_t elapsed_ns, uint32_t percent)
{
    return (ks_u128)amount * 100 * 1000000000 > (ks_u128)per_s * elapsed_ns * percent;
}

/* was: at the last look; NULL: the shard is new. */
static void measure_shard(const struct stream_meter *meter, const struct ks_shard *shard,
    const struct shard_meter *was, uint64_t now_ns, struct shard_meter *out)
{
    const struct ks_scale_limits *limits = &meter->scaling->engine->options.limits.scale;
    uint64_t elapsed_ns = now_ns - meter->looked_ns;
    *out = (struct shard_meter){.shard_index = shard->index};
    {
        KS_LOCK_SCOPE(&shard->log->mu);
        out->records = shard->log->next_sequence - 1;
        out->bytes = shard->log->appended_bytes;
    }
    if (!was)
        return;
    uint64_t records = out->records - was->records;
    uint64_t bytes = out->bytes - was->bytes;
    out->is_hot = is_above(records, limits->records_per_s, elapsed_ns, HOT_PERCENT) ||
                  is_above(bytes, limits->bytes_per_s, elapsed_ns, HOT_PERCENT);
    out->is_cold = !is_above(records, limits->records_per_s, elapsed_ns, COLD_PERCENT) &&
                   !is_above(bytes, limits->bytes_per_s, elapsed_ns, COLD_PERCENT);
    out->cold_since_ns = was->is_cold ? was->cold_since_ns : meter->looked_ns;
}

/* False: no memory; the stream is measured anew from the next look on. */
static bool measure_stream(
    struct stream_meter *meter, const struct ks_stream *stream, uint64_t now_ns)
{
    struct shard_meter *shards = ks_calloc(stream->open_count, sizeof *shards);
    uint32_t count = 0;
    uint32_t old = 0;
    for (uint32_t i = 0; shards && i < stream->shard_count; i++) {
        const struct ks_shard *shard = &stream->shards[i];
        if (!shard->is_open)
            continue;
        while (old < meter->shard_count && meter->shards[old].shard_index < shard->index)
            old++;
        bool is_known = old < meter->shard_count && meter->shards[old].shard_index == shard->index;
        measure_shard(
            meter, shard, is_known ? &meter->shards[old] : NULL, now_ns, &shards[count++]);
    }
    ks_free(meter->shards);
    meter->shards = shards;
    meter->shard_count = count;
    meter->looked_ns = now_ns;
    return shards != NULL;
}

static const struct shard_meter *meter_of(const struct stream_meter *meter, uint32_t shard_index)
{
    uint32_t low = 0;
    uint32_t high = meter->shard_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (meter->shards[middle].shard_index < shard_index)
            low = middle + 1;
        else
            high = middle;
    }
    KS_ASSERT(low < meter->shard_count && meter->shards[low].shard_index == shard_index);
    return &meter->shards[low];
}

/* ---- deciding ---- */

static uint32_t room_for_splits(const struct ks_scaling *scaling, const struct ks_stream *stream)
{
    struct ks_engine *engine = scaling->engine;
    uint32_t stream_max = engine->options.limits.scale.shards_max;
    uint32_t account_max = atomic_load(&engine->shards_max);
    uint32_t open = ks_registry_open_shards(engine);
    uint32_t of_stream = stream_max > stream->open_count ? stream_max - stream->open_count : 0;
    return KS_MIN(of_stream, account_max > open ? account_max - open : 0);
}

static bool is_long_cold(const struct stream_meter *meter, uint32_t shard_index, uint64_t now_ns)
{
    const struct shard_meter *shard = meter_of(meter, shard_index);
    uint64_t cold_ns = meter->scaling->engine->options.limits.scale.cold_ms * 1000000;
    return shard->is_cold && now_ns - shard->cold_since_ns >= cold_ns;
}

/* Into meter->steps, which has room for a step of each open shard. */
static void choose_steps(struct stream_meter *meter, const struct ks_stream *stream)
{
    struct ks_scaling *scaling = meter->scaling;
    uint32_t splits_left = room_for_splits(scaling, stream);
    uint32_t shards_min =
        KS_MAX(scaling->engine->options.limits.scale.shards_min, stream->warm_mibps);
    uint32_t merges_left = stream->open_count > shards_min ? stream->open_count - shards_min : 0;
    for (uint32_t i = 0; i < stream->open_count; i++) {
        const struct ks_shard *shard = &stream->shards[stream->open_by_hash[i]];
        const struct ks_shard *next =
            i + 1 < stream->open_count ? &stream->shards[stream->open_by_hash[i + 1]] : NULL;
        bool is_split = splits_left > 0 && meter_of(meter, shard->index)->is_hot &&
                        shard->hash_last > shard->hash_first;
        bool is_merge = merges_left > 0 && next &&
                        is_long_cold(meter, shard->index, meter->looked_ns) &&
                        is_long_cold(meter, next->index, meter->looked_ns);
        if (!is_split && !is_merge)
            continue;
        meter->steps[meter->step_count++] =
            (struct ks_reshard_step){.shard_index = shard->index, .is_merge = is_merge};
        splits_left -= is_split;
        merges_left -= is_merge;
        i += is_merge;
    }
}

/* ---- doing ---- */

static void steps_end(struct stream_meter *meter)
{
    ks_free(KS_TAKE(meter->steps));
    meter->step_count = 0;
}

static void steps_refused(
    const struct stream_meter *meter, const char *stream_name, const struct ks_error *error)
{
    ks_emit(meter->scaling->engine->options.events, KS_LEVEL_WARNING, "stream.not_scaled",
        "stream=%s why=\"%s\"", stream_name, error->text);
}

static void steps_answered(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    struct stream_meter *meter = KS_CONTAINER_OF(admin, struct stream_meter, admin);
    struct ks_engine *engine = meter->scaling->engine;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = NULL;
    uint32_t merges = 0;
    for (uint32_t i = 0; i < meter->step_count; i++)
        merges += meter->steps[i].is_merge;
    if (ks_registry_find_number(engine, meter->stream_number, &stream) == KS_OK) {
        if (admin->status)
            steps_refused(meter, stream->name, &admin->error);
        else
            ks_emit(engine->options.events, KS_LEVEL_INFO, "stream.scaled",
                "stream=%s splits=%u merges=%u open_shards=%u", stream->name,
                meter->step_count - merges, merges, stream->open_count);
    }
    steps_end(meter);
}

static void scale_stream(struct stream_meter *meter, const struct ks_stream *stream)
{
    struct ks_scaling *scaling = meter->scaling;
    if (stream->status != KS_STREAM_ACTIVE || meter->steps)
        return;
    meter->steps = ks_calloc(stream->open_count, sizeof *meter->steps);
    if (!meter->steps)
        return;
    choose_steps(meter, stream);
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = KS_OK;
    if (meter->step_count > 0) {
        const struct ks_reshard_spec spec = {
            .kind = KS_RESHARD_STEPS, .steps = meter->steps, .step_count = meter->step_count};
        meter->admin =
            (struct ks_admin){.mail = {.deliver = steps_answered}, .home = scaling->home};
        st = ks_stream_reshard(scaling->engine, stream->number, &spec, &meter->admin, &error);
        if (st == KS_OK)
            return;
    }
    /* Somebody else's change, or the end: nothing to tell. */
    if (st == KS_NO_MEMORY)
        steps_refused(meter, stream->name, &error);
    steps_end(meter);
}

/* ---- looking ---- */

static void meter_free(struct stream_meter *meter)
{
    ks_free(meter->shards);
    ks_free(meter->steps);
    ks_free(meter);
}

/* NULL: no memory. */
static struct stream_meter *meter_get(struct ks_scaling *scaling, uint64_t stream_number)
{
    struct stream_meter *meter = ks_u64_map_get(&scaling->meters, stream_number);
    if (meter || !ks_u64_map_reserve(&scaling->meters, 1))
        return meter;
    meter = ks_zalloc(sizeof *meter);
    if (!meter)
        return NULL;
    meter->scaling = scaling;
    meter->stream_number = stream_number;
    ks_u64_map_put(&scaling->meters, stream_number, meter);
    return meter;
}

/* Of streams that are gone, or on demand no more. One whose answer is still to come waits. */
static void forget_unseen(struct ks_scaling *scaling)
{
    for (bool is_over = false; !is_over;) {
        struct stream_meter *unseen = NULL;
        KS_U64_MAP_FOR_EACH(slot, &scaling->meters)
        {
            struct stream_meter *meter = slot->value;
            if (meter->look != scaling->look && !meter->steps)
                unseen = meter;
        }
        is_over = !unseen;
        if (unseen) {
            KS_IGNORE(ks_u64_map_remove(&scaling->meters, unseen->stream_number), "it is unseen");
            meter_free(unseen);
        }
    }
}

static void look_at(struct ks_scaling *scaling, const struct ks_stream *stream)
{
    if (stream->status != KS_STREAM_ACTIVE && stream->status != KS_STREAM_UPDATING)
        return;
    struct stream_meter *meter = meter_get(scaling, stream->number);
    if (!meter)
        return;
    meter->look = scaling->look;
    if (measure_stream(meter, stream, ks_clock_mono_ns(scaling->engine->options.clock)))
        scale_stream(meter, stream);
}

static void look_at_all(struct ks_scaling *scaling, struct ks_stream **streams, size_t count)
{
    scaling->look++;
    for (size_t i = 0; i < count; i++) {
        look_at(scaling, streams[i]);
        ks_stream_unref(streams[i]);
    }
    forget_unseen(scaling);
}

uint64_t ks_scaling_look(struct ks_scaling *scaling)
{
    uint64_t interval_ms = scaling->engine->options.limits.scale.interval_ms;
    uint64_t now_ns = ks_clock_mono_ns(scaling->engine->options.clock);
    if (now_ns < scaling->next_ns)
        return (scaling->next_ns - now_ns) / 1000000 + 1;
    KS_AUTO_FREE struct ks_stream **streams = NULL;
    size_t count = 0;
    if (ks_registry_list_on_demand(scaling->engine->registry, &streams, &count) == KS_OK)
        look_at_all(scaling, streams, count);
    else
        count = 1; /* no memory: later */
    scaling->next_ns = count > 0 ? now_ns + interval_ms * 1000000 : 0;
    return count > 0 ? interval_ms : 0;
}

/* ---- life ---- */

enum ks_status ks_scaling_create(struct ks_engine *engine, struct ks_mailbox *home,
    struct ks_scaling **out, struct ks_error *err)
{
    struct ks_scaling *scaling = ks_zalloc(sizeof *scaling);
    if (!scaling)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot start scaling");
    scaling->engine = engine;
    scaling->home = home;
    *out = scaling;
    return KS_OK;
}

void ks_scaling_destroy(struct ks_scaling *scaling)
{
    if (!scaling)
        return;
    KS_U64_MAP_FOR_EACH(slot, &scaling->meters)
    meter_free(slot->value);
    ks_u64_map_fini(&scaling->meters);
    ks_free(scaling);
}
