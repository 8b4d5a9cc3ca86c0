/* The scrubber, on the simulated disk. */
#include "base/alloc.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/storage/retention_rig.h"

static void scrub_a_pass(void)
{
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    uint64_t passes = status.scrub_passes;
    for (int i = 0; i < 2000 && status.scrub_passes == passes; i++) {
        advance(1000);
        world_pump(&world);
        ks_compactor_describe(world.engine, &status);
    }
    ck_assert_uint_eq(status.scrub_passes, passes + 1);
}

START_TEST(the_scrubber_reads_every_sealed_segment_and_finds_them_right)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 120, 1000);
    uint64_t sealed = counter(KS_COUNT_SEGMENTS_SEALED);
    ck_assert_uint_gt(sealed, 2);
    scrub_a_pass();
    scrub_a_pass();
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_ge(status.scrub_segments, sealed);
    ck_assert_uint_gt(status.scrub_bytes, 100 * 1000);
    ck_assert_uint_eq(status.scrub_damaged_segments, 0);
    ck_assert_uint_eq(world.scrub_events, 0);
    ck_assert_uint_gt(status.scrub_last_pass_unix_ms, 0);
    world_fini(&world);
}
END_TEST

/* Header, batches, footer: whatever was flipped, the next pass tells of it, and of the next one. */
START_TEST(the_scrubber_tells_of_every_flipped_bit)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 60, 1000);
    const struct ks_segment *segment = log->segments.items[0];
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(segment->file_id, path);
    scrub_a_pass();
    unsigned told = 0;
    for (uint64_t at = 3; at < segment->file_bytes; at += 1709) {
        bool is_header_rest = at >= 512 && at < KS_SEGMENT_HEADER_BYTES;
        ks_io_sim_flip_bit(world.disk, path, at, (unsigned)(at % 8));
        scrub_a_pass();
        ck_assert_msg(is_header_rest || world.scrub_events == told + 1, "bit at %llu",
            (unsigned long long)at);
        told = world.scrub_events;
        ks_io_sim_flip_bit(world.disk, path, at, (unsigned)(at % 8));
    }
    scrub_a_pass();
    ck_assert_uint_eq(world.scrub_events, told);
    world_fini(&world);
}
END_TEST

/* Asked for, it reads at once, in parts as large as wanted, and finds what the scrubber would. */
START_TEST(a_log_is_verified_at_once)
{
    setup();
    struct ks_log *log = world_log(&world, "orders", 0);
    put_minutely(log, 60, 1000);
    struct ks_verify all = {.bytes_max = UINT64_MAX};
    ck_assert_int_eq(ks_verify_log(log, &all, NULL), KS_OK);
    ck_assert(all.is_done);
    ck_assert_uint_eq(all.segments, counter(KS_COUNT_SEGMENTS_SEALED));
    ck_assert_uint_eq(all.damage_count, 0);
    ck_assert_uint_gt(all.records, 0);
    struct ks_verify part = {.bytes_max = 1};
    uint64_t segments = 0;
    uint64_t records = 0;
    for (; !part.is_done; segments += part.segments) {
        ck_assert_uint_le(part.segments, 1);
        ck_assert_int_eq(ks_verify_log(log, &part, NULL), KS_OK);
    }
    records = part.records;
    ck_assert_uint_eq(segments, all.segments);
    ck_assert_uint_eq(records, all.records);
    const struct ks_segment *segment = log->segments.items[1];
    char path[KS_FILE_PATH_BYTES];
    ks_files_path(segment->file_id, path);
    ks_io_sim_flip_bit(world.disk, path, KS_SEGMENT_HEADER_BYTES + 1500, 3);
    struct ks_verify damaged = {.bytes_max = UINT64_MAX};
    ck_assert_int_eq(ks_verify_log(log, &damaged, NULL), KS_OK);
    ck_assert_uint_eq(damaged.segments, all.segments);
    ck_assert_uint_eq(damaged.damage_count, 1);
    ck_assert_uint_eq(damaged.damages[0].file_id, segment->file_id);
    ck_assert_uint_ge(damaged.damages[0].from_sequence, segment->first_sequence);
    ck_assert_uint_le(damaged.damages[0].from_sequence, segment->last_sequence);
    ck_assert_uint_gt(damaged.damages[0].records, 0);
    struct ks_compactor_status status;
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_eq(status.scrub_damaged_records, damaged.damages[0].records);
    ck_assert_uint_eq(world.scrub_events, 1);
    world_fini(&world);
}
END_TEST

START_TEST(the_scrubber_lets_go_of_a_retired_segment)
{
    world_init(&world);
    world.limits.scrub_bytes_per_s = 65536; /* a slice every sixteen seconds */
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 1), KS_OK);
    struct ks_log *log = world_log(&world, "orders", 0);
    for (int i = 0; i < 1500; i++)
        put(log, 1000);
    world_flush(&world);
    struct ks_compactor_status status;
    do { /* the first slice ends in the middle of a segment */
        advance(1000);
        world_pump(&world);
        ks_compactor_describe(world.engine, &status);
    } while (status.scrub_bytes == 0);
    world.clock.unix_ms += DAY_MS;
    world_pump(&world);
    ck_assert_uint_eq(log->segments.count, 0);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_HELD), 1);
    advance(17000);
    world_pump(&world);
    ck_assert_uint_eq(counter(KS_COUNT_SEGMENTS_HELD), 0);
    ck_assert_uint_eq(world.scrub_events, 0);
    world_fini(&world);
}
END_TEST

/* Of the scrubber's own: the heap, and the kernel's for a read. */
START_TEST(no_memory_is_not_damage)
{
    setup();
    put_minutely(world_log(&world, "orders", 0), 40, 1000);
    struct ks_step *step = ks_retention_step(world.engine->retention);
    struct ks_compactor_status status;
    scrub_a_pass();
    ks_compactor_describe(world.engine, &status);
    uint64_t sealed = status.scrub_segments;
    bool is_met = true;
    for (uint64_t nth = 1; is_met; nth++) {
        uint64_t passes = status.scrub_passes;
        is_met = false;
        for (int i = 0; i < 2000 && status.scrub_passes == passes; i++) {
            advance(1000);
            if (!is_met)
                ks_alloc_fail_nth(nth, false);
            if (step->begin(step->self)) {
                step->run(step->self);
                step->end(step->self);
            }
            is_met = is_met || ks_alloc_count() >= nth;
            ks_alloc_fail_nth(0, false);
            world_pump(&world);
            ks_compactor_describe(world.engine, &status);
        }
        ck_assert_uint_eq(status.scrub_passes, passes + 1);
        ck_assert_uint_eq(world.scrub_events, 0);
        ck_assert_uint_eq(status.scrub_damaged_segments, 0);
    }
    scrub_a_pass();
    ks_compactor_describe(world.engine, &status);
    ck_assert_uint_gt(status.scrub_segments, sealed);
    world_fini(&world);
}
END_TEST

KS_SUITE("storage/scrub")
{
    KS_TEST(the_scrubber_reads_every_sealed_segment_and_finds_them_right);
    KS_TEST(the_scrubber_tells_of_every_flipped_bit);
    KS_TEST(a_log_is_verified_at_once);
    KS_TEST(the_scrubber_lets_go_of_a_retired_segment);
    KS_TEST(no_memory_is_not_damage);
}
