/* Appends and the committer: order, answers, refusals; on a whole engine without threads. */
#include "storage/journal_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

static struct rig rig;
static uint64_t damaged;
enum { PUTS = 64 };
static struct rig_put put[PUTS];

static void open_with_stream(uint64_t seed)
{
    rig_init(&rig, seed);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    memset(put, 0, sizeof put);
}

static uint64_t last_durable(void)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(rig_log(&rig, "s"), &bounds);
    return bounds.last_sequence;
}

START_TEST(nothing_is_readable_or_answered_before_its_block_is_on_disk)
{
    open_with_stream(1);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 3, 100), KS_OK);
    struct ks_step *step = ks_commit_step(rig.engine->commit);
    ck_assert(step->begin(step->self));
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert(!put[0].is_delivered);
    ck_assert_uint_eq(last_durable(), 0);
    step->run(step->self);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert(!put[0].is_delivered);
    ck_assert_uint_eq(last_durable(), 0);
    step->end(step->self);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert(put[0].is_delivered);
    ck_assert_uint_eq(last_durable(), 3);
    rig_fini(&rig);
}
END_TEST

START_TEST(appends_that_wait_together_share_a_block)
{
    open_with_stream(2);
    struct ks_engine_stats before;
    struct ks_engine_stats after;
    ks_engine_stats(rig.engine, &before);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(rig_append(&rig, &put[i], "s", 1, 50), KS_OK);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(!rig_step(&rig, "commit"));
    ks_engine_stats(rig.engine, &after);
    ck_assert_uint_eq(after.durable_blocks - before.durable_blocks, 1);
    ck_assert_uint_eq(after.durable_batches - before.durable_batches, 10);
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(put[i].append.first_sequence, i + 1);
        ck_assert_int_eq(put[i].append.status, KS_OK);
    }
    rig_fini(&rig);
}
END_TEST

/* While the first one waits for the disk its retry must not be answered; afterwards it gets the
 * first result. */
START_TEST(a_duplicate_is_answered_after_its_first_and_like_it)
{
    open_with_stream(3);
    put[0].append.producer_id = 77;
    put[0].append.producer_sequence = 1;
    put[0].append.is_producer_first = true;
    put[1] = put[0];
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 2, 50), KS_OK);
    put[1].append.mail = put[0].append.mail;
    put[1].append.home = &rig.mailbox;
    put[1].append.records = put[0].append.records;
    put[1].append.record_count = 2;
    put[1].append.body_crc = put[0].append.body_crc;
    ck_assert_int_eq(ks_log_append(rig_log(&rig, "s"), &put[1].append, NULL), KS_OK);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert(!put[1].is_delivered);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(put[0].is_delivered && put[1].is_delivered);
    ck_assert(!put[0].append.is_duplicate && put[1].append.is_duplicate);
    ck_assert_uint_eq(put[1].append.first_sequence, put[0].append.first_sequence);
    ck_assert_uint_eq(put[1].append.arrival_unix_ms, put[0].append.arrival_unix_ms);
    ck_assert_uint_eq(last_durable(), 2);
    /* And the same after a crash, from the journal. */
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
    put[1].is_delivered = false;
    put[1].append.commit_link = (struct ks_list){0};
    ck_assert_int_eq(ks_log_append(rig_log(&rig, "s"), &put[1].append, NULL), KS_OK);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(put[1].is_delivered && put[1].append.is_duplicate);
    ck_assert_uint_eq(put[1].append.first_sequence, 1);
    struct ks_producer_state state;
    ck_assert_int_eq(ks_log_producer_state(rig_log(&rig, "s"), 77, &state, NULL), KS_OK);
    ck_assert_uint_eq(state.sequence, 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 2);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_producer_gap_stores_nothing_and_says_what_is_expected)
{
    open_with_stream(4);
    put[0].append.producer_id = 5;
    put[0].append.producer_sequence = 10;
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 10), KS_PRODUCER_UNKNOWN);
    put[0].append.is_producer_first = true;
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 10), KS_OK);
    put[1].append.producer_id = 5;
    put[1].append.producer_sequence = 12;
    ck_assert_int_eq(rig_append(&rig, &put[1], "s", 1, 10), KS_PRODUCER_GAP);
    ck_assert_ptr_nonnull(strstr(rig.error.text, "11 is expected"));
    rig_run(&rig);
    ck_assert_uint_eq(last_durable(), 1);
    rig_fini(&rig);
}
END_TEST

START_TEST(arrival_never_goes_back)
{
    open_with_stream(5);
    rig_put(&rig, "s", 1, 10);
    struct ks_log_bounds before;
    ks_log_bounds(rig_log(&rig, "s"), &before);
    rig.clock.unix_ms -= 60000;
    rig_put(&rig, "s", 1, 10);
    struct ks_log_bounds after;
    ks_log_bounds(rig_log(&rig, "s"), &after);
    ck_assert_uint_eq(after.last_arrival_unix_ms, before.last_arrival_unix_ms);
    rig_fini(&rig);
}
END_TEST

/* Without a flush the journal fills: appends are refused before they have a sequence, never lost
 * after. */
START_TEST(a_full_journal_throttles_and_takes_up_again_after_a_flush)
{
    open_with_stream(6);
    rig_run(&rig);
    uint64_t stored = 0;
    enum ks_status st = KS_OK;
    for (int i = 0; i < 2000 && st == KS_OK; i++) {
        put[0].append = (struct ks_append){0};
        st = rig_append(&rig, &put[0], "s", 1, i % 5 == 0 ? 20000 : 500);
        if (st == KS_OK) {
            stored++;
            ck_assert(rig_step(&rig, "commit"));
            ck_assert(put[0].is_delivered);
        }
    }
    ck_assert_int_eq(st, KS_THROTTLED);
    ck_assert_uint_ge(ks_journal_used_percent(rig.engine->journal), 50);
    for (int i = 0; i < 50; i++) {
        rig_run(&rig);
        ks_fake_clock_advance_ms(&rig.clock, 3000);
    }
    rig_put(&rig, "s", 1, 20000);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), stored + 1);
    rig_fini(&rig);
}
END_TEST

/* However many are reserved before any is written, each finds its place. */
START_TEST(what_was_reserved_always_finds_room)
{
    open_with_stream(7);
    rig_run(&rig);
    uint64_t stored = 0;
    for (int round = 0; round < 30; round++) {
        int count = 0;
        while (count < 64) {
            put[count].append = (struct ks_append){0};
            uint32_t bytes = (uint32_t)((round * 7 + count * 13) % 11) * 2500 + 10;
            if (rig_append(&rig, &put[count], "s", 1, bytes) != KS_OK)
                break;
            count++;
        }
        ck_assert_int_gt(count, 0);
        rig_run(&rig);
        ks_fake_clock_advance_ms(&rig.clock, 3000);
        rig_run(&rig);
        for (int i = 0; i < count; i++)
            ck_assert(put[i].is_delivered && put[i].append.status == KS_OK);
        stored += (uint64_t)count;
    }
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), stored);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_batch_that_fits_no_block_is_too_large)
{
    open_with_stream(8);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 32500), KS_TOO_LARGE);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 2, 20000), KS_TOO_LARGE);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 30000), KS_OK);
    rig_run(&rig);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_stopping_engine_refuses_appends_and_answers_those_it_took)
{
    open_with_stream(9);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 10), KS_OK);
    atomic_store(&rig.engine->is_stopping, true);
    ck_assert_int_eq(rig_append(&rig, &put[1], "s", 1, 10), KS_STOPPING);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    ck_assert(put[0].is_delivered);
    ck_assert_int_eq(put[0].append.status, KS_OK);
    rig_must_open(&rig);
    ck_assert(ks_engine_recovery(rig.engine)->was_clean);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 1);
    rig_fini(&rig);
}
END_TEST

static void memory_append(int i, int like)
{
    put[i].append = (struct ks_append){.ack = KS_ACK_MEMORY,
        .producer_id = 7,
        .producer_sequence = (uint64_t)like + 1,
        .is_producer_first = like == 0};
}

START_TEST(ack_memory_answers_at_once_and_shows_nothing_early)
{
    open_with_stream(11);
    memory_append(0, 0);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 3, 100), KS_OK);
    ck_assert_uint_eq(ks_mailbox_deliver(&rig.mailbox), 1);
    ck_assert(put[0].is_delivered);
    ck_assert_int_eq(put[0].append.status, KS_OK);
    ck_assert_uint_eq(put[0].append.first_sequence, 1);
    ck_assert_uint_eq(last_durable(), 0);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 0);
    put[0].append = (struct ks_append){.ack = KS_ACK_DURABLE}; /* its memory is ours again */
    ck_assert(rig_step(&rig, "commit"));
    ck_assert_uint_eq(last_durable(), 3);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 3);
    ck_assert(!put[0].append.mail.link.next);
    rig_fini(&rig);
}
END_TEST

START_TEST(ack_memory_repeats_its_answer_and_may_be_lost_by_a_crash)
{
    open_with_stream(12);
    memory_append(0, 0);
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 2, 50), KS_OK);
    ck_assert(rig_step(&rig, "commit"));
    memory_append(1, 1);
    ck_assert_int_eq(rig_append(&rig, &put[1], "s", 2, 50), KS_OK);
    memory_append(2, 1);
    put[2].append.home = &rig.mailbox;
    put[2].append.records = put[1].append.records;
    put[2].append.record_count = put[1].append.record_count;
    put[2].append.body_crc = put[1].append.body_crc;
    put[2].append.mail = (struct ks_mail){.deliver = put[1].append.mail.deliver};
    ck_assert_int_eq(ks_log_append(rig_log(&rig, "s"), &put[2].append, NULL), KS_OK);
    ks_mailbox_deliver(&rig.mailbox);
    ck_assert(put[2].is_delivered && put[2].append.is_duplicate);
    ck_assert_uint_eq(put[2].append.first_sequence, 3);
    rig_crash(&rig, KS_SIM_NOTHING); /* before the block of the second one */
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 2);
    /* The producer learns of it by the gap; its ordinals go to others. */
    memory_append(3, 2);
    ck_assert_int_eq(rig_append(&rig, &put[3], "s", 1, 50), KS_PRODUCER_GAP);
    memory_append(3, 1);
    ck_assert_int_eq(rig_append(&rig, &put[3], "s", 1, 50), KS_OK);
    ck_assert_uint_eq(put[3].append.first_sequence, 3);
    rig_run(&rig);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 3);
    rig_fini(&rig);
}
END_TEST

/* What the queue takes of puts that nobody waits for, until one waits. They are durable in the end.
 */
static uint64_t queued_for_nobody(int first)
{
    uint64_t queued = 0;
    int i = first;
    for (; i < PUTS; i++) {
        put[i].append = (struct ks_append){.ack = KS_ACK_MEMORY};
        ck_assert_int_eq(rig_append(&rig, &put[i], "s", 1, 1000), KS_OK);
        ks_mailbox_deliver(&rig.mailbox);
        if (!put[i].is_delivered)
            break;
        queued += put[i].append.stored_bytes;
    }
    ck_assert_int_lt(i, PUTS);
    while (rig_step(&rig, "commit"))
        continue;
    ck_assert(put[i].is_delivered);
    ck_assert_uint_eq(last_durable(), (uint64_t)i + 1);
    return queued;
}

/* An answer without a disk must not let the queue grow, even less when others wait in it. */
START_TEST(ack_memory_waits_for_a_disk_that_is_far_behind)
{
    open_with_stream(13);
    uint64_t group_bytes = rig.options.limits.group_bytes;
    uint64_t alone = queued_for_nobody(0);
    ck_assert_uint_gt(alone, group_bytes / 8);
    ck_assert_uint_le(alone, group_bytes / 8 + 1100);
    rig_fini(&rig);
    open_with_stream(13);
    put[0].append = (struct ks_append){.ack = KS_ACK_DURABLE};
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 100), KS_OK);
    uint64_t beside = queued_for_nobody(1);
    ck_assert_uint_le(beside, group_bytes / 64 + 1100);
    ck_assert(put[0].is_delivered);
    rig_fini(&rig);
}
END_TEST

/* What waits in the queue for nobody is freed with the engine. */
START_TEST(ack_memory_leaves_nothing_behind_in_a_poisoned_engine)
{
    open_with_stream(14);
    for (int i = 0; i < 3; i++) {
        put[i].append = (struct ks_append){.ack = KS_ACK_MEMORY};
        ck_assert_int_eq(rig_append(&rig, &put[i], "s", 1, 100), KS_OK);
    }
    ks_io_sim_fail_write_after(rig.disk, 1);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(ks_engine_is_poisoned(rig.engine));
    ck_assert_uint_eq(last_durable(), 0);
    put[3].append = (struct ks_append){.ack = KS_ACK_MEMORY};
    ck_assert_int_eq(rig_append(&rig, &put[3], "s", 1, 100), KS_POISONED);
    ks_io_sim_fail_write_after(rig.disk, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(an_old_routing_epoch_is_told_of_the_change)
{
    open_with_stream(10);
    rig_log(&rig, "s")->routing_epoch = 3; /* made by a reshard */
    put[0].append.routing_epoch = 2;
    ck_assert_int_eq(rig_append(&rig, &put[0], "s", 1, 10), KS_ROUTING_CHANGED);
    for (uint64_t epoch = 3; epoch < 5; epoch++) {
        /* A newer one is of a reshard of other shards. */
        put[epoch - 3].append.routing_epoch = epoch;
        ck_assert_int_eq(rig_append(&rig, &put[epoch - 3], "s", 1, 10), KS_OK);
    }
    rig_run(&rig);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/commit")
{
    KS_TEST(nothing_is_readable_or_answered_before_its_block_is_on_disk);
    KS_TEST(appends_that_wait_together_share_a_block);
    KS_TEST(a_duplicate_is_answered_after_its_first_and_like_it);
    KS_TEST(a_producer_gap_stores_nothing_and_says_what_is_expected);
    KS_TEST(arrival_never_goes_back);
    KS_TEST(a_full_journal_throttles_and_takes_up_again_after_a_flush);
    KS_TEST(what_was_reserved_always_finds_room);
    KS_TEST(a_batch_that_fits_no_block_is_too_large);
    KS_TEST(a_stopping_engine_refuses_appends_and_answers_those_it_took);
    KS_TEST(ack_memory_answers_at_once_and_shows_nothing_early);
    KS_TEST(ack_memory_repeats_its_answer_and_may_be_lost_by_a_crash);
    KS_TEST(ack_memory_waits_for_a_disk_that_is_far_behind);
    KS_TEST(ack_memory_leaves_nothing_behind_in_a_poisoned_engine);
    KS_TEST(an_old_routing_epoch_is_told_of_the_change);
}
