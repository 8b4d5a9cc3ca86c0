/* Long-polls: parties that wait for a log's next records, and must hear of them. */
#include "tests/sim/sim_world.h"

#include <inttypes.h>

static void sim_watch_end(struct sim_watch *watch)
{
    watch->is_armed = false;
    ks_log_unref(KS_TAKE(watch->log));
}

static void sim_watch_told(struct ks_mail *mail)
{
    struct sim_watch *watch = KS_CONTAINER_OF(mail, struct sim_watch, watch.mail);
    watch->world->totals->watches_told++;
    sim_watch_end(watch);
}

static void sim_watch_begin(struct sim_world *world, struct sim_watch *watch)
{
    struct sim_stream *stream = &world->streams[ks_prng_below(&world->prng, SIM_STREAMS_MAX)];
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (stream->state != SIM_STREAM_THERE ||
        ks_registry_find(world->engine, stream->name, &snapshot) != KS_OK)
        return;
    struct ks_log *log = snapshot->shards[ks_prng_below(&world->prng, snapshot->shard_count)].log;
    struct ks_log_bounds bounds;
    watch->world = world;
    watch->watch.mail.deliver = sim_watch_told;
    watch->watch.home = &world->mailbox;
    watch->log = ks_log_ref(log);
    watch->is_armed = true;
    ks_log_watch_arm(log, &watch->watch);
    ks_log_bounds(log, &bounds);
    watch->last_sequence = bounds.last_sequence;
    watch->was_closed = bounds.is_closed;
    if (bounds.is_deleted && ks_log_watch_disarm(log, &watch->watch))
        sim_watch_end(watch);
}

void sim_watch_some(struct sim_world *world)
{
    struct sim_watch *watch = &world->watches[ks_prng_below(&world->prng, SIM_WATCHES)];
    if (!watch->is_armed) {
        sim_watch_begin(world, watch);
    } else if (ks_log_watch_disarm(watch->log, &watch->watch)) {
        world->totals->watches_taken_back++;
        sim_watch_end(watch);
    }
}

bool sim_check_watches(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_WATCHES; i++) {
        const struct sim_watch *watch = &world->watches[i];
        struct ks_log_bounds bounds;
        if (!watch->is_armed)
            continue;
        ks_log_bounds(watch->log, &bounds);
        if (bounds.is_closed && !watch->was_closed)
            return sim_fail(world, "a reader of log %" PRIu64 " was not told that it ends",
                ks_log_id(watch->log));
        if (bounds.last_sequence > watch->last_sequence)
            return sim_fail(world,
                "a reader of log %" PRIu64 " waits behind %" PRIu64 " and was not told of %" PRIu64,
                ks_log_id(watch->log), watch->last_sequence, bounds.last_sequence);
    }
    return true;
}

void sim_forget_watches(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_WATCHES; i++)
        if (world->watches[i].is_armed)
            sim_watch_end(&world->watches[i]);
}
