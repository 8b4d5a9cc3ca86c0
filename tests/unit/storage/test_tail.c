#include "base/alloc.h"
#include "base/prng.h"
#include "storage/tail.h"
#include "tests/unit/ks_check.h"

static struct ks_tail_budget budget;
static struct ks_tail tail;

static void setup_tail(uint64_t bytes_max, uint32_t chunk_bytes)
{
    ks_tail_budget_init(&budget, bytes_max);
    ks_tail_init(&tail, &budget, chunk_bytes);
}

/* A damaged batch: no records, so padding makes any size. */
static struct ks_batch_header header_of(uint64_t first, uint32_t count, uint32_t padding)
{
    return (struct ks_batch_header){.log_id = 7,
        .first_sequence = first,
        .arrival_unix_ms = 1000 + first,
        .record_count = count,
        .kind = KS_BATCH_DAMAGED,
        .padding_bytes = padding};
}

static uint32_t put(uint64_t first, uint32_t count, uint32_t padding)
{
    struct ks_batch_header h = header_of(first, count, padding);
    uint32_t bytes = (uint32_t)ks_batch_stored_bytes(&h);
    ck_assert_int_eq(ks_tail_reserve(&tail, bytes, false), KS_OK);
    struct ks_tail_chunk *chunk;
    uint32_t offset;
    uint8_t *to = ks_tail_append(&tail, bytes, first, ks_batch_last_sequence(&h), &chunk, &offset);
    ck_assert_ptr_eq(to, chunk->data + offset);
    size_t prefix = ks_batch_encode_prefix(&h, to);
    ck_assert_uint_eq(prefix + ks_batch_encode_padding(&h, to + prefix), bytes);
    ks_tail_chunk_unref(chunk);
    return bytes;
}

static void release(struct ks_tail_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ks_tail_chunk_unref(extents[i].chunk);
}

START_TEST(tail_charges_its_budget_and_gives_it_back)
{
    setup_tail(3000, 65536);
    put(1, 10, 0);
    ck_assert_uint_gt(budget.used_bytes, 512);
    ck_assert_uint_lt(budget.used_bytes, 800); /* one record in each of many logs stays cheap */
    ck_assert_int_eq(ks_tail_reserve(&tail, 5000, false), KS_THROTTLED);
    ck_assert_int_eq(ks_tail_reserve(&tail, 5000, true), KS_OK);
    ck_assert_uint_gt(budget.used_bytes, 5000);
    ks_tail_fini(&tail);
    ck_assert_uint_eq(budget.used_bytes, 0);
}
END_TEST

START_TEST(tail_reserve_reports_a_failed_allocation_and_charges_nothing)
{
    setup_tail(1 << 20, 65536);
    ks_alloc_fail_nth(1, false);
    ck_assert_int_eq(ks_tail_reserve(&tail, 100, false), KS_NO_MEMORY);
    ck_assert_uint_eq(budget.used_bytes, 0);
    ks_tail_fini(&tail);
}
END_TEST

START_TEST(tail_keeps_a_referenced_chunk_alive_after_trim)
{
    setup_tail(1 << 20, 65536);
    put(1, 5, 0);
    struct ks_tail_extent extent;
    ck_assert_uint_eq(ks_tail_collect(&tail, 0, 5, 1 << 20, &extent, 1), 1);
    ks_tail_trim(&tail, 5);
    ck_assert_uint_eq(ks_tail_first_sequence(&tail), 0);
    ck_assert_uint_eq(tail.bytes, 0);
    struct ks_batch_view batch;
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(extent.chunk->data + extent.offset, extent.bytes), &batch),
        KS_OK);
    ck_assert_uint_gt(budget.used_bytes, 0);
    release(&extent, 1);
    ck_assert_uint_eq(budget.used_bytes, 0);
    ks_tail_fini(&tail);
}
END_TEST

/* Every pair of bounds gives exactly the batches between them, whole, whatever marks and chunks lie
 * between. */
START_TEST(tail_collects_exactly_the_batches_between_two_sequences)
{
    setup_tail(16 << 20, 16384);
    enum { BATCHES = 60 };
    uint64_t first[BATCHES + 1];
    uint64_t next = 1;
    for (int i = 0; i < BATCHES; i++) {
        first[i] = next;
        put(next, 1 + (uint32_t)i % 4, i % 7 == 0 ? 3000 : 200);
        next += 1 + (uint64_t)i % 4;
    }
    first[BATCHES] = next;
    for (int from = 0; from < BATCHES; from++) {
        for (int to = from; to < BATCHES; to++) {
            struct ks_tail_extent extents[64];
            uint32_t count =
                ks_tail_collect(&tail, first[from] - 1, first[to + 1] - 1, UINT64_MAX, extents, 64);
            uint32_t batches = 0;
            uint64_t expected = first[from];
            for (uint32_t e = 0; e < count; e++) {
                ck_assert_uint_eq(extents[e].first_sequence, expected);
                expected = extents[e].last_sequence + 1;
                batches += extents[e].batch_count;
            }
            ck_assert_uint_eq(expected, first[to + 1]);
            ck_assert_uint_eq(batches, (uint32_t)(to - from + 1));
            release(extents, count);
        }
    }
    ks_tail_fini(&tail);
}
END_TEST

START_TEST(tail_collect_stops_at_a_batch_boundary_within_bytes_max)
{
    setup_tail(1 << 20, 65536);
    uint32_t bytes = put(1, 1, 100);
    put(2, 1, 100);
    put(3, 1, 100);
    struct ks_tail_extent extent;
    ck_assert_uint_eq(ks_tail_collect(&tail, 0, 3, bytes - 1, &extent, 1), 0);
    ck_assert_uint_eq(ks_tail_collect(&tail, 0, 3, 2 * bytes + 5, &extent, 1), 1);
    ck_assert_uint_eq(extent.bytes, 2 * bytes);
    ck_assert_uint_eq(extent.last_sequence, 2);
    release(&extent, 1);
    /* What is above last_sequence is not durable: it stays out. */
    ck_assert_uint_eq(ks_tail_collect(&tail, 0, 1, UINT64_MAX, &extent, 1), 1);
    ck_assert_uint_eq(extent.last_sequence, 1);
    release(&extent, 1);
    ks_tail_fini(&tail);
}
END_TEST

START_TEST(tail_collect_from_inside_a_batch_gives_that_batch)
{
    setup_tail(1 << 20, 65536);
    put(1, 10, 0);
    put(11, 10, 0);
    struct ks_tail_extent extent;
    ck_assert_uint_eq(ks_tail_collect(&tail, 14, 20, UINT64_MAX, &extent, 1), 1);
    ck_assert_uint_eq(extent.first_sequence, 11);
    release(&extent, 1);
    ks_tail_fini(&tail);
}
END_TEST

START_TEST(tail_bytes_count_what_is_not_flushed)
{
    setup_tail(1 << 20, 65536);
    uint32_t bytes = put(1, 2, 50);
    put(3, 2, 50);
    put(5, 2, 50);
    ck_assert_uint_eq(tail.bytes, 3 * bytes);
    ks_tail_trim(&tail, 2);
    ck_assert_uint_eq(tail.bytes, 2 * bytes);
    ck_assert_uint_eq(ks_tail_first_sequence(&tail), 1); /* chunks go whole */
    ks_tail_trim(&tail, 4);
    ck_assert_uint_eq(tail.bytes, bytes);
    ks_tail_trim(&tail, 6);
    ck_assert_uint_eq(tail.bytes, 0);
    ck_assert_uint_eq(budget.used_bytes, 0);
    ks_tail_fini(&tail);
}
END_TEST

/* A batch of one record whose bytes nobody looks at, or of one lost record. */
static void put_at(uint64_t sequence, uint64_t arrival_unix_ms, bool is_lost)
{
    struct ks_batch_header h = {.log_id = 7,
        .first_sequence = sequence,
        .arrival_unix_ms = arrival_unix_ms,
        .record_count = 1,
        .records_bytes = is_lost ? 0 : 60,
        .kind = is_lost ? KS_BATCH_DAMAGED : KS_BATCH_DATA};
    uint32_t bytes = (uint32_t)ks_batch_stored_bytes(&h);
    ck_assert_int_eq(ks_tail_reserve(&tail, bytes, false), KS_OK);
    struct ks_tail_chunk *chunk;
    uint32_t offset;
    uint8_t *to = ks_tail_append(&tail, bytes, sequence, sequence, &chunk, &offset);
    size_t prefix = ks_batch_encode_prefix(&h, to);
    memset(to + prefix, 0, bytes - prefix);
    ks_tail_chunk_unref(chunk);
}

/* Against a walk over all of them, lost records included. */
START_TEST(tail_finds_the_first_batch_of_a_time)
{
    enum { COUNT = 900 };
    static uint64_t arrivals[COUNT];
    static bool is_lost[COUNT];
    setup_tail(1 << 20, 16384);
    struct ks_prng prng;
    ks_prng_seed(&prng, (uint64_t)_i + 1);
    uint64_t arrival = 1000;
    for (uint64_t i = 0; i < COUNT; i++) {
        is_lost[i] = ks_prng_chance(&prng, 1, 5);
        if (!is_lost[i] && ks_prng_chance(&prng, 1, 3))
            arrival += ks_prng_below(&prng, 4);
        arrivals[i] = arrival;
        put_at(i + 1, arrival, is_lost[i]);
    }
    for (uint64_t unix_ms = 998; unix_ms < arrival + 3; unix_ms++) {
        for (int with_damage = 0; with_damage < 2; with_damage++) {
            uint64_t last = 1 + ks_prng_below(&prng, COUNT);
            uint64_t expected = 0;
            for (uint64_t i = 0; i < last; i++) {
                bool is_early = arrivals[i] < unix_ms;
                if (is_early && (!is_lost[i] || !with_damage))
                    expected = 0;
                else if (expected == 0)
                    expected = i + 1;
                if (!is_early)
                    break;
            }
            const struct ks_tail_query query = {
                .unix_ms = unix_ms, .last_sequence = last, .with_damage = with_damage};
            struct ks_tail_arrival found = {.first_sequence = 0};
            bool is_found = ks_tail_find_arrival(&tail, &query, &found);
            ck_assert_uint_eq(is_found ? found.first_sequence : 0, expected);
            ck_assert(!is_found || found.arrival_unix_ms == arrivals[expected - 1]);
        }
    }
    ks_tail_fini(&tail);
}
END_TEST

KS_SUITE("storage/tail")
{
    KS_TEST(tail_charges_its_budget_and_gives_it_back);
    KS_TEST(tail_reserve_reports_a_failed_allocation_and_charges_nothing);
    KS_TEST(tail_keeps_a_referenced_chunk_alive_after_trim);
    KS_TEST(tail_collects_exactly_the_batches_between_two_sequences);
    KS_TEST(tail_collect_stops_at_a_batch_boundary_within_bytes_max);
    KS_TEST(tail_collect_from_inside_a_batch_gives_that_batch);
    KS_TEST(tail_bytes_count_what_is_not_flushed);
    KS_TEST_LOOP(tail_finds_the_first_batch_of_a_time, 3);
}
