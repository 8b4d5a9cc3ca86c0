/*
 * Where a log ends when the journal's only word on it is damaged: told by the next block, or kept
 * free of use up to everything that may have been acknowledged.
 */
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

/* A block in the journal, to be damaged later. */
struct place {
    char path[KS_JOURNAL_PATH_BYTES];
    uint64_t offset;
};

static struct place next_block(void)
{
    struct place place = {.offset = rig.engine->journal->current->used_bytes};
    ks_journal_path(rig.engine->journal->current->number, place.path);
    return place;
}

/* Twice is as it was. */
static void flip_head(const struct place *place)
{
    rig_flip(&rig, place->path, place->offset + 50); /* the LSN itself */
}

/* A block that names the newest one comes after a second of silence. */
static void be_silent(void)
{
    ck_assert(!rig_step(&rig, "commit"));
    ks_fake_clock_advance_ms(&rig.clock, 1100);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(!rig_step(&rig, "commit"));
}

static void crash_and_open(void)
{
    rig_crash(&rig, KS_SIM_NOTHING);
    rig_must_open(&rig);
}

static void must_have(const char *name, uint64_t records, uint64_t of_them_damaged)
{
    ck_assert_uint_eq(rig_read_all(&rig, name, &damaged), records);
    ck_assert_uint_eq(damaged, of_them_damaged);
}

/* Three logs; "s" and "t" have three records each. */
static void begin(uint64_t seed)
{
    rig_init(&rig, seed);
    rig_must_open(&rig);
    rig_create_stream(&rig, "s");
    rig_create_stream(&rig, "t");
    rig_create_stream(&rig, "quiet");
    rig_put(&rig, "s", 3, 100);
    rig_put(&rig, "t", 3, 100);
}

START_TEST(the_next_block_tells_where_a_log_ends_whose_only_mention_is_lost)
{
    begin(1);
    struct place lost = next_block();
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "t", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    for (int round = 0; round < 3; round++) { /* every later start sees the same */
        rig_must_open(&rig);
        ck_assert_uint_eq(stats()->damaged_blocks, 1);
        ck_assert_uint_eq(stats()->holes_told, 1);
        ck_assert_uint_eq(stats()->ends_pinned, 0);
        must_have("s", 7, 4);
        must_have("t", 4, 0);
        must_have("quiet", 0, 0);
        rig_crash(&rig, KS_SIM_NOTHING);
    }
    rig_must_open(&rig);
    rig_put(&rig, "s", 1, 100); /* the ordinal behind those that are lost */
    crash_and_open();
    must_have("s", 8, 4);
    rig_fini(&rig);
}
END_TEST

START_TEST(an_empty_block_tells_of_the_last_one_with_records)
{
    begin(2);
    struct place lost = next_block();
    rig_put(&rig, "s", 4, 100);
    struct place lost_as_well = next_block();
    be_silent();
    rig_put(&rig, "t", 2, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    flip_head(&lost_as_well);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->holes_told, 1);
    must_have("s", 7, 4);
    must_have("t", 5, 0);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(the_next_run_tells_of_the_last_block_of_the_one_before)
{
    begin(3);
    struct place lost = next_block();
    rig_put(&rig, "s", 4, 100);
    crash_and_open();
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->holes_told, 1);
    must_have("s", 7, 4);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* Two blocks, one behind the other, are lost: of "s" and of "t". */
static void begin_with_two_lost(uint64_t seed, struct place lost[2])
{
    begin(seed);
    lost[0] = next_block();
    rig_put(&rig, "s", 4, 100);
    lost[1] = next_block();
    rig_put(&rig, "t", 2, 100);
    be_silent();
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost[0]);
    flip_head(&lost[1]);
    rig_must_open(&rig);
}

/* Nobody tells where "s" and "quiet" end, only how many ordinals are gone and not those of "t". */
START_TEST(an_end_that_nobody_tells_keeps_every_possible_ordinal_out_of_use)
{
    struct place lost[2];
    begin_with_two_lost(4, lost);
    ck_assert_uint_eq(rig_saw(&rig, "journal.end_uncertain"), 1);
    ck_assert_uint_eq(stats()->ends_pinned, 2);
    must_have("t", 5, 2);
    must_have("s", 7, 4);
    must_have("quiet", 4, 4);
    /* It is decided once and for all, also for a log that comes later. */
    crash_and_open();
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    rig_create_stream(&rig, "new");
    rig_put(&rig, "quiet", 1, 100);
    crash_and_open();
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    must_have("s", 7, 4);
    must_have("quiet", 5, 4);
    must_have("new", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* All ends were certain, but the blocks that said so are covered by segments since. */
START_TEST(what_a_start_has_decided_the_next_one_does_not_ask_again)
{
    begin(13);
    struct place lost[2] = {next_block()};
    rig_put(&rig, "s", 4, 100);
    lost[1] = next_block();
    rig_put(&rig, "t", 2, 100);
    rig_put(&rig, "s", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost[0]);
    flip_head(&lost[1]);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    ks_fake_clock_advance_ms(&rig.clock, 5000); /* old enough to be flushed */
    rig_run(&rig);
    crash_and_open();
    ck_assert_uint_eq(stats()->damaged_blocks, 1);
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    must_have("s", 8, 4);
    must_have("t", 5, 2);
    must_have("quiet", 0, 0);
    /* What is lost after that is new. */
    struct place new[2] = {next_block()};
    rig_put(&rig, "s", 1, 100);
    new[1] = next_block();
    rig_put(&rig, "t", 1, 100);
    be_silent();
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&new[0]);
    flip_head(&new[1]);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->ends_pinned, 2);
    must_have("s", 9, 5);
    must_have("quiet", 1, 1);
    rig_fini(&rig);
}
END_TEST

START_TEST(what_was_given_up_may_come_back_but_nothing_takes_its_place)
{
    struct place lost[2];
    begin_with_two_lost(12, lost);
    rig_put(&rig, "quiet", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost[0]);
    flip_head(&lost[1]);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->damaged_blocks, 0);
    must_have("s", 7, 0);
    must_have("t", 5, 0);
    must_have("quiet", 5, 4);
    rig_fini(&rig);
}
END_TEST

/* The flusher and a clean stop take what recovery has marked into the segments. */
START_TEST(ordinals_out_of_use_stay_so_in_segments)
{
    struct place lost[2];
    begin_with_two_lost(5, lost);
    rig_put(&rig, "quiet", 2, 100);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig_must_open(&rig);
    must_have("s", 7, 4);
    must_have("quiet", 6, 4);
    rig_fini(&rig);
}
END_TEST

/* No block names the last one, but a commit of the catalog does. */
START_TEST(the_catalog_tells_how_much_is_missing_at_the_end)
{
    begin(6);
    struct place lost = next_block();
    rig_put(&rig, "s", 4, 100);
    rig_create_stream(&rig, "u");
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    for (int round = 0; round < 3; round++) {
        rig_must_open(&rig);
        ck_assert_uint_eq(stats()->damaged_blocks, 1);
        ck_assert_uint_eq(stats()->torn_tails, 0);
        ck_assert_uint_eq(stats()->ends_pinned, round == 0 ? 4 : 0);
        must_have("s", 7, 4);
        must_have("t", 7, 4);
        rig_crash(&rig, KS_SIM_NOTHING);
    }
    rig_fini(&rig);
}
END_TEST

/* The header of a file and its first block: what a hole of 8 KiB takes. */
START_TEST(a_file_whose_beginning_is_lost_is_missed)
{
    begin(7);
    struct place lost = next_block();
    lost.offset = KS_JOURNAL_FILE_HEADER_BYTES;
    crash_and_open(); /* into another file */
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "t", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    /* The first file: its empty first block, and the one with three records of "s". */
    rig_flip(&rig, lost.path, 50);
    flip_head(&lost);
    lost.offset += KS_JOURNAL_BLOCK_ALIGN;
    flip_head(&lost);
    rig_must_open(&rig);
    must_have("s", 7, 3);
    must_have("t", 4, 0);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* A journal file that is gone, with all that it had and nothing behind it has. */
START_TEST(a_file_that_is_gone_is_missed)
{
    begin(8);
    struct place gone = next_block();
    rig_put(&rig, "s", 4, 100);
    crash_and_open();
    rig_put(&rig, "t", 1, 100);
    rig_crash(&rig, KS_SIM_NOTHING);
    ck_assert_int_eq(ks_io_unlink(ks_io_sim_io(rig.disk), gone.path, NULL), KS_OK);
    rig_must_open(&rig);
    /* What "t" lacks and what the next run tells of "s" is all of it. */
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    must_have("s", 7, 7);
    must_have("t", 4, 3);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* A log that was deleted is not missed, and not brought back. */
START_TEST(a_deleted_log_of_a_lost_block_is_no_obstacle)
{
    begin(9);
    struct place lost = next_block();
    rig_put(&rig, "s", 4, 100);
    rig_put(&rig, "t", 1, 100);
    rig_delete_stream(&rig, "s");
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->damaged_blocks, 1);
    ck_assert_uint_eq(stats()->ends_pinned, 0);
    must_have("t", 4, 0);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* More logs in a block than the next one with records can name: an empty one names them all. */
START_TEST(a_block_of_many_logs_is_told_by_an_empty_one)
{
    rig_init(&rig, 10);
    rig_must_open(&rig);
    enum { LOGS = KS_JOURNAL_ENDS_BESIDE_DATA + 6 };
    static struct rig_put puts[LOGS];
    char names[LOGS][16];
    for (int i = 0; i < LOGS; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        rig_create_stream(&rig, names[i]);
    }
    rig_create_stream(&rig, "quiet");
    struct place lost = next_block();
    for (int i = 0; i < LOGS; i++)
        ck_assert_int_eq(rig_append(&rig, &puts[i], names[i], 2, 20), KS_OK);
    ck_assert(rig_step(&rig, "commit"));
    ck_assert(puts[LOGS - 1].is_delivered);
    be_silent();
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->holes_told, 1);
    for (int i = 0; i < LOGS; i++)
        must_have(names[i], 2, 2);
    must_have("quiet", 0, 0);
    rig_fini(&rig);
}
END_TEST

/* The same with a block of records behind it: some logs have no row, so the quiet one may be one.
 */
START_TEST(logs_left_out_of_the_next_block_are_uncertain)
{
    rig_init(&rig, 11);
    rig_must_open(&rig);
    enum { LOGS = KS_JOURNAL_ENDS_BESIDE_DATA + 6 };
    static struct rig_put puts[LOGS];
    char names[LOGS][16];
    for (int i = 0; i < LOGS; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        rig_create_stream(&rig, names[i]);
    }
    rig_create_stream(&rig, "quiet");
    struct place lost = next_block();
    for (int i = 0; i < LOGS; i++)
        ck_assert_int_eq(rig_append(&rig, &puts[i], names[i], 2, 20), KS_OK);
    ck_assert(rig_step(&rig, "commit"));
    rig_put(&rig, "s0", 1, 20);
    rig_crash(&rig, KS_SIM_NOTHING);
    flip_head(&lost);
    rig_must_open(&rig);
    ck_assert_uint_eq(stats()->holes_told, 0);
    ck_assert_uint_eq(stats()->ends_pinned, 7); /* 6 without a row, and the quiet one */
    must_have("s0", 3, 2);
    must_have("s63", 2, 2);
    must_have("s64", 12, 12); /* all that no log is known to lack */
    must_have("quiet", 12, 12);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/recovery_ends")
{
    KS_TEST(the_next_block_tells_where_a_log_ends_whose_only_mention_is_lost);
    KS_TEST(an_empty_block_tells_of_the_last_one_with_records);
    KS_TEST(the_next_run_tells_of_the_last_block_of_the_one_before);
    KS_TEST(an_end_that_nobody_tells_keeps_every_possible_ordinal_out_of_use);
    KS_TEST(what_a_start_has_decided_the_next_one_does_not_ask_again);
    KS_TEST(what_was_given_up_may_come_back_but_nothing_takes_its_place);
    KS_TEST(ordinals_out_of_use_stay_so_in_segments);
    KS_TEST(the_catalog_tells_how_much_is_missing_at_the_end);
    KS_TEST(a_file_whose_beginning_is_lost_is_missed);
    KS_TEST(a_file_that_is_gone_is_missed);
    KS_TEST(a_deleted_log_of_a_lost_block_is_no_obstacle);
    KS_TEST(a_block_of_many_logs_is_told_by_an_empty_one);
    KS_TEST(logs_left_out_of_the_next_block_are_uncertain);
}
