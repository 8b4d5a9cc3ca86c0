/* What users do to the simulated broker: put (again), read, hold on to what they read, create,
 * delete. */
#include "base/alloc.h"
#include "base/crc32c.h"
#include "tests/sim/sim_world.h"

#include <inttypes.h>
#include <stdio.h>

struct sim_put {
    struct ks_append append; /* first: deliver gets its mail */
    struct ks_list link;
    struct sim_world *world;
    struct sim_log *log;
    uint64_t incarnation; /* of log: the stream may be deleted before the answer */
    uint64_t uid;
    uint64_t expected_first; /* ordinal that the model gave it */
    uint32_t producer;       /* index + 1; 0 = plain */
    struct sim_keyed *keyed; /* the client of one key that sent it, or NULL */
    bool is_retry;
    bool is_broken; /* the answer was wrong: found at delivery */
};

static bool delivery_is_right; /* deliver callbacks have no result: they clear this */

struct sim_stream *sim_pick_stream(struct sim_world *world)
{
    for (int tries = 0; tries < 8; tries++) {
        struct sim_stream *stream = &world->streams[ks_prng_below(&world->prng, SIM_STREAMS_MAX)];
        if (stream->state == SIM_STREAM_THERE)
            return stream;
    }
    return NULL;
}

static void sim_put_free(struct sim_put *put)
{
    ks_list_remove(&put->link);
    ks_free(put);
}

/* Answers from memory may overtake one that waits for the disk: what counts is the order in the
 * log. */
static bool sim_check_arrival(struct sim_put *put)
{
    struct sim_log *log = put->log;
    const struct ks_append *append = &put->append;
    bool is_newest = append->first_sequence > log->arrival_sequence;
    bool is_right = is_newest ? append->arrival_unix_ms >= log->last_arrival_unix_ms
                              : append->arrival_unix_ms <= log->last_arrival_unix_ms;
    if (!is_right && !put->is_retry)
        return sim_fail(put->world, "arrival went back in shard %u", log->shard_index);
    if (is_newest && !put->is_retry) {
        log->arrival_sequence = append->first_sequence;
        log->last_arrival_unix_ms = append->arrival_unix_ms;
    }
    return true;
}

static void sim_put_answered(struct sim_put *put)
{
    struct sim_world *world = put->world;
    struct ks_append *append = &put->append;
    if (put->incarnation != put->log->incarnation)
        return;
    if (put->producer)
        put->log->producers[put->producer - 1].in_flight--;
    if (put->keyed)
        delivery_is_right =
            sim_keyed_answered(world, put->keyed, put->log, append) && delivery_is_right;
    if (append->status == KS_NOT_FOUND)
        return; /* the stream was deleted meanwhile */
    if (append->status != KS_OK) {
        if (append->status != KS_POISONED)
            delivery_is_right =
                sim_fail(world, "a put was answered %s", ks_status_name(append->status));
        return;
    }
    if (append->first_sequence != put->expected_first || append->is_duplicate != put->is_retry) {
        world->totals->reordered++;
        delivery_is_right =
            sim_fail(world, "a put was answered %" PRIu64 "%s, expected %" PRIu64 "%s",
                append->first_sequence, append->is_duplicate ? " (duplicate)" : "",
                put->expected_first, put->is_retry ? " (duplicate)" : "");
        return;
    }
    struct sim_batch *batch = sim_log_find(put->log, append->first_sequence);
    if (!batch || batch->uid != put->uid) {
        delivery_is_right = sim_fail(world, "the model lost a batch");
        return;
    }
    if (put->log->ack == KS_ACK_DURABLE)
        batch->state = SIM_ACKED;
    else if (batch->state == SIM_PENDING)
        batch->state = SIM_WEAK; /* else it was found after a crash, and stays */
    world->totals->weak_acked += put->log->ack == KS_ACK_MEMORY;
    delivery_is_right = sim_check_arrival(put) && delivery_is_right;
    batch->arrival_unix_ms = append->arrival_unix_ms;
    world->totals->batches_acked++;
    world->totals->records_acked += batch->record_count;
    world->totals->duplicates_answered += append->is_duplicate;
}

static void sim_put_deliver(struct ks_mail *mail)
{
    struct sim_put *put = KS_CONTAINER_OF(mail, struct sim_put, append.mail);
    sim_put_answered(put);
    sim_put_free(put);
}

static bool sim_put_refused(struct sim_world *world, enum ks_status st, const struct ks_error *err)
{
    if (st == KS_THROTTLED)
        world->totals->refused_throttled++;
    else if (st == KS_STORAGE_FULL)
        world->totals->refused_full++;
    else
        world->totals->refused_other++;
    if (st == KS_POISONED || st == KS_THROTTLED || st == KS_STORAGE_FULL || st == KS_NOT_FOUND)
        return true;
    if (world->has_flips && (st == KS_PRODUCER_UNKNOWN || st == KS_PRODUCER_GAP))
        return true; /* its last batches were damaged: never success, never stored */
    return sim_fail(world, "a put was refused: %s (%s)", ks_status_name(st), err->text);
}

/* Not stored, it says: then the model must not have it, and there must be a reason. */
static bool sim_put_to_closed(struct sim_world *world, const struct sim_log *log,
    struct ks_log *target, enum ks_status st, bool is_known)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(target, &bounds);
    world->totals->puts_held += st == KS_WOULD_BLOCK;
    world->totals->puts_to_closed += st == KS_SHARD_CLOSED;
    if (is_known && st == KS_SHARD_CLOSED && !world->has_flips)
        return sim_fail(world, "closed shard %u denies a batch that it has", log->shard_index);
    return bounds.is_closed == (st == KS_SHARD_CLOSED) ||
           sim_fail(
               world, "a put to shard %u was refused: %s", log->shard_index, ks_status_name(st));
}

bool sim_send(struct sim_world *world, struct sim_log *log, struct ks_log *target, uint64_t epoch,
    const struct sim_batch *batch, uint32_t producer, struct sim_keyed *keyed, bool *out_is_sent)
{
    struct ks_buf records;
    ks_buf_init(&records, 1 << 20);
    uint32_t data_max =
        batch->record_count == 1 && batch->uid % 16 == 0 ? SIM_DATA_BIG : SIM_DATA_MAX;
    uint32_t body_crc = sim_make_records(batch->uid, batch->record_count, data_max, &records);
    struct sim_put *put = ks_zalloc(sizeof *put);
    KS_ASSERT(put);
    put->world = world;
    put->log = log;
    put->incarnation = log->incarnation;
    put->uid = batch->uid;
    put->producer = producer;
    put->keyed = keyed;
    put->append = (struct ks_append){.mail.deliver = sim_put_deliver,
        .home = &world->mailbox,
        .records = ks_view_of(records.data, records.bytes),
        .record_count = batch->record_count,
        .body_crc = body_crc,
        .routing_epoch = epoch,
        .producer_id = batch->producer_id,
        .producer_sequence = batch->producer_sequence,
        .is_producer_first = batch->is_producer_first,
        .ack = log->ack};
    struct sim_batch *known = NULL;
    for (size_t i = log->batch_count; batch->producer_id && i-- > 0 && !known;)
        if (log->batches[i].uid == batch->uid)
            known = &log->batches[i];
    put->is_retry = known != NULL;
    put->expected_first = known ? known->first_sequence : log->next_sequence;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_log_append(target, &put->append, &err);
    ks_buf_fini(&records);
    *out_is_sent = st == KS_OK;
    if (st == KS_PRODUCER_GAP && producer && log->producers[producer - 1].has_lost) {
        ks_free(put);
        world->totals->gaps_after_loss++;
        sim_producer_renew(&log->producers[producer - 1], ks_prng_u64(&world->prng) | 1);
        return true;
    }
    if (st == KS_WOULD_BLOCK || st == KS_SHARD_CLOSED) {
        ks_free(put);
        return sim_put_to_closed(world, log, target, st, known != NULL);
    }
    if (st == KS_OK && known && world->has_flips && !put->append.is_duplicate) {
        /* What the broker knew of the producer was damaged, and with it this batch: it is new. */
        known = NULL;
        put->is_retry = false;
        put->expected_first = log->next_sequence;
    }
    if (st != KS_OK) {
        ks_free(put);
        return sim_put_refused(world, st, &err);
    }
    ks_list_push(&world->puts, &put->link);
    if (producer)
        log->producers[producer - 1].in_flight++;
    if (!known)
        sim_log_add(log, batch);
    world->totals->batches_sent++;
    return true;
}

static bool sim_put_from_producer(struct sim_world *world, struct sim_log *log,
    struct ks_log *target, uint64_t epoch, uint32_t index)
{
    struct sim_producer *producer = &log->producers[index];
    bool is_sent = false;
    if (producer->in_flight >= 5)
        return true;
    if (producer->retry_count) {
        struct sim_batch retry = producer->retries[0];
        retry.state = SIM_PENDING;
        if (!sim_send(world, log, target, epoch, &retry, index + 1, NULL, &is_sent))
            return false;
        struct ks_log_bounds bounds;
        ks_log_bounds(target, &bounds);
        if (!is_sent && !bounds.is_closed)
            return true; /* again, later; but what a closed shard says is the last word */
        world->totals->retries_sent += is_sent;
        producer->retry_count--;
        memmove(producer->retries, producer->retries + 1, producer->retry_count * sizeof retry);
        return true;
    }
    struct sim_batch batch = {.uid = world->next_uid++,
        .producer_id = producer->id,
        .producer_sequence = producer->next_sequence,
        .is_producer_first = true, /* ignored once the producer is known */
        .record_count = 1 + (uint32_t)ks_prng_below(&world->prng, 8)};
    if (!sim_send(world, log, target, epoch, &batch, index + 1, NULL, &is_sent))
        return false;
    producer->next_sequence += is_sent;
    return true;
}

bool sim_put_some(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream)
        return true;
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!sim_look(world, stream, &snapshot))
        return false;
    uint32_t shard = (uint32_t)ks_prng_below(&world->prng, snapshot->shard_count);
    if (!snapshot->shards[shard].is_open && ks_prng_chance(&world->prng, 5, 6))
        shard = snapshot->open_by_hash[ks_prng_below(&world->prng, snapshot->open_count)];
    struct sim_log *log = &stream->logs[snapshot->shards[shard].index];
    uint64_t count = 1 + ks_prng_below(&world->prng, 6);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t who = (uint32_t)ks_prng_below(&world->prng, SIM_PRODUCERS + 1);
        bool is_right;
        if (who < SIM_PRODUCERS) {
            is_right = sim_put_from_producer(
                world, log, snapshot->shards[shard].log, snapshot->routing_epoch, who);
        } else {
            struct sim_batch batch = {.uid = world->next_uid++,
                .record_count = ks_prng_chance(&world->prng, 1, 3)
                                    ? 1
                                    : 1 + (uint32_t)ks_prng_below(&world->prng, 20)};
            bool is_sent;
            is_right = sim_send(world, log, snapshot->shards[shard].log, snapshot->routing_epoch,
                &batch, 0, NULL, &is_sent);
        }
        if (!is_right)
            return false;
    }
    return true;
}

static void sim_stream_deleted(struct sim_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++)
        sim_log_fini(&stream->logs[i]);
    *stream = (struct sim_stream){.state = SIM_STREAM_NONE};
}

static void sim_admin_succeeded(struct sim_admin *op)
{
    struct sim_totals *totals = op->world->totals;
    switch (op->kind) {
    case SIM_CREATE:
        op->stream->state = SIM_STREAM_THERE;
        op->stream->number = op->admin.stream->number;
        totals->streams_created++;
        break;
    case SIM_DELETE:
        sim_stream_deleted(op->stream);
        totals->streams_deleted++;
        break;
    case SIM_RESHARD:
        sim_reshard_answered(op);
        break;
    case SIM_MODE:
    case SIM_SET_ACCOUNT:
        break;
    case SIM_SET:
        if (op->is_too_much)
            delivery_is_right = sim_fail(op->world, "a stream has more tags than it may have");
        break;
    case SIM_REMOVE:
    case SIM_REMOVE_MAYBE:
        totals->shards_removed++;
        break;
    case SIM_REMOVE_REFUSED:
        delivery_is_right = sim_fail(
            op->world, "shard %u was removed, but it is open or has parents", op->shard_index);
        break;
    }
}

/* Nothing has changed: neither now nor after a crash. */
static void sim_admin_failed(struct sim_admin *op)
{
    enum ks_status st = op->admin.status;
    if (op->kind == SIM_CREATE)
        op->stream->state = SIM_STREAM_NONE;
    else if (op->kind == SIM_DELETE)
        op->stream->state = SIM_STREAM_THERE;
    bool is_removal = op->kind == SIM_REMOVE || op->kind == SIM_REMOVE_MAYBE;
    bool is_too_much = op->is_too_much && st == KS_LIMIT;
    op->world->totals->settings_refused += is_too_much;
    /* Another removal may have had its turn before, or have it after. */
    bool is_expected = st == KS_STORAGE_FULL || is_too_much || (is_removal && st == KS_NOT_FOUND) ||
                       (op->kind >= SIM_REMOVE_MAYBE && st == KS_IN_USE);
    if (!is_expected)
        delivery_is_right = sim_fail(
            op->world, "an admin operation ended %s: %s", ks_status_name(st), op->admin.error.text);
}

static void sim_admin_deliver(struct ks_mail *mail)
{
    struct sim_admin *op = KS_CONTAINER_OF(mail, struct sim_admin, admin.mail);
    bool is_same = op->kind == SIM_CREATE || op->kind == SIM_SET_ACCOUNT ||
                   op->stream->number == op->stream_number;
    if (is_same && op->kind == SIM_RESHARD)
        op->stream->reshards--;
    bool is_setting = op->kind == SIM_SET || op->kind == SIM_SET_ACCOUNT;
    if (is_same && is_setting && op->admin.status != KS_POISONED && op->admin.status != KS_STOPPING)
        sim_set_answered(op);
    if (!is_same || op->admin.status == KS_POISONED || op->admin.status == KS_STOPPING)
        ; /* nobody to tell, or an outcome that the next start shows */
    else if (op->admin.status == KS_OK)
        sim_admin_succeeded(op);
    else
        sim_admin_failed(op);
    if (op->admin.stream)
        ks_stream_unref(op->admin.stream);
    ks_list_remove(&op->link);
    sim_admin_free(op);
}

struct sim_admin *sim_admin_new(
    struct sim_world *world, struct sim_stream *stream, enum sim_admin_kind kind)
{
    struct sim_admin *op = ks_zalloc(sizeof *op);
    KS_ASSERT(op);
    op->world = world;
    op->stream = stream;
    op->stream_number = stream->number;
    op->kind = kind;
    op->admin.mail.deliver = sim_admin_deliver;
    op->admin.home = &world->mailbox;
    return op;
}

void sim_admin_free(struct sim_admin *op)
{
    ks_free(op->change);
    ks_free(op);
}

bool sim_admin_begun(
    struct sim_world *world, struct sim_admin *op, enum ks_status st, const struct ks_error *err)
{
    struct sim_stream *stream = op->stream;
    if (st == KS_OK) {
        ks_list_push(&world->admins, &op->link);
        stream->reshards += op->kind == SIM_RESHARD;
        return true;
    }
    /* One change that users see at a time. */
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    bool is_busy =
        stream->reshards > 0 || stream->is_setting ||
        (ks_registry_find(world->engine, stream->name, &snapshot) == KS_OK &&
            (snapshot->status != KS_STREAM_ACTIVE || snapshot->mode == KS_STREAM_ON_DEMAND));
    bool is_expected = st == KS_POISONED || st == KS_STORAGE_FULL || (st == KS_IN_USE && is_busy);
    sim_admin_free(op);
    return is_expected || sim_fail(world, "an admin operation was refused: %s (%s)",
                              ks_status_name(st), err->text);
}

bool sim_create_stream(struct sim_world *world)
{
    struct sim_stream *stream = &world->streams[ks_prng_below(&world->prng, SIM_STREAMS_MAX)];
    if (stream->state != SIM_STREAM_NONE)
        return true;
    snprintf(stream->name, sizeof stream->name, "s%" PRIu64, world->next_name++ % 6);
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++)
        if (&world->streams[i] != stream && strcmp(world->streams[i].name, stream->name) == 0)
            return true; /* taken: another time */
    stream->shard_count = 1 + (uint32_t)ks_prng_below(&world->prng, SIM_SHARDS_MAX);
    stream->ack = ks_prng_chance(&world->prng, 1, 3) ? KS_ACK_MEMORY : KS_ACK_DURABLE;
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        sim_log_init(&stream->logs[i], world->next_uid++, i, &world->prng);
        stream->logs[i].ack = stream->ack;
    }
    struct ks_stream_spec spec = {.name = stream->name,
        .ack = stream->ack,
        .shard_count = stream->shard_count,
        .mode = ks_prng_chance(&world->prng, 1, 6) ? KS_STREAM_ON_DEMAND : KS_STREAM_PROVISIONED,
        .retention_hours = 24,
        .record_bytes_max = 1 << 20};
    sim_settings_first(world, stream, &spec);
    struct sim_admin *op = sim_admin_new(world, stream, SIM_CREATE);
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_stream_create(world->engine, &spec, &op->admin, &err);
    if (st == KS_OK)
        stream->state = SIM_STREAM_CREATING;
    return sim_admin_begun(world, op, st, &err);
}

bool sim_delete_stream(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    if (!stream)
        return true;
    struct sim_admin *op = sim_admin_new(world, stream, SIM_DELETE);
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_stream_delete(world->engine, stream->name, &op->admin, &err);
    if (st == KS_OK)
        stream->state = SIM_STREAM_DELETING;
    return sim_admin_begun(world, op, st, &err);
}

static uint64_t sim_read_crc(const struct ks_read *read)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < read->extent_count; i++)
        crc = ks_crc32c_extend(crc, read->extents[i].data, read->extents[i].bytes);
    return crc;
}

/* A slow client: what it was given must not change under it, whatever became of the stream. */
static bool sim_release_one(struct sim_world *world, struct sim_held_read *held)
{
    if (!held->is_held)
        return true;
    held->is_held = false;
    bool is_same = sim_read_crc(&held->read) == held->bytes_crc;
    ks_read_release(&held->read);
    if (is_same)
        return true;
    world->totals->altered++;
    return sim_fail(
        world, "bytes of log %" PRIu64 " changed while a reader held them", held->log_id);
}

bool sim_release_reads(struct sim_world *world, bool all)
{
    for (size_t i = 0; i < SIM_READS_HELD; i++)
        if (all || ks_prng_chance(&world->prng, 1, 6))
            if (!sim_release_one(world, &world->held[i]))
                return false;
    return true;
}

bool sim_read_some(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!stream)
        return true;
    if (!sim_look(world, stream, &snapshot))
        return false;
    uint32_t shard = (uint32_t)ks_prng_below(&world->prng, snapshot->shard_count);
    struct sim_log *log = &stream->logs[snapshot->shards[shard].index];
    struct sim_held_read *held = &world->held[ks_prng_below(&world->prng, SIM_READS_HELD)];
    if (!sim_release_one(world, held))
        return false;
    uint64_t from = 1 + ks_prng_below(&world->prng, log->next_sequence);
    struct ks_read_request request = {.from_sequence = from,
        .bytes_max = 1 + ks_prng_below(&world->prng, 30000),
        .records_max = 1 + (uint32_t)ks_prng_below(&world->prng, 300),
        .may_block = ks_prng_chance(&world->prng, 1, 2)};
    struct ks_error err = KS_ERROR_INIT;
    struct ks_log *target = snapshot->shards[shard].log;
    enum ks_status st = ks_log_read(target, &request, &held->read, &err);
    world->totals->reads++;
    if (st == KS_WOULD_BLOCK) {
        world->totals->reads_would_block++;
        return !request.may_block || sim_fail(world, "a blocking read would block");
    }
    if (st == KS_NOT_FOUND && log->is_removal_asked)
        return true;
    if (st != KS_OK)
        return ks_io_sim_is_cut(world->disk) ||
               sim_fail(world, "read at %" PRIu64 ": %s", from, err.text);
    held->is_held = true;
    held->log_id = ks_log_id(target);
    held->bytes_crc = sim_read_crc(&held->read);
    world->totals->reads_held++;
    if (!sim_check_read(world, log, held->log_id, &held->read, from))
        return false;
    if (held->read.extent_count)
        log->seen_sequence = ks_max_u64(log->seen_sequence, held->read.next_sequence - 1);
    return true;
}

bool sim_find_time(struct sim_world *world)
{
    struct sim_stream *stream = sim_pick_stream(world);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *snapshot = NULL;
    if (!stream)
        return true;
    if (!sim_look(world, stream, &snapshot))
        return false;
    uint32_t shard = (uint32_t)ks_prng_below(&world->prng, snapshot->shard_count);
    struct sim_log *log = &stream->logs[snapshot->shards[shard].index];
    if (!log->batch_count)
        return true;
    struct sim_batch *near = &log->batches[ks_prng_below(&world->prng, log->batch_count)];
    if (!near->arrival_unix_ms || world->has_flips)
        return true; /* only times that a client was told; damage hides times */
    uint64_t when = near->arrival_unix_ms - ks_prng_below(&world->prng, 3);
    uint64_t found = 0;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ks_log_find_time(snapshot->shards[shard].log, when, true, &found, &err);
    world->totals->time_lookups++;
    if (st == KS_NOT_FOUND && log->is_removal_asked)
        return true;
    if (st != KS_OK)
        return ks_io_sim_is_cut(world->disk) || sim_fail(world, "find_time: %s", err.text);
    for (size_t i = 0; i < log->batch_count; i++) {
        const struct sim_batch *batch = &log->batches[i];
        uint64_t last = batch->first_sequence + batch->record_count - 1;
        if (batch->state == SIM_WEAK)
            continue; /* maybe not durable yet: nobody finds it */
        if (batch->arrival_unix_ms && batch->arrival_unix_ms < when && last >= found)
            return sim_fail(world,
                "time %" PRIu64 " gave %" PRIu64 ", before a record older than that", when, found);
        if (batch->state == SIM_ACKED && batch->arrival_unix_ms >= when &&
            batch->first_sequence < found)
            return sim_fail(
                world, "time %" PRIu64 " gave %" PRIu64 ", behind a record not older", when, found);
    }
    return true;
}

bool sim_deliver(struct sim_world *world)
{
    delivery_is_right = true;
    ks_mailbox_deliver(&world->mailbox);
    return delivery_is_right && sim_check_watches(world);
}

void sim_forget_requests(struct sim_world *world)
{
    for (size_t i = 0; i < SIM_STREAMS_MAX; i++)
        world->streams[i].reshards = 0;
    /* Mail that was sent but not taken dies with the process as well. */
    while (ks_list_pop(&world->mailbox.mails))
        continue;
    while (!ks_list_is_empty(&world->puts))
        sim_put_free(KS_CONTAINER_OF(world->puts.next, struct sim_put, link));
    while (!ks_list_is_empty(&world->admins)) {
        struct sim_admin *op = KS_CONTAINER_OF(world->admins.next, struct sim_admin, link);
        if (op->admin.stream)
            ks_stream_unref(op->admin.stream);
        ks_list_remove(&op->link);
        sim_admin_free(op);
    }
}
