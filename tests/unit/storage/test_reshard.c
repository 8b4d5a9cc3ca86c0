/* Splits and merges on the simulated disk, and the removal of closed shards. */
#include "base/alloc.h"
#include "storage/registry_priv.h"
#include "storage/reshard_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/store_world.h"

#define HALF ((ks_u128)1 << 127)

static struct world world;

static void setup(uint32_t shards)
{
    world_init(&world);
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", shards), KS_OK);
}

static void append_some(uint32_t shard, uint32_t batches)
{
    for (uint32_t i = 0; i < batches; i++) {
        ck_assert_int_eq(world_append(&world, world_log(&world, "orders", shard), 3, 200), KS_OK);
        ks_fake_clock_advance_ms(&world.clock, 1);
    }
    world_pump(&world);
}

static bool is_closed(uint32_t shard)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(world_log(&world, "orders", shard), &bounds);
    return bounds.is_closed;
}

START_TEST(a_split_gives_two_children_and_closes_the_parent)
{
    setup(2);
    append_some(0, 5);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF / 2), KS_OK);
    for (int restarts = 0; restarts < 3; restarts++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
        ck_assert_uint_eq(stream->routing_epoch, 2);
        ck_assert_uint_eq(stream->shard_count, 4);
        ck_assert_uint_eq(stream->open_count, 3);
        const struct ks_shard *parent = &stream->shards[0];
        const struct ks_shard *left = &stream->shards[2];
        const struct ks_shard *right = &stream->shards[3];
        ck_assert(!parent->is_open && left->is_open && right->is_open);
        ck_assert(left->has_parent && !left->has_adjacent_parent && left->parent_index == 0);
        ck_assert(right->has_parent && !right->has_adjacent_parent && right->parent_index == 0);
        ck_assert(left->hash_first == 0 && left->hash_last == HALF / 2 - 1);
        ck_assert(right->hash_first == HALF / 2 && right->hash_last == HALF - 1);
        ck_assert_uint_gt(left->created_s, parent->created_s);
        ck_assert_ptr_eq(ks_stream_route(stream, HALF / 2), right);
        ck_assert(is_closed(0) && !is_closed(1) && !is_closed(2));
        ck_assert_uint_eq(world_read_all(&world, parent->log, 1, NULL), 15);
        ck_assert_int_eq(world_append(&world, parent->log, 1, 10), KS_SHARD_CLOSED);
        ck_assert_uint_eq(ks_registry_open_shards(world.engine), 3);
        append_some(2, 1);
        ks_stream_unref(KS_TAKE(stream));
        world_restart(&world, restarts == 1);
    }
    ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 2), 1, NULL), 9);
    world_fini(&world);
}
END_TEST

START_TEST(a_merge_takes_neighbours_in_their_order)
{
    setup(3);
    ck_assert_int_eq(world_merge(&world, "orders", 1, 0), KS_INVALID);
    ck_assert_int_eq(world_merge(&world, "orders", 0, 2), KS_INVALID);
    ck_assert_int_eq(world_merge(&world, "orders", 0, 3), KS_NOT_FOUND);
    ck_assert_int_eq(world_merge(&world, "orders", 0, 1), KS_OK);
    ck_assert_int_eq(world_merge(&world, "orders", 0, 1), KS_INVALID);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_uint_eq(stream->shard_count, 4);
    ck_assert_uint_eq(stream->open_count, 2);
    const struct ks_shard *child = &stream->shards[3];
    ck_assert(child->has_parent && child->parent_index == 0);
    ck_assert(child->has_adjacent_parent && child->adjacent_parent_index == 1);
    ck_assert(child->hash_first == 0 && child->hash_last == stream->shards[1].hash_last);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

START_TEST(a_key_outside_the_shard_splits_nothing)
{
    setup(2);
    ck_assert_int_eq(world_split(&world, "orders", 0, 0), KS_INVALID);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_INVALID);
    ck_assert_int_eq(world_split(&world, "orders", 1, HALF), KS_INVALID);
    ck_assert_int_eq(world_split(&world, "orders", 2, HALF), KS_NOT_FOUND);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
    ck_assert_uint_eq(stream->routing_epoch, 1);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

START_TEST(an_account_has_room_or_nothing_changes)
{
    world_init(&world);
    world.limits.shards_max = 3;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 3), KS_OK);
    ck_assert_int_eq(world_split(&world, "orders", 0, 5), KS_LIMIT);
    ck_assert_int_eq(world_merge(&world, "orders", 0, 1), KS_OK);
    ck_assert_int_eq(world_split(&world, "orders", 2, HALF + HALF / 2), KS_OK);
    ck_assert_uint_eq(ks_registry_open_shards(world.engine), 3);
    ck_assert_int_eq(world_split(&world, "orders", 3, 5), KS_LIMIT);
    world_restart(&world, false);
    ck_assert_uint_eq(ks_registry_open_shards(world.engine), 3);
    /* Closed shards are bounded as well. */
    enum ks_status st = KS_OK;
    for (unsigned i = 0; i < 20 && st == KS_OK; i++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        uint32_t left = stream->shards[stream->open_by_hash[0]].index;
        uint32_t right = stream->shards[stream->open_by_hash[1]].index;
        st = world_merge(&world, "orders", left, right);
        if (st == KS_OK)
            st = world_split(&world, "orders", stream->next_shard_index, 1000);
    }
    ck_assert_int_eq(st, KS_LIMIT);
    world_fini(&world);
}
END_TEST

/* Every write of the disk and every commit of the catalog is one after which the power may go. */
START_TEST(a_reshard_cut_short_anywhere_is_finished_or_never_was)
{
    bool was_undone = false;
    bool was_finished = false;
    for (uint64_t cut = 1;; cut++) {
        setup(4);
        append_some(1, 4);
        append_some(2, 4);
        ks_io_sim_cut_after(world.disk, cut);
        const struct ks_reshard_spec spec = {.kind = KS_RESHARD_COUNT, .target_count = 5};
        enum ks_status st = world_reshard(&world, "orders", &spec);
        bool is_cut = ks_io_sim_is_cut(world.disk);
        ks_io_sim_cut_after(world.disk, 0);
        world_restart(&world, false);
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
        bool is_done = stream->open_count == 5;
        ck_assert_uint_eq(stream->open_count, is_done ? 5 : 4);
        ck_assert_uint_eq(stream->shard_count, is_done ? 15 : 4);
        ck_assert(is_done || st != KS_OK);
        for (uint32_t i = 0; i < stream->shard_count; i++)
            ck_assert_int_eq(is_closed(i), !stream->shards[i].is_open);
        ck_assert_uint_eq(ks_registry_open_shards(world.engine), stream->open_count);
        ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 1), 1, NULL), 12);
        ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 2), 1, NULL), 12);
        append_some(stream->shards[stream->open_by_hash[0]].index, 1);
        was_undone |= !is_done;
        was_finished |= is_done && st != KS_OK;
        ks_stream_unref(KS_TAKE(stream));
        world_fini(&world);
        if (!is_cut)
            break;
    }
    ck_assert(was_undone && was_finished);
}
END_TEST

START_TEST(a_full_journal_delays_a_reshard_and_no_one_waits)
{
    setup(1);
    struct ks_log *log = world_log(&world, "orders", 0);
    enum ks_status st;
    ks_io_sim_set_capacity(world.disk, ks_io_sim_used_bytes(world.disk) + 1);
    for (uint32_t bytes = 12000; bytes > 0; bytes /= 10) {
        for (st = KS_OK; st == KS_OK;) {
            st = world_append(&world, log, 1, bytes);
            world_pump(&world);
        }
        ck_assert_int_eq(st, KS_STORAGE_FULL);
    }
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_int_eq(stream->status, KS_STREAM_UPDATING);
        ck_assert(!is_closed(0));
    }
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_IN_USE);
    ck_assert_int_eq(world_delete(&world, "orders"), KS_IN_USE);
    ks_io_sim_set_capacity(world.disk, 0);
    for (int i = 0; i < 3; i++) {
        ks_fake_clock_advance_ms(&world.clock, 2000);
        world_pump(&world);
    }
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_int_eq(stream->status, KS_STREAM_ACTIVE);
    ck_assert_uint_eq(stream->open_count, 2);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

/* ---- what comes meanwhile ---- */

static unsigned order;
static unsigned removed_at;
static unsigned resharded_at;

static void removed(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    ck_assert_int_eq(admin->status, KS_OK);
    removed_at = ++order;
}

static void resharded(struct ks_mail *mail)
{
    struct ks_admin *admin = KS_CONTAINER_OF(mail, struct ks_admin, mail);
    ck_assert_int_eq(admin->status, KS_OK);
    ck_assert(!admin->is_delayed);
    resharded_at = ++order;
}

static enum ks_status answered;
static bool was_duplicate;

static void producer_answered(struct ks_mail *mail)
{
    struct ks_append *append = KS_CONTAINER_OF(mail, struct ks_append, mail);
    answered = append->status;
    was_duplicate = append->is_duplicate;
}

static bool is_repeat;

/* What the shard says to a batch of one record, sent for the first time or again. */
static enum ks_status ask(
    struct ks_log *log, uint64_t producer, uint64_t sequence, const char *data)
{
    static struct ks_append append;
    uint8_t records[64];
    const struct ks_record record = {.key = ks_view_of_text("k"), .data = ks_view_of_text(data)};
    append = (struct ks_append){.mail.deliver = producer_answered,
        .home = &world.box,
        .record_count = 1,
        .body_crc = ks_body_crc_extend(0, ks_record_encode(&record, records)),
        .producer_id = producer,
        .producer_sequence = sequence,
        .is_producer_first = sequence == 1,
        .is_producer_repeat = is_repeat};
    append.records = ks_view_of(records, ks_record_encoded_bytes(1, record.data.bytes, false));
    enum ks_status st = ks_log_append(log, &append, NULL);
    if (st)
        return st;
    world_pump(&world);
    return answered;
}

START_TEST(a_closed_shard_says_for_ever_what_was_applied)
{
    setup(1);
    struct ks_log *log = world_log(&world, "orders", 0);
    for (uint64_t i = 1; i <= 2 * KS_PRODUCER_BATCHES; i++)
        ck_assert_int_eq(ask(log, 7, i, "a"), KS_OK);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    for (int restarts = 0; restarts < 3; restarts++) {
        log = world_log(&world, "orders", 0);
        ck_assert_int_eq(ask(log, 7, 2 * KS_PRODUCER_BATCHES, "a"), KS_OK);
        ck_assert(was_duplicate);
        ck_assert_int_eq(ask(log, 7, 2 * KS_PRODUCER_BATCHES, "b"), KS_PRODUCER_MISMATCH);
        ck_assert_int_eq(ask(log, 7, 2 * KS_PRODUCER_BATCHES + 1, "a"), KS_SHARD_CLOSED);
        ck_assert_int_eq(ask(log, 7, 2 * KS_PRODUCER_BATCHES + 9, "a"), KS_SHARD_CLOSED);
        ck_assert_int_eq(ask(log, 7, 1, "a"), KS_PRODUCER_UNKNOWN); /* forgotten */
        ck_assert_int_eq(ask(log, 8, 1, "a"), KS_SHARD_CLOSED);     /* nobody was forgotten */
        ck_assert_int_eq(ask(log, 8, 3, "a"), KS_SHARD_CLOSED);
        if (restarts == 0)
            world_flush(&world);
        world_restart(&world, restarts == 1);
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_full_table_of_producers_knows_nothing_of_strangers)
{
    setup(1);
    struct ks_log *log = world_log(&world, "orders", 0);
    for (uint64_t i = 0; i < KS_PRODUCERS_MAX; i++)
        ck_assert_int_eq(ask(log, 100 + i, 1, "a"), KS_OK);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    ck_assert_int_eq(ask(log, 99, 1, "a"), KS_PRODUCER_UNKNOWN);
    ck_assert_int_eq(ask(log, 100, 2, "a"), KS_SHARD_CLOSED);
    world_fini(&world);
}
END_TEST

/* Its answer was lost; until it is sent again, others push its producer out of the table. */
START_TEST(a_first_batch_sent_again_is_never_stored_twice)
{
    setup(1);
    struct ks_log *log = world_log(&world, "orders", 0);
    ck_assert_int_eq(ask(log, 7, 1, "a"), KS_OK);
    is_repeat = true;
    ck_assert_int_eq(ask(log, 7, 1, "a"), KS_OK);
    ck_assert(was_duplicate);
    ck_assert_int_eq(ask(log, 8, 1, "never came"), KS_OK); /* nobody was forgotten */
    ck_assert(!was_duplicate);
    is_repeat = false;
    for (uint64_t i = 0; i < KS_PRODUCERS_MAX; i++)
        ck_assert_int_eq(ask(log, 100 + i, 1, "a"), KS_OK);
    for (int restarts = 0; restarts < 3; restarts++) {
        uint64_t next = log->next_sequence;
        is_repeat = true;
        ck_assert_int_eq(ask(log, 7, 1, "a"), KS_PRODUCER_UNKNOWN);
        ck_assert_uint_eq(log->next_sequence, next);
        is_repeat = false;
        ck_assert_int_eq(ask(log, 1000 + (uint64_t)restarts, 1, "new"), KS_OK);
        world_restart(&world, restarts == 1);
        log = world_log(&world, "orders", 0);
    }
    world_fini(&world);
}
END_TEST

/* A put that comes between close and switch must wait; a repetition need not. */
START_TEST(a_shard_about_to_close_takes_nothing_new)
{
    setup(1);
    struct ks_log *log = world_log(&world, "orders", 0);
    ck_assert_int_eq(ask(log, 7, 1, "a"), KS_OK);
    struct ks_admin admin = {.mail = {.deliver = resharded}, .home = &world.box};
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    const struct ks_reshard_spec spec = {.kind = KS_RESHARD_COUNT, .target_count = 2};
    ck_assert_int_eq(ks_stream_reshard(world.engine, stream->number, &spec, &admin, NULL), KS_OK);
    struct ks_step *steps[16];
    size_t count = ks_engine_steps(world.engine, steps, 16);
    for (size_t i = 0; log->state != KS_LOG_CLOSING; i = (i + 1) % count) {
        if (strcmp(steps[i]->name, "commit") == 0 || !steps[i]->begin(steps[i]->self))
            continue;
        steps[i]->run(steps[i]->self);
        steps[i]->end(steps[i]->self);
    }
    struct ks_append append = {.records = ks_view_of_text("not looked at"), .record_count = 1};
    ck_assert_int_eq(ks_log_append(log, &append, NULL), KS_WOULD_BLOCK);
    ck_assert_int_eq(ask(log, 7, 1, "a"), KS_OK);
    ck_assert(was_duplicate);
    ck_assert_int_eq(ask(log, 7, 2, "a"), KS_SHARD_CLOSED);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

/* ---- whose it is ---- */

static struct ks_step *step_of(const char *name)
{
    struct ks_step *steps[16];
    size_t count = ks_engine_steps(world.engine, steps, 16);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(steps[i]->name, name) == 0)
            return steps[i];
    }
    ck_abort_msg("no step '%s'", name);
}

static bool step_once(const char *name)
{
    struct ks_step *step = step_of(name);
    if (!step->begin(step->self))
        return false;
    step->run(step->self);
    step->end(step->self);
    return true;
}

static uint64_t (*mono_ns_before)(const struct ks_clock *clock);
static unsigned times_asked;
static void *taken; /* what lay there is another's now */

/* As if the catalog's thread went on just when the reshard step, which has found something to do,
 * asks for the time; scaling has asked once before. */
static uint64_t catalog_comes_between(const struct ks_clock *clock)
{
    if (times_asked++ == 0)
        return mono_ns_before(clock);
    world.clock.clock.mono_ns = mono_ns_before;
    while (step_once("catalog"))
        continue;
    taken = ks_malloc(sizeof(struct ks_reshard));
    memset(taken, 0xff, sizeof(struct ks_reshard));
    return mono_ns_before(clock);
}

START_TEST(a_reshard_in_the_catalogs_hand_is_not_looked_at)
{
    setup(1);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    struct ks_admin admin = {.mail = {.deliver = resharded}, .home = &world.box};
    const struct ks_reshard_spec spec = {.kind = KS_RESHARD_COUNT, .target_count = 2};
    ck_assert_int_eq(ks_stream_reshard(world.engine, stream->number, &spec, &admin, NULL), KS_OK);
    struct ks_reshards *reshards = world.engine->reshards;
    const struct ks_reshard *reshard =
        KS_CONTAINER_OF(reshards->works.next, struct ks_reshard, link);
    for (unsigned turn = 0; reshard->state != RESHARD_SWITCH; turn++) {
        ck_assert_uint_lt(turn, 1000);
        (void)step_once("reshard");
        if (reshard->state != RESHARD_SWITCH && !step_once("commit"))
            (void)step_once("catalog");
    }
    mono_ns_before = world.clock.clock.mono_ns;
    world.clock.clock.mono_ns = catalog_comes_between;
    (void)step_once("reshard");
    world.clock.clock.mono_ns = mono_ns_before;
    world_pump(&world);
    ck_assert(ks_list_is_empty(&reshards->works));
    ck_assert_uint_gt(resharded_at, 0);
    ck_assert(is_closed(0));
    ks_free(taken);
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

/* ---- removal ---- */

START_TEST(a_closed_shard_is_removed_for_good)
{
    setup(1);
    append_some(0, 6);
    world_flush(&world);
    ck_assert_int_eq(world_remove_shard(&world, "orders", 0), KS_IN_USE);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    ck_assert_int_eq(world_split(&world, "orders", 1, 1000), KS_OK);
    ck_assert_int_eq(world_remove_shard(&world, "orders", 1), KS_IN_USE); /* its parent is there */
    KS_CLEANUP(ks_log_unrefp) struct ks_log *log = ks_log_ref(world_log(&world, "orders", 0));
    world_flush(&world);
    ck_assert_int_eq(world_remove_shard(&world, "orders", 0), KS_OK);
    ck_assert_int_eq(world_remove_shard(&world, "orders", 0), KS_NOT_FOUND);
    struct ks_read read;
    struct ks_read_request request = {.from_sequence = 1, .bytes_max = 100, .records_max = 1};
    ck_assert_int_eq(ks_log_read(log, &request, &read, NULL), KS_NOT_FOUND);
    ck_assert_int_eq(world_remove_shard(&world, "orders", 1), KS_OK);
    for (int restarts = 0; restarts < 3; restarts++) {
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        ck_assert_uint_eq(stream->shard_count, 3);
        ck_assert_uint_eq(stream->open_count, 3);
        ck_assert_ptr_null(ks_stream_shard(stream, 0));
        ck_assert_uint_eq(stream->next_shard_index, 5);
        ks_stream_unref(KS_TAKE(stream));
        world_restart(&world, restarts == 1);
    }
    /* An index is never given twice. */
    ck_assert_int_eq(world_merge(&world, "orders", 3, 4), KS_OK);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
    ck_assert_ptr_nonnull(ks_stream_shard(stream, 5));
    ks_log_unref(KS_TAKE(log));
    ks_stream_unref(KS_TAKE(stream));
    world_fini(&world);
}
END_TEST

START_TEST(a_removal_cut_short_anywhere_is_whole_or_nothing)
{
    for (uint64_t cut = 1;; cut++) {
        setup(1);
        append_some(0, 6);
        world_flush(&world);
        ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
        ks_io_sim_cut_after(world.disk, cut);
        enum ks_status st = world_remove_shard(&world, "orders", 0);
        bool is_cut = ks_io_sim_is_cut(world.disk);
        ks_io_sim_cut_after(world.disk, 0);
        world_restart(&world, false);
        KS_CLEANUP(ks_stream_unrefp) struct ks_stream *stream = world_stream(&world, "orders");
        if (ks_stream_shard(stream, 0)) {
            ck_assert_int_ne(st, KS_OK);
            ck_assert_uint_eq(world_read_all(&world, world_log(&world, "orders", 0), 1, NULL), 18);
            ck_assert_int_eq(world_remove_shard(&world, "orders", 0), KS_OK);
        }
        ks_stream_unref(KS_TAKE(stream));
        world_fini(&world);
        if (!is_cut)
            break;
    }
}
END_TEST

START_TEST(changes_of_a_stream_take_turns)
{
    setup(1);
    ck_assert_int_eq(world_split(&world, "orders", 0, HALF), KS_OK);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *before = world_stream(&world, "orders");
    struct ks_admin merge = {.mail = {.deliver = resharded}, .home = &world.box};
    struct ks_admin removal = {.mail = {.deliver = removed}, .home = &world.box};
    struct ks_admin second = {.mail = {.deliver = resharded}, .home = &world.box};
    const struct ks_reshard_spec spec = {
        .kind = KS_RESHARD_MERGE, .shard_index = 1, .adjacent_index = 2};
    ck_assert_int_eq(ks_stream_reshard(world.engine, before->number, &spec, &merge, NULL), KS_OK);
    ck_assert_int_eq(ks_shard_remove(world.engine, before->number, 0, &removal, NULL), KS_OK);
    ck_assert_int_eq(
        ks_stream_reshard(world.engine, before->number, &spec, &second, NULL), KS_IN_USE);
    world_pump(&world);
    ck_assert_uint_eq(resharded_at, 1);
    ck_assert_uint_eq(removed_at, 2);
    KS_CLEANUP(ks_stream_unrefp) struct ks_stream *after = world_stream(&world, "orders");
    ck_assert_uint_eq(after->shard_count, 3);
    ck_assert_uint_eq(after->open_count, 1);
    ks_stream_unref(KS_TAKE(before));
    ks_stream_unref(KS_TAKE(after));
    world_fini(&world);
}
END_TEST

static struct ks_stream *turn_began_with;

static void turn_begins(struct ks_turn *turn, struct ks_stream *stream)
{
    (void)turn;
    turn_began_with = stream;
}

/* A client that has just seen the stream ACTIVE is not told that it is UPDATING. */
START_TEST(the_next_change_may_come_as_soon_as_the_last_one_shows)
{
    setup(1);
    struct ks_registry *registry = world.engine->registry;
    struct ks_stream *before = world_stream(&world, "orders");
    struct ks_turn first = {
        .stream_number = before->number, .is_announced = true, .start = turn_begins};
    struct ks_turn second = first;
    ck_assert_int_eq(ks_registry_take_turn(registry, &first), KS_OK);
    ck_assert_ptr_eq(turn_began_with, before);
    ck_assert_int_eq(ks_registry_take_turn(registry, &second), KS_IN_USE);
    struct ks_stream *after = ks_stream_copy(before, 0);
    {
        KS_LOCK_SCOPE(&registry->mu);
        ck_assert_ptr_eq(ks_registry_publish(registry, after), before);
    }
    ck_assert_int_eq(ks_registry_take_turn(registry, &second), KS_OK);
    ck_assert_ptr_eq(turn_began_with, before);
    ks_registry_give_turn_on(registry, &first);
    ck_assert_ptr_eq(turn_began_with, after);
    ks_registry_give_turn_on(registry, &second);
    for (int i = 0; i < 3; i++) /* the snapshot's, the turn's, the table's */
        ks_stream_unref(before);
    for (int i = 0; i < 2; i++)
        ks_stream_unref(after);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/reshard")
{
    KS_TEST(a_split_gives_two_children_and_closes_the_parent);
    KS_TEST(a_merge_takes_neighbours_in_their_order);
    KS_TEST(a_key_outside_the_shard_splits_nothing);
    KS_TEST(an_account_has_room_or_nothing_changes);
    KS_TEST(a_reshard_cut_short_anywhere_is_finished_or_never_was);
    KS_TEST(a_full_journal_delays_a_reshard_and_no_one_waits);
    KS_TEST(a_closed_shard_says_for_ever_what_was_applied);
    KS_TEST(a_full_table_of_producers_knows_nothing_of_strangers);
    KS_TEST(a_first_batch_sent_again_is_never_stored_twice);
    KS_TEST(a_shard_about_to_close_takes_nothing_new);
    KS_TEST(a_reshard_in_the_catalogs_hand_is_not_looked_at);
    KS_TEST(a_closed_shard_is_removed_for_good);
    KS_TEST(a_removal_cut_short_anywhere_is_whole_or_nothing);
    KS_TEST(changes_of_a_stream_take_turns);
    KS_TEST(the_next_change_may_come_as_soon_as_the_last_one_shows);
}
