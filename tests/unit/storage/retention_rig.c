#include "tests/unit/storage/retention_rig.h"

#include "tests/unit/ks_check.h"

struct world world;

void setup(void)
{
    world_init(&world);
    world.limits.segment_bytes = 32768;
    world_open(&world);
    ck_assert_int_eq(world_create(&world, "orders", 2), KS_OK);
}

void advance(uint64_t ms)
{
    ks_fake_clock_advance_ms(&world.clock, ms);
}

void put(struct ks_log *log, uint32_t bytes)
{
    ck_assert_int_eq(world_append(&world, log, 1, bytes), KS_OK);
    world_pump(&world);
}

void compact(void)
{
    for (int i = 0; i < 40; i++) {
        advance(100);
        world_pump(&world);
    }
}

uint64_t first_read(struct ks_log *log)
{
    struct ks_read read;
    struct ks_read_request request = {
        .from_sequence = 1, .bytes_max = 1, .records_max = 1, .may_block = true};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = ks_log_read(log, &request, &read, &error);
    ck_assert_msg(st == KS_OK, "%s", error.text);
    uint64_t first = read.take > 0 ? read.next_sequence - read.take : 0;
    ks_read_release(&read);
    return first;
}

uint64_t first_bound(struct ks_log *log)
{
    struct ks_log_bounds bounds;
    ks_log_bounds(log, &bounds);
    return bounds.first_sequence;
}

uint64_t time_of_zero(struct ks_log *log)
{
    uint64_t found = 0;
    ck_assert_int_eq(ks_log_find_time(log, 0, true, &found, NULL), KS_OK);
    return found;
}

void put_minutely(struct ks_log *log, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        put(log, bytes);
        advance(MINUTE_MS);
    }
    world_flush(&world);
}

uint64_t counter(enum ks_counter which)
{
    return atomic_load(&world.engine->counters[which]);
}

void fail_next_commit(void)
{
    ks_kv_model_fail_commit_after(world.catalog_model, 1, KS_STORAGE_FULL, false);
}
