#include "storage/journal_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

#include <stdio.h>

static struct rig rig;
static uint64_t damaged;

static const struct ks_recovery_stats *stats(void)
{
    return ks_engine_recovery(rig.engine);
}

START_TEST(a_new_directory_opens_and_stops_clean)
{
    rig_init(&rig, 1);
    rig_must_open(&rig);
    ck_assert(stats()->was_clean);
    rig_run(&rig);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig_must_open(&rig);
    ck_assert(stats()->was_clean);
    ck_assert_uint_eq(stats()->torn_tails + stats()->damaged_blocks, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(what_was_acknowledged_survives_a_power_cut)
{
    rig_init(&rig, 2);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_create_stream(&rig, "t");
    for (int i = 0; i < 10; i++) {
        rig_put(&rig, "s", 3, 100);
        rig_put(&rig, "t", 1, 5000);
    }
    for (int round = 0; round < 4; round++) {
        rig_crash(&rig, KS_SIM_NOTHING);
        rig_must_open(&rig);
        ck_assert(!stats()->was_clean);
        ck_assert_uint_gt(stats()->batches_replayed, 0);
        ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 30 + 3 * (uint64_t)round);
        ck_assert_uint_eq(damaged, 0);
        ck_assert_uint_eq(rig_read_all(&rig, "t", &damaged), 10);
        rig_put(&rig, "s", 3, 100);
    }
    rig_fini(&rig);
}
END_TEST

START_TEST(a_clean_stop_leaves_nothing_to_replay)
{
    rig_init(&rig, 3);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    for (int i = 0; i < 20; i++)
        rig_put(&rig, "s", 5, 300);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig_must_open(&rig);
    ck_assert(stats()->was_clean);
    ck_assert_uint_eq(stats()->blocks_accepted, 0); /* not even looked at */
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 100);
    ck_assert_uint_eq(damaged, 0);
    rig_fini(&rig);
}
END_TEST

/* Where the current file's next block goes, and the file's path. */
static uint64_t current_end(char path[KS_JOURNAL_PATH_BYTES])
{
    ks_journal_path(rig.engine->journal->current->number, path);
    return rig.engine->journal->current->used_bytes;
}

START_TEST(a_torn_block_costs_only_what_was_never_acknowledged)
{
    rig_init(&rig, 4);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    rig_put(&rig, "s", 3, 100);
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t last_block = current_end(path) - 4096;
    rig_crash(&rig, KS_SIM_NOTHING);
    /* The payload of the last block: nothing names it as durable. */
    rig_flip(&rig, path, last_block + 600);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->torn_tails, 1);
    ck_assert_uint_eq(stats()->damaged_blocks, 0);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 3);
    /* The next records take its ordinals, and stay. */
    rig_put(&rig, "s", 2, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 5);
    ck_assert_uint_eq(damaged, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_bad_payload_that_was_durable_is_told_to_readers)
{
    rig_init(&rig, 5);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t block = current_end(path);
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "s", 3, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, block + 600);
    for (int round = 0; round < 3; round++) { /* every later start sees the same */
        rig_must_open(&rig);
        ck_assert_uint_eq(stats()->damaged_blocks, 1);
        ck_assert_uint_eq(stats()->torn_tails, 0);
        ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 10);
        ck_assert_uint_eq(damaged, 4);
        rig_crash(&rig, KS_SIM_NOTHING);
    }
    ck_assert_uint_gt(rig_saw(&rig, "journal.damage"), 0);
    ck_assert_uint_eq(rig_saw(&rig, "journal.end_uncertain"), 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(damage_before_a_clean_stop_is_not_told_again)
{
    rig_init(&rig, 14);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t block = current_end(path);
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "s", 3, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, block + 600);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_saw(&rig, "journal.damage"), 1);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_saw(&rig, "journal.damage"), 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 7);
    ck_assert_uint_eq(damaged, 4); /* of the segment by now */
    /* Nor by an unclean start after that: what the run follows is nothing. */
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_saw(&rig, "journal.damage"), 1);
    ck_assert_uint_eq(stats()->runs_followed, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_bad_header_that_was_durable_leaves_a_gap_that_readers_are_told_of)
{
    rig_init(&rig, 6);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_create_stream(&rig, "quiet");
    rig_put(&rig, "s", 3, 100);
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t block = current_end(path);
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "s", 3, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, block + 50); /* the LSN itself */
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->damaged_blocks, 1);
    ck_assert_uint_eq(stats()->damaged_batches, 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 10);
    ck_assert_uint_eq(damaged, 4);
    ck_assert_uint_eq(rig_saw(&rig, "journal.end_uncertain"), 0);
    ck_assert_uint_eq(rig_read_all(&rig, "quiet", &damaged), 0);
    /* The copy is there. */
    struct ks_file *copy;
    char name[96];
    snprintf(name, sizeof name, "quarantine/journal-1-%llu.blk", 3ull);
    enum ks_status st = ks_io_open(ks_io_sim_io(rig.disk), name, KS_OPEN_READ, &copy, NULL);
    ck_assert_int_eq(st, KS_OK);
    ks_file_close(copy);
    rig_fini(&rig);
}
END_TEST

START_TEST(damage_to_an_earlier_run_is_damage_up_to_its_named_end)
{
    rig_init(&rig, 7);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t last = current_end(path);
    rig_put(&rig, "s", 4, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig); /* the new run names that last block */
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, last + 600);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->runs_followed, 1);
    ck_assert_uint_eq(stats()->torn_tails, 0);
    ck_assert_uint_eq(stats()->damaged_blocks, 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 7);
    ck_assert_uint_eq(damaged, 4);
    /* It stays damage, with no later block of the log to show the gap. */
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 7);
    ck_assert_uint_eq(damaged, 4);
    rig_fini(&rig);
}
END_TEST

START_TEST(damage_to_the_last_block_is_told_by_the_block_that_names_it)
{
    rig_init(&rig, 8);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t last = current_end(path);
    rig_put(&rig, "s", 4, 100);
    ck_assert(!rig_step(&rig, "commit"));
    ks_fake_clock_advance_ms(&rig.clock, 1100); /* a second of silence: an empty block */
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(!rig_step(&rig, "commit"));
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, last + 600);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->damaged_blocks, 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 4);
    ck_assert_uint_eq(damaged, 4);
    rig_fini(&rig);
}
END_TEST

/* A write that the disk completed after recovery had looked: later than its run's end, so never
 * part of the log. */
START_TEST(a_block_beyond_the_named_end_is_ignored_for_ever)
{
    rig_init(&rig, 9);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t last = current_end(path);
    rig_put(&rig, "s", 4, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, last + 600);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->torn_tails, 1);
    rig_put(&rig, "s", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_flip(&rig, path, last + 600); /* whole again */
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->blocks_beyond_named, 1);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 4);
    ck_assert_uint_eq(damaged, 0);
    rig_fini(&rig);
}
END_TEST

/* Files fill, are flushed, recycled and filled again; nothing is lost at any moment. */
START_TEST(recycled_files_keep_everything_through_crashes)
{
    rig_init(&rig, 10);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    uint64_t records = 0;
    for (int i = 0; i < 300; i++) {
        rig_put(&rig, "s", 2, 2000);
        records += 2;
        rig_run(&rig);
        if (i % 37 == 36) {
            rig_crash(&rig, i % 2 ? KS_SIM_NOTHING : KS_SIM_RANDOM);
            rig_must_open(&rig);
            ck_assert_uint_eq(stats()->damaged_blocks, 0);
            ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), records);
            ck_assert_uint_eq(damaged, 0);
        }
    }
    struct ks_engine_stats engine_stats;
    ks_engine_stats(rig.engine, &engine_stats);
    rig_fini(&rig);
}
END_TEST

/* Each _i cuts the power at its calls, one after the other: opening, appending, flushing,
 * recycling, recovering. */
START_TEST(a_power_cut_at_any_call_loses_nothing_acknowledged)
{
    static struct rig_put put;
    rig_init(&rig, 100 + (uint64_t)_i);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    uint64_t acknowledged = 0;
    for (uint64_t n = 1 + (uint64_t)_i; n < 120; n += 8) {
        ks_io_sim_cut_after(rig.disk, n);
        for (int i = 0; i < 200 && !ks_io_sim_is_cut(rig.disk); i++) {
            put.append = (struct ks_append){0};
            if (rig_append(&rig, &put, "s", 2, 3000) == KS_OK)
                rig_run(&rig);
            if (put.is_delivered && put.append.status == KS_OK)
                acknowledged = put.append.last_sequence;
            ks_fake_clock_advance_ms(&rig.clock, 500);
        }
        rig_crash(&rig, n % 3 == 0 ? KS_SIM_NOTHING : n % 3 == 1 ? KS_SIM_RANDOM : KS_SIM_PREFIX);
        /* And once more while it recovers. */
        ks_io_sim_cut_after(rig.disk, 1 + n % 13);
        KS_IGNORE(rig_open(&rig), "the power may go meanwhile");
        rig_crash(&rig, KS_SIM_RANDOM);
        rig_must_open(&rig);
        uint64_t kept = rig_read_all(&rig, "s", &damaged);
        ck_assert_uint_ge(kept, acknowledged);
        ck_assert_uint_eq(damaged, 0);
        ck_assert_uint_eq(stats()->damaged_blocks, 0);
        acknowledged = kept;
    }
    rig_fini(&rig);
}
END_TEST

START_TEST(a_failed_journal_write_poisons_and_acknowledges_nothing)
{
    rig_init(&rig, 11);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    static struct rig_put one;
    static struct rig_put two;
    ck_assert_int_eq(rig_append(&rig, &one, "s", 1, 10), KS_OK);
    ck_assert_int_eq(rig_append(&rig, &two, "s", 1, 10), KS_OK);
    ks_io_sim_cut_after(rig.disk, 1);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(one.is_delivered && two.is_delivered);
    ck_assert_int_eq(one.append.status, KS_POISONED);
    ck_assert_int_eq(two.append.status, KS_POISONED);
    ck_assert(ks_engine_is_poisoned(rig.engine));
    ck_assert_uint_eq(rig.poisons, 1);
    ck_assert_int_eq(rig_append(&rig, &one, "s", 1, 10), KS_POISONED);
    ck_assert_uint_eq(rig_read_all(&rig, "s", &damaged), 3);
    ck_assert_int_eq(rig_stop(&rig), KS_POISONED);
    rig_crash(&rig, KS_SIM_RANDOM);
    rig_must_open(&rig);
    ck_assert_uint_ge(rig_read_all(&rig, "s", &damaged), 3);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_journal_that_vanished_refuses_the_start)
{
    rig_init(&rig, 12);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_put(&rig, "s", 3, 100);
    rig_create_stream(&rig, "t"); /* a commit that names the block */
    rig_crash(&rig, KS_SIM_NOTHING);
    for (unsigned number = 1; number < 20; number++) {
        char path[KS_JOURNAL_PATH_BYTES];
        ks_journal_path(number, path);
        KS_IGNORE(ks_io_unlink(ks_io_sim_io(rig.disk), path, NULL), "some are there");
    }
    ck_assert_int_eq(rig_open(&rig), KS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(rig.error.text, "missing"));
    rig_fini(&rig);
}
END_TEST

START_TEST(an_unclean_start_erases_the_index_and_a_clean_one_does_not)
{
    rig_init(&rig, 13);
    rig_must_open(&rig);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig.index_erased = 0;
    rig_must_open(&rig);
    ck_assert_uint_eq(rig.index_erased, 0);
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
    ck_assert_uint_eq(rig.index_erased, 1);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/recovery")
{
    KS_TEST(a_new_directory_opens_and_stops_clean);
    KS_TEST(what_was_acknowledged_survives_a_power_cut);
    KS_TEST(a_clean_stop_leaves_nothing_to_replay);
    KS_TEST(a_torn_block_costs_only_what_was_never_acknowledged);
    KS_TEST(a_bad_payload_that_was_durable_is_told_to_readers);
    KS_TEST(damage_before_a_clean_stop_is_not_told_again);
    KS_TEST(a_bad_header_that_was_durable_leaves_a_gap_that_readers_are_told_of);
    KS_TEST(damage_to_an_earlier_run_is_damage_up_to_its_named_end);
    KS_TEST(damage_to_the_last_block_is_told_by_the_block_that_names_it);
    KS_TEST(a_block_beyond_the_named_end_is_ignored_for_ever);
    KS_TEST(recycled_files_keep_everything_through_crashes);
    KS_TEST_LOOP(a_power_cut_at_any_call_loses_nothing_acknowledged, 8);
    KS_TEST(a_failed_journal_write_poisons_and_acknowledges_nothing);
    KS_TEST(a_journal_that_vanished_refuses_the_start);
    KS_TEST(an_unclean_start_erases_the_index_and_a_clean_one_does_not);
}
