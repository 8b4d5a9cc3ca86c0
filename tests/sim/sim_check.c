/* Holds what the engine answers against what the clients know. */
#include "proto/batch.h"
#include "tests/sim/sim_world.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

/* One record of the log at sequence: is it the one that was sent? */
static bool sim_check_record(struct sim_world *world, struct sim_log *log, uint64_t sequence,
    const struct ks_record_view *record)
{
    world->totals->records_checked++;
    struct sim_batch *sent = sim_log_find(log, sequence);
    if (!sent || sent->uid == 0) {
        world->totals->duplicated++;
        return sim_fail(world, "record %" PRIu64 " was never sent to this log", sequence);
    }
    if (!ks_record_crc_is_right(record)) {
        if (!world->has_flips)
            return sim_fail(world, "record %" PRIu64 " has a wrong checksum", sequence);
        world->totals->damage_reported++; /* the client sees it and says so */
        return true;
    }
    uint32_t data_max =
        sent->record_count == 1 && sent->uid % 16 == 0 ? SIM_DATA_BIG : SIM_DATA_MAX;
    uint32_t index = (uint32_t)(sequence - sent->first_sequence);
    if (sim_records_are(sent->uid, data_max, index, record->key, record->data))
        return true;
    world->totals->altered++;
    return sim_fail(world, "record %" PRIu64 " is not what was sent", sequence);
}

static bool sim_check_data_batch(
    struct sim_world *world, struct sim_log *log, const struct ks_batch_view *batch)
{
    struct ks_record_walk walk;
    struct ks_record_view record;
    ks_record_walk_init(&walk, batch->records);
    uint64_t sequence = batch->header.first_sequence;
    for (uint32_t i = 0; i < batch->header.record_count; i++, sequence++) {
        enum ks_status st = ks_record_walk_next(&walk, &record);
        if (st != KS_OK) {
            if (!world->has_flips)
                return sim_fail(world, "records of batch %" PRIu64 " do not parse: %s",
                    batch->header.first_sequence, ks_status_name(st));
            world->totals->damage_reported++;
            return true; /* the rest of the batch is reported damaged */
        }
        if (!sim_check_record(world, log, sequence, &record))
            return false;
    }
    return true;
}

bool sim_check_read(struct sim_world *world, struct sim_log *log, uint64_t log_id,
    const struct ks_read *read, uint64_t from_sequence)
{
    uint64_t expected = 0;
    for (uint32_t i = 0; i < read->extent_count; i++) {
        struct ks_view left = read->extents[i];
        while (left.bytes) {
            struct ks_batch_view batch;
            enum ks_status st = ks_batch_decode(left, &batch);
            if (st != KS_OK)
                return sim_fail(
                    world, "an answer holds bytes that are no batch (%s)", ks_status_name(st));
            if (batch.header.log_id != log_id) {
                world->totals->altered++;
                return sim_fail(world, "a batch of log %" PRIu64 " was served for log %" PRIu64,
                    batch.header.log_id, log_id);
            }
            uint64_t first = batch.header.first_sequence;
            if (expected == 0 ? from_sequence < first || from_sequence - first != read->skip
                              : first != expected) {
                world->totals->reordered++;
                return sim_fail(world, "batch %" PRIu64 " where %" PRIu64 " (skip %u) was due",
                    first, expected ? expected : from_sequence, read->skip);
            }
            expected = ks_batch_last_sequence(&batch.header) + 1;
            if (batch.header.kind == KS_BATCH_DAMAGED) {
                if (!world->has_flips)
                    return sim_fail(
                        world, "damage reported at %" PRIu64 " though nothing was flipped", first);
                world->totals->damage_reported++;
            } else if (batch.header.kind == KS_BATCH_DATA &&
                       !sim_check_data_batch(world, log, &batch)) {
                return false;
            }
            left.data += batch.stored_bytes;
            left.bytes -= batch.stored_bytes;
        }
    }
    if (read->extent_count && read->next_sequence != from_sequence + read->take)
        return sim_fail(world, "next sequence %" PRIu64 " after %" PRIu64 " + %u",
            read->next_sequence, from_sequence, read->take);
    if (read->extent_count && read->next_sequence > expected)
        return sim_fail(world, "take %u reaches behind the batches of the answer", read->take);
    return true;
}

/* Everything that the log has, from its first record to its last. */
static bool sim_check_log(
    struct sim_world *world, struct sim_stream *stream, const struct ks_shard *shard)
{
    struct sim_log *log = &stream->logs[shard->index];
    struct ks_log_bounds bounds;
    ks_log_bounds(shard->log, &bounds);
    uint64_t required = sim_log_required(log);
    if (bounds.last_sequence < required) {
        world->totals->lost += required - bounds.last_sequence;
        return sim_fail(world,
            "stream %s shard %u ends at %" PRIu64 ", but %" PRIu64 " was acknowledged or shown",
            stream->name, shard->index, bounds.last_sequence, required);
    }
    if (bounds.last_sequence >= log->next_sequence && world->has_flips) {
        sim_log_add_unused(log, bounds.last_sequence - log->next_sequence + 1);
    } else if (bounds.last_sequence >= log->next_sequence) {
        world->totals->duplicated += bounds.last_sequence - log->next_sequence + 1;
        return sim_fail(world,
            "stream %s shard %u ends at %" PRIu64 ", but only %" PRIu64 " were sent", stream->name,
            shard->index, bounds.last_sequence, log->next_sequence - 1);
    }
    if (bounds.first_sequence != 1)
        return sim_fail(world, "stream %s shard %u begins at %" PRIu64, stream->name, shard->index,
            bounds.first_sequence);
    uint64_t next = 1;
    while (next <= bounds.last_sequence) {
        struct ks_read_request request = {.from_sequence = next,
            .bytes_max = 1 + ks_prng_below(&world->prng, 20000),
            .records_max = 1 + (uint32_t)ks_prng_below(&world->prng, 200),
            .may_block = true};
        struct ks_read read;
        struct ks_error err = KS_ERROR_INIT;
        enum ks_status st = ks_log_read(shard->log, &request, &read, &err);
        if (st != KS_OK)
            return ks_io_sim_is_cut(world->disk) ||
                   sim_fail(world, "read at %" PRIu64 ": %s", next, err.text);
        bool is_right = sim_check_read(world, log, ks_log_id(shard->log), &read, next);
        uint64_t went_to = read.extent_count ? read.next_sequence : next;
        ks_read_release(&read);
        if (!is_right)
            return false;
        if (went_to <= next) {
            world->totals->lost++;
            return sim_fail(
                world, "nothing is served at %" PRIu64 " of %" PRIu64, next, bounds.last_sequence);
        }
        next = went_to;
    }
    if (!sim_log_cut(log, bounds.last_sequence, &world->totals->weak_lost))
        return sim_fail(world, "stream %s shard %u ends inside a batch, at %" PRIu64, stream->name,
            shard->index, bounds.last_sequence);
    return true;
}

static void sim_stream_forget(struct sim_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++)
        sim_log_fini(&stream->logs[i]);
    *stream = (struct sim_stream){.state = SIM_STREAM_NONE};
}

bool sim_check_all(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++) {
        struct sim_stream *stream = &world->streams[i];
        if (stream->state == SIM_STREAM_NONE)
            continue;
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *found = NULL;
        enum ks_status st = ks_registry_find(world->engine, stream->name, &found);
        if (st == KS_NOT_FOUND) {
            if (stream->state == SIM_STREAM_THERE)
                return sim_fail(world, "stream %s is gone", stream->name);
            sim_stream_forget(stream);
            continue;
        }
        if (found->status != KS_STREAM_ACTIVE && found->status != KS_STREAM_UPDATING)
            return sim_fail(
                world, "stream %s came back with status %d", stream->name, (int)found->status);
        if (found->ack != stream->ack)
            return sim_fail(
                world, "stream %s came back with ack %d", stream->name, (int)found->ack);
        if (stream->number && stream->number != found->number)
            return sim_fail(world, "stream %s changed its number", stream->name);
        stream->number = found->number;
        if (!sim_settings_recovered(world, stream, found))
            return false;
        stream->state = SIM_STREAM_THERE; /* a delete that did not become durable did not happen */
        world->totals->reshards_resumed += found->status == KS_STREAM_UPDATING;
        if (!sim_learn_shards(world, stream, found))
            return false;
        for (uint32_t s = 0; s < found->shard_count; s++)
            if (!sim_check_log(world, stream, &found->shards[s]))
                return false;
        if (!sim_check_shards(world, stream, found) || !sim_keyed_recovered(world, stream))
            return false;
        for (uint32_t s = 0; s < stream->shard_count; s++)
            stream->logs[s].is_removal_asked = stream->logs[s].is_removed;
    }
    if (!sim_account_recovered(world))
        return false;
    struct ks_stream *all[SIM_STREAMS_MAX + 1];
    bool has_more;
    uint32_t count = ks_registry_list(world->engine, NULL, SIM_STREAMS_MAX + 1, all, &has_more);
    uint32_t known = 0;
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++)
        known += world->streams[i].state == SIM_STREAM_THERE;
    for (uint32_t i = 0; i < count; i++)
        ks_stream_unref(all[i]);
    if (count != known || has_more)
        return sim_fail(world, "%u streams came back, %u were known", count, known);
    return true;
}
