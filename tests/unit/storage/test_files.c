/* Segment files: how they come and go. */
#include "storage/io_fault.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/engine_rig.h"

static struct rig rig;

/* One of many files of a deleted stream cannot be unlinked: the others go. */
START_TEST(a_file_that_cannot_be_unlinked_keeps_no_other)
{
    rig_init(&rig, 31);
    struct ks_io_fault *fault = NULL;
    ck_assert_int_eq(ks_io_fault_create(ks_io_sim_io(rig.disk), &fault, NULL), KS_OK);
    rig.options.io = ks_io_fault_io(fault);
    rig.options.limits.segment_bytes = 32768;
    rig_must_open(&rig);
    rig_create_stream(&rig, "orders");
    for (int i = 0; i < 100; i++) {
        rig_put(&rig, "orders", 3, 1000);
        ks_fake_clock_advance_ms(&rig.clock, 3000);
        rig_run(&rig);
    }
    ck_assert_uint_gt(rig_log(&rig, "orders")->segments.count, 6);
    struct ks_io_fault_plan plan = {.call = KS_IO_UNLINK, .fault = KS_FAULT_EIO, .nth = 2};
    ks_io_fault_plan(fault, &plan);
    uint64_t unlinks = ks_io_fault_calls(fault, KS_IO_UNLINK);
    rig_delete_stream(&rig, "orders");
    rig_run(&rig);
    ck_assert_uint_gt(ks_io_fault_calls(fault, KS_IO_UNLINK), unlinks + 3);
    ck_assert_uint_eq(rig_saw(&rig, "files.unlink_failed"), 1);
    ck_assert_uint_eq(rig.poisons, 0);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    rig_must_open(&rig); /* the one that is left is used again */
    ck_assert_uint_eq(rig.engine->recovery.files_quarantined, 0);
    ck_assert_int_eq(rig_stop(&rig), KS_OK);
    ks_io_fault_destroy(fault);
    rig_fini(&rig);
}
END_TEST

KS_SUITE("storage/files")
{
    KS_TEST(a_file_that_cannot_be_unlinked_keeps_no_other);
}
