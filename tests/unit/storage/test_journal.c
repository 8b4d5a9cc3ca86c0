/* The journal's files and room: what a new directory has from the first moment on. */
#include "storage/io_fault.h"
#include "storage/journal_chain.h"
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

START_TEST(more_files_than_recovery_can_look_at_are_refused)
{
    rig_init(&rig, 9);
    ks_io_sim_set_capacity(rig.disk, 1ull << 40);
    rig.options.limits.journal_bytes = KS_JOURNAL_FILES_MAX * rig.options.limits.journal_file_bytes;
    rig_must_open(&rig);
    ck_assert_uint_eq(journal()->files_target, KS_JOURNAL_FILES_MAX);
    rig_crash(&rig, KS_SIM_ALL);
    rig.options.limits.journal_bytes += rig.options.limits.journal_file_bytes;
    ck_assert_int_eq(rig_open(&rig), KS_INVALID);
    ck_assert_ptr_nonnull(strstr(rig.error.text, "make the files larger"));
    rig_fini(&rig);
}
END_TEST

/* A directory as no broker leaves it behind: what is in the files that are too many is not left out
 * silently. */
static enum ks_status list_too_many(struct ks_io *io, const char *path,
    void (*each)(void *arg, const char *name), void *arg, struct ks_error *err)
{
    (void)io;
    (void)path;
    (void)err;
    for (unsigned number = 0; number <= KS_CHAIN_FILES_MAX; number++) {
        char name[32];
        snprintf(name, sizeof name, "%04u.jnl", number);
        each(arg, name);
    }
    return KS_OK;
}

START_TEST(a_directory_with_too_many_files_is_refused)
{
    const struct ks_io_ops ops = {.list = list_too_many};
    struct ks_io io = {.ops = &ops};
    const struct ks_chain_options options = {.io = &io};
    const struct ks_chain_visitor visitor = {.arg = NULL};
    struct ks_error error = KS_ERROR_INIT;
    struct ks_chain chain;
    ks_chain_init(&chain, &options, &visitor);
    ck_assert_int_eq(ks_chain_walk(&chain, &error), KS_LIMIT);
    ks_chain_fini(&chain);
}
END_TEST

/* ---- refusals that touch nothing ---- */

static struct ks_io_fault *fault;

static void rig_init_faulty(uint64_t seed)
{
    rig_init(&rig, seed);
    ck_assert_int_eq(ks_io_fault_create(ks_io_sim_io(rig.disk), &fault, NULL), KS_OK);
    rig.options.io = ks_io_fault_io(fault);
}

static void rig_fini_faulty(void)
{
    rig_stop(&rig);
    ks_io_fault_destroy(fault);
    rig_fini(&rig);
}

static const enum ks_io_call before_writing[] = {KS_IO_OPEN, KS_IO_ALLOCATE};

/* As with no descriptor left (EMFILE), once and twice in a row. */
START_TEST(a_file_that_cannot_be_opened_is_made_later)
{
    rig_init_faulty(6);
    rig_must_open(&rig);
    ck_assert_uint_lt(journal()->file_count, journal()->files_target);
    for (unsigned times = 1; times <= 2; times++) {
        struct ks_io_fault_plan plan = {
            .call = before_writing[_i], .fault = KS_FAULT_EIO, .nth = 1, .is_sticky = true};
        ks_io_fault_plan(fault, &plan);
        uint64_t count = journal()->file_count;
        while (rig_step(&rig, "journal"))
            continue;
        ck_assert_uint_eq(ks_io_fault_given(fault), 1);
        ck_assert_uint_eq(rig.poisons, 0);
        ck_assert_uint_eq(rig_saw(&rig, "journal.make_failed"), times);
        ck_assert_uint_eq(journal()->file_count, count);
        ks_fake_clock_advance_ms(&rig.clock, 20000);
    }
    ks_io_fault_plan(fault, &(struct ks_io_fault_plan){.nth = 0});
    rig_run(&rig);
    ck_assert_uint_eq(journal()->file_count, journal()->files_target);
    rig_fini_faulty();
}
END_TEST

/* A file's worth of batches, then the journal step before the flusher: an older file is still
 * needed, and the newest says so. */
static void use_a_file(void)
{
    for (unsigned i = 0; i < 20; i++)
        rig_put(&rig, "orders", 3, 1000);
    ks_fake_clock_advance_ms(&rig.clock, 20000);
    while (rig_step(&rig, "journal"))
        continue;
    rig_run(&rig);
}

/* The first file is short and goes when it has been used. */
START_TEST(a_file_that_cannot_be_unlinked_is_removed_later)
{
    rig_init_faulty(7);
    rig.options.limits.journal_first_file_bytes = 16 << 10;
    rig_must_open(&rig);
    rig_create_stream(&rig, "orders");
    rig_run(&rig);
    struct ks_io_fault_plan plan = {
        .call = KS_IO_UNLINK, .fault = _i ? KS_FAULT_DONE_EIO : KS_FAULT_EIO, .nth = 1};
    ks_io_fault_plan(fault, &plan);
    for (unsigned i = 0; i < 10; i++)
        use_a_file();
    ck_assert_uint_eq(rig.poisons, 0);
    ck_assert_uint_eq(rig_saw(&rig, "journal.unlink_failed"), 1);
    ck_assert_uint_eq(journal()->remake_count, 0);
    ck_assert_uint_eq(journal()->file_count, journal()->files_target);
    rig_fini_faulty();
}
END_TEST

START_TEST(a_failed_write_of_a_new_file_is_poison)
{
    rig_init_faulty(8);
    rig_must_open(&rig);
    struct ks_io_fault_plan plan = {.call = KS_IO_WRITE, .fault = KS_FAULT_EIO, .nth = 1};
    ks_io_fault_plan(fault, &plan);
    while (rig_step(&rig, "journal"))
        continue;
    ck_assert_uint_eq(rig.poisons, 1);
    rig_fini_faulty();
}
END_TEST

KS_SUITE("storage/journal")
{
    KS_TEST(a_batch_of_any_size_finds_room_before_any_step_has_run);
    KS_TEST(two_files_are_enough_for_a_batch_of_any_size);
    KS_TEST(all_files_are_there_before_the_first_is_zeroed);
    KS_TEST(a_file_being_zeroed_is_not_written_to);
    KS_TEST(a_full_disk_at_the_first_start_leaves_what_fits);
    KS_TEST(more_files_than_recovery_can_look_at_are_refused);
    KS_TEST(a_directory_with_too_many_files_is_refused);
    KS_TEST_LOOP(a_file_that_cannot_be_opened_is_made_later, 2);
    KS_TEST_LOOP(a_file_that_cannot_be_unlinked_is_removed_later, 2);
    KS_TEST(a_failed_write_of_a_new_file_is_poison);
}
