/* The journal's files and room: what a new directory has from the first moment on. */
#include "storage/journal_priv.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

#include <stdio.h>

static struct rig rig;

static struct ks_journal *journal(void)
{
    return rig.engine->journal;
}

/* The largest batch that fits a block. */
static uint32_t largest_batch(void)
{
    return journal()->block_bytes_max -
           (uint32_t)ks_journal_head_bytes(1, KS_JOURNAL_ENDS_BESIDE_DATA);
}

START_TEST(a_batch_of_any_size_finds_room_before_any_step_has_run)
{
    rig_init(&rig, 1);
    rig.options.limits.journal_first_file_bytes = 16 << 10; /* less than a block */
    rig_must_open(&rig);
    uint64_t reserved;
    ck_assert_int_eq(ks_journal_reserve(journal(), largest_batch(), &reserved), KS_OK);
    ks_journal_release(journal(), reserved);
    ck_assert_int_eq(ks_journal_reserve(journal(), largest_batch() + 1, &reserved), KS_TOO_LARGE);
    rig_fini(&rig);
}
END_TEST

START_TEST(two_files_are_enough_for_a_batch_of_any_size)
{
    rig_init(&rig, 2);
    rig.options.limits.journal_bytes = 2 * rig.options.limits.journal_file_bytes;
    rig.options.limits.journal_first_file_bytes = 16 << 10;
    rig_must_open(&rig);
    ck_assert_uint_eq(journal()->files_target, 2);
    uint64_t reserved;
    ck_assert_int_eq(ks_journal_reserve(journal(), largest_batch(), &reserved), KS_OK);
    ks_journal_release(journal(), reserved);
    rig_fini(&rig);
}
END_TEST

static unsigned unzeroed_files(void)
{
    unsigned count = 0;
    KS_LIST_FOR_EACH(node, &journal()->ready)
    {
        const struct ks_journal_file *file = KS_CONTAINER_OF(node, struct ks_journal_file, link);
        count += file->zeroed_bytes < file->bytes;
    }
    return count;
}

START_TEST(all_files_are_there_before_the_first_is_zeroed)
{
    rig_init(&rig, 3);
    rig_must_open(&rig);
    ck_assert_uint_eq(unzeroed_files(), 2);
    while (journal()->file_count < journal()->files_target || journal()->making)
        ck_assert(rig_step(&rig, "journal"));
    ck_assert_uint_eq(unzeroed_files(), journal()->files_target - 1);
    rig_run(&rig);
    ck_assert_uint_eq(unzeroed_files(), 0);
    rig_fini(&rig);
}
END_TEST

/* The step is in the middle of a file when the committer needs one: it gets another. */
START_TEST(a_file_being_zeroed_is_not_written_to)
{
    rig_init(&rig, 4);
    rig_must_open(&rig);
    struct ks_step *step = ks_journal_step(journal());
    while (unzeroed_files() < journal()->files_target - 1)
        ck_assert(rig_step(&rig, "journal"));
    ck_assert(step->begin(step->self));
    const struct ks_journal_file *zeroing = NULL;
    KS_LIST_FOR_EACH(node, &journal()->ready)
    {
        const struct ks_journal_file *file = KS_CONTAINER_OF(node, struct ks_journal_file, link);
        if (file->is_zeroing)
            zeroing = file;
    }
    ck_assert_ptr_nonnull(zeroing);
    ks_journal_advance(journal());
    ck_assert_ptr_ne(journal()->current, zeroing);
    do
        step->run(step->self), step->end(step->self);
    while (zeroing->is_zeroing && step->begin(step->self));
    ks_journal_advance(journal());
    ck_assert_ptr_eq(journal()->current, zeroing);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_full_disk_at_the_first_start_leaves_what_fits)
{
    rig_init(&rig, 5);
    ks_io_sim_set_capacity(rig.disk, 200 << 10); /* the first file and another, not a third */
    rig_must_open(&rig);
    ck_assert_uint_eq(journal()->ready_count, 1);
    ks_io_sim_set_capacity(rig.disk, 0);
    ks_fake_clock_advance_ms(&rig.clock, 20000);
    rig_run(&rig);
    ck_assert_uint_eq(journal()->file_count, journal()->files_target);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/journal")
{
    KS_TEST(a_batch_of_any_size_finds_room_before_any_step_has_run);
    KS_TEST(two_files_are_enough_for_a_batch_of_any_size);
    KS_TEST(all_files_are_there_before_the_first_is_zeroed);
    KS_TEST(a_file_being_zeroed_is_not_written_to);
    KS_TEST(a_full_disk_at_the_first_start_leaves_what_fits);
}
