#include "base/clock.h"
#include "daemon/history_format.h"
#include "daemon/minutes.h"
#include "tests/unit/ks_check.h"

#define MINUTE 29000000u

static struct ks_fake_clock fake;
static struct ks_minutes *minutes;
static uint64_t gone_below; /* streams with smaller numbers are deleted */

static bool is_gone(void *arg, uint64_t number)
{
    (void)arg;
    return number < gone_below;
}

static void set_up(unsigned loop_count, uint32_t slots_max)
{
    const struct ks_minutes_options options = {
        .clock = &fake.clock, .is_gone = is_gone, .loop_count = loop_count, .slots_max = slots_max};
    ks_fake_clock_init(&fake, 0);
    gone_below = 0;
    ck_assert_int_eq(ks_minutes_create(&options, &minutes, NULL), KS_OK);
    ks_minutes_set(minutes, MINUTE);
}

static bool add(unsigned loop, uint64_t stream, uint32_t shard, uint64_t value)
{
    struct ks_minute_half *half = ks_minutes_half(&minutes->loops[loop], stream, shard);
    if (half)
        ks_minutes_add(half, KS_FIGURE_INCOMING_RECORDS, value);
    return half != NULL;
}

struct sought {
    uint64_t stream;
    uint32_t shard;
    struct ks_figure_value found;
    unsigned rows;
};

static void take(void *arg, const struct ks_minute_row *row)
{
    struct sought *sought = arg;
    sought->rows++;
    if (row->stream_number == sought->stream && row->shard_index == sought->shard)
        sought->found = row->values[KS_FIGURE_INCOMING_RECORDS];
}

static struct sought look(uint64_t minute, uint64_t stream, uint32_t shard)
{
    struct sought sought = {.stream = stream, .shard = shard};
    ks_minutes_collect(minutes, minute, take, &sought);
    return sought;
}

START_TEST(figures_of_all_loops_are_put_together)
{
    set_up(2, 4);
    ck_assert(add(0, 7, KS_MINUTES_WHOLE_STREAM, 5));
    ck_assert(add(0, 7, KS_MINUTES_WHOLE_STREAM, 3));
    ck_assert(add(1, 7, KS_MINUTES_WHOLE_STREAM, 20));
    ck_assert(add(1, 7, 0, 1));
    struct sought sought = look(MINUTE, 7, KS_MINUTES_WHOLE_STREAM);
    ck_assert_uint_eq(sought.rows, 2);
    ck_assert_uint_eq(sought.found.count, 3);
    ck_assert_uint_eq(sought.found.sum, 28);
    ck_assert_uint_eq(sought.found.least, 3);
    ck_assert_uint_eq(sought.found.greatest, 20);
    ck_assert_uint_eq(look(MINUTE, 7, 0).found.sum, 1);
    ks_minutes_destroy(minutes);
}
END_TEST

/* The last minute can be read while this one is counted; the one before that is gone. */
START_TEST(a_minute_does_not_touch_the_one_before)
{
    set_up(1, 4);
    add(0, 7, KS_MINUTES_WHOLE_STREAM, 1);
    ks_minutes_set(minutes, MINUTE + 1);
    add(0, 7, KS_MINUTES_WHOLE_STREAM, 2);
    ck_assert_uint_eq(look(MINUTE, 7, KS_MINUTES_WHOLE_STREAM).found.sum, 1);
    ck_assert_uint_eq(look(MINUTE + 1, 7, KS_MINUTES_WHOLE_STREAM).found.sum, 2);
    ks_minutes_set(minutes, MINUTE); /* a step back of one is not followed */
    add(0, 7, KS_MINUTES_WHOLE_STREAM, 4);
    ck_assert_uint_eq(look(MINUTE + 1, 7, KS_MINUTES_WHOLE_STREAM).found.sum, 6);
    ks_minutes_set(minutes, MINUTE + 2);
    add(0, 7, KS_MINUTES_WHOLE_STREAM, 8);
    ck_assert_uint_eq(look(MINUTE, 7, KS_MINUTES_WHOLE_STREAM).rows, 0);
    ck_assert_uint_eq(look(MINUTE + 2, 7, KS_MINUTES_WHOLE_STREAM).found.sum, 8);
    ks_minutes_destroy(minutes);
}
END_TEST

START_TEST(there_is_an_end_and_slots_come_back)
{
    set_up(1, 2);
    ck_assert(add(0, 1, KS_MINUTES_WHOLE_STREAM, 1));
    ck_assert(add(0, 2, KS_MINUTES_WHOLE_STREAM, 1));
    ck_assert(!add(0, 3, KS_MINUTES_WHOLE_STREAM, 1));
    ck_assert(!add(0, UINT64_MAX, KS_MINUTES_WHOLE_STREAM, 1)); /* no key is that large */
    ck_assert(!add(0, 1, 1u << 24, 1));
    gone_below = 2;
    fake.mono_ns += 11000000000ull;
    ck_assert(!add(0, 3, KS_MINUTES_WHOLE_STREAM, 1)); /* found to be gone, still kept */
    fake.mono_ns += 121000000000ull;
    ks_minutes_set(minutes, MINUTE + 3);
    ck_assert(add(0, 3, KS_MINUTES_WHOLE_STREAM, 9));
    ck_assert_uint_eq(look(MINUTE + 3, 3, KS_MINUTES_WHOLE_STREAM).found.sum, 9);
    ck_assert_uint_eq(look(MINUTE + 3, 1, KS_MINUTES_WHOLE_STREAM).found.count, 0);
    ks_minutes_destroy(minutes);
}
END_TEST

/* ---- the bytes of the history ---- */

static void block_make(struct ks_buf *buf)
{
    struct ks_minute_row row = {.minute = MINUTE, .stream_number = 300, .shard_index = 2};
    row.values[0] =
        (struct ks_figure_value){.count = 2, .sum = 1000, .least = 400, .greatest = 600};
    row.values[KS_FIGURE_COUNT - 1] =
        (struct ks_figure_value){.count = 1, .sum = UINT64_MAX, .least = 0, .greatest = UINT64_MAX};
    ks_buf_init(buf, 1u << 20);
    ck_assert(ks_history_block_begin(buf));
    ck_assert(ks_history_block_add(buf, &row));
    row.shard_index = KS_MINUTES_WHOLE_STREAM;
    ck_assert(ks_history_block_add(buf, &row));
    ks_history_block_end(buf, MINUTE, 17);
}

START_TEST(a_block_comes_back_as_it_was)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf buf;
    struct ks_history_block block;
    struct ks_minute_row row;
    block_make(&buf);
    ck_assert(ks_history_block_read(ks_view_of(buf.data, buf.bytes), &block));
    ck_assert_uint_eq(block.minute, MINUTE);
    ck_assert_uint_eq(block.run_id, 17);
    ck_assert_uint_eq(block.bytes, buf.bytes);
    struct ks_cursor cursor = ks_cursor_over(block.payload.data, block.payload.bytes);
    ck_assert(ks_history_row_read(&cursor, &row));
    ck_assert_uint_eq(row.stream_number, 300);
    ck_assert_uint_eq(row.shard_index, 2);
    ck_assert_uint_eq(row.values[0].sum, 1000);
    ck_assert_uint_eq(row.values[0].least, 400);
    ck_assert_uint_eq(row.values[1].count, 0);
    ck_assert_uint_eq(row.values[KS_FIGURE_COUNT - 1].greatest, UINT64_MAX);
    ck_assert(ks_history_row_read(&cursor, &row));
    ck_assert_uint_eq(row.shard_index, KS_MINUTES_WHOLE_STREAM);
    ck_assert(!ks_history_row_read(&cursor, &row));
}
END_TEST

START_TEST(any_wrong_byte_and_any_cut_is_noticed)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf buf;
    struct ks_history_block block;
    block_make(&buf);
    for (size_t i = 0; i < buf.bytes; i++) {
        buf.data[i] ^= 0x40;
        ck_assert(!ks_history_block_read(ks_view_of(buf.data, buf.bytes), &block));
        buf.data[i] ^= 0x40;
        ck_assert(!ks_history_block_read(ks_view_of(buf.data, i), &block));
    }
    ck_assert(ks_history_block_read(ks_view_of(buf.data, buf.bytes), &block));
}
END_TEST

KS_SUITE("daemon/minutes")
{
    KS_TEST(figures_of_all_loops_are_put_together);
    KS_TEST(a_minute_does_not_touch_the_one_before);
    KS_TEST(there_is_an_end_and_slots_come_back);
    KS_TEST(a_block_comes_back_as_it_was);
    KS_TEST(any_wrong_byte_and_any_cut_is_noticed);
}
