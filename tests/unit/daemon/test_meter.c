#include "base/clock.h"
#include "daemon/meter.h"
#include "storage/log.h"
#include "tests/unit/ks_check.h"

#include <pthread.h>

static struct ks_fake_clock fake;
static struct ks_meter *meter;
static uint64_t gone_asked; /* how often */
static uint64_t gone_below; /* streams with smaller numbers are deleted */

static bool is_gone(void *arg, uint64_t number)
{
    (void)arg;
    gone_asked++;
    return number < gone_below;
}

static void set_up(unsigned loop_count, uint32_t streams_max)
{
    const struct ks_meter_options options = {.clock = &fake.clock,
        .is_gone = is_gone,
        .loop_count = loop_count,
        .streams_max = streams_max};
    ks_fake_clock_init(&fake, 0);
    gone_below = 0;
    ck_assert_int_eq(ks_meter_create(&options, &meter, NULL), KS_OK);
}

static void put(unsigned loop, uint64_t stream, uint64_t records)
{
    struct ks_stream_cell *cell = ks_meter_cell(&meter->loops[loop], stream);
    ks_meter_add(&cell->values[KS_STREAM_IN_RECORDS], records);
}

/* UINT64_MAX: it has no cell of its own. number 0: those that share. */
static uint64_t records_of(uint64_t number)
{
    struct ks_stream_sums sums[64];
    ck_assert_uint_lt(meter->options.streams_max, KS_COUNT_OF(sums));
    uint32_t count = ks_meter_streams(meter, sums);
    for (uint32_t i = 0; i < count; i++)
        if (sums[i].number == number)
            return sums[i].values[KS_STREAM_IN_RECORDS];
    return UINT64_MAX;
}

START_TEST(sums_are_those_of_all_loops)
{
    set_up(3, 4);
    put(0, 7, 1);
    put(2, 7, 10);
    put(1, 8, 100);
    ck_assert_uint_eq(records_of(7), 11);
    ck_assert_uint_eq(records_of(8), 100);
    ck_assert_uint_eq(records_of(0), 0);
    ck_assert_uint_eq(records_of(9), UINT64_MAX);
    ks_meter_destroy(meter);
}
END_TEST

START_TEST(streams_beyond_the_limit_share)
{
    set_up(2, 2);
    for (uint64_t stream = 1; stream <= 5; stream++)
        put((unsigned)stream % 2, stream, stream);
    ck_assert_uint_eq(records_of(1), 1);
    ck_assert_uint_eq(records_of(2), 2);
    ck_assert_uint_eq(records_of(0), 3 + 4 + 5);
    /* On every loop alike. */
    put(0, 5, 1);
    put(1, 5, 1);
    ck_assert_uint_eq(records_of(0), 3 + 4 + 5 + 2);
    ck_assert_uint_eq(records_of(5), UINT64_MAX);
    ks_meter_destroy(meter);
}
END_TEST

START_TEST(cell_of_a_deleted_stream_begins_at_zero_for_another)
{
    set_up(2, 2);
    put(0, 1, 5);
    put(1, 1, 5);
    put(0, 2, 7);
    gone_below = 2;
    ck_assert_uint_eq(records_of(1), UINT64_MAX);
    /* Not at once: a request for it may still be under way. */
    put(0, 3, 1);
    ck_assert_uint_eq(records_of(3), UINT64_MAX);
    ck_assert_uint_eq(records_of(0), 1);
    ks_fake_clock_advance_ms(&fake, 60001);
    put(1, 4, 1);
    ck_assert_uint_eq(records_of(4), 1);
    ck_assert_uint_eq(records_of(2), 7);
    ks_meter_destroy(meter);
}
END_TEST

/* Nobody asks for the figures, and streams come and go all day. */
START_TEST(cells_are_found_again_without_a_reader)
{
    set_up(1, 2);
    for (uint64_t stream = 1; stream <= 20000; stream++) {
        gone_below = stream > 1 ? stream - 1 : 0;
        put(0, stream, 1);
        ks_fake_clock_advance_ms(&fake, 20000);
    }
    ck_assert_uint_le(meter->loops[0].known.count, 2 + 1024);
    ck_assert_uint_le(meter->slots.count, 2);
    /* Three in a minute use two cells: two of three were counted as others. */
    uint64_t others = records_of(0);
    ck_assert_uint_gt(others, 0);
    ck_assert_uint_lt(others, 20000);
    ks_meter_destroy(meter);
}
END_TEST

/* Whoever brings a new stream to a full meter is a loop: it looks at few of the others. */
START_TEST(a_full_meter_is_swept_a_little_at_a_time)
{
    enum { STREAMS = 1000 };
    set_up(1, STREAMS);
    for (uint64_t stream = 1; stream <= STREAMS; stream++)
        put(0, stream, 1);
    ks_fake_clock_advance_ms(&fake, 20000);
    gone_below = STREAMS; /* all but the last */
    uint64_t turns = 0;
    for (; meter->slots.count > 1; turns++) {
        gone_asked = 0;
        put(0, STREAMS + 1 + turns, 1);
        ck_assert_uint_gt(gone_asked, 0);
        ck_assert_uint_le(gone_asked, KS_METER_SLOTS_A_TURN);
    }
    ck_assert_uint_le(turns, STREAMS / KS_METER_SLOTS_A_TURN + 1);
    /* The round is over: the next one has time. */
    gone_asked = 0;
    put(0, 2 * STREAMS, 1);
    ck_assert_uint_eq(gone_asked, 0);
    ks_fake_clock_advance_ms(&fake, 61000);
    put(0, 3 * STREAMS, 1);
    ck_assert_uint_eq(meter->slots.count, 2);
    ks_meter_destroy(meter);
}
END_TEST

static void *count_on(void *arg)
{
    struct ks_loop_meter *loop = arg;
    for (uint64_t i = 0; i < 50000; i++)
        ks_meter_add(&ks_meter_cell(loop, 1 + i % 40)->values[KS_STREAM_IN_RECORDS], 1);
    return NULL;
}

START_TEST(loops_count_while_somebody_sums_up)
{
    pthread_t threads[3];
    set_up(KS_COUNT_OF(threads), 32);
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_on, &meter->loops[i]), 0);
    uint64_t last = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t now = records_of(1);
        ck_assert(now == UINT64_MAX || now >= last);
        last = now == UINT64_MAX ? 0 : now;
    }
    for (size_t i = 0; i < KS_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    struct ks_stream_sums sums[33];
    uint64_t all = 0;
    uint32_t count = ks_meter_streams(meter, sums);
    for (uint32_t i = 0; i < count; i++)
        all += sums[i].values[KS_STREAM_IN_RECORDS];
    ck_assert_uint_eq(count, 33);
    ck_assert_uint_eq(all, 150000);
    ks_meter_destroy(meter);
}
END_TEST

KS_SUITE("daemon/meter")
{
    KS_TEST(sums_are_those_of_all_loops);
    KS_TEST(streams_beyond_the_limit_share);
    KS_TEST(cell_of_a_deleted_stream_begins_at_zero_for_another);
    KS_TEST(cells_are_found_again_without_a_reader);
    KS_TEST(a_full_meter_is_swept_a_little_at_a_time);
    KS_TEST(loops_count_while_somebody_sums_up);
}
