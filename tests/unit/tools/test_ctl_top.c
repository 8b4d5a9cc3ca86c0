#include "tests/unit/ks_check.h"
#include "tools/ctl_top.h"

#include <stdio.h>
#include <string.h>

struct sample {
    Kstream__DescribeLoadResponse answer;
    Kstream__LoadStream streams[3];
    Kstream__LoadStream *stream_list[3];
    Kstream__LoadShard shard;
    Kstream__LoadShard *shard_list[1];
    uint64_t sync_counts[3];
    uint64_t sync_bounds[2];
};

/* Three streams, of which the first has put factor times 1000 records. */
static void sample_init(struct sample *sample, uint64_t seconds, uint64_t factor)
{
    static char names[3][8] = {"zebra", "ant", "bee"};
    static char shard_id[] = "shardId-000000000001";
    memset(sample, 0, sizeof *sample);
    kstream__describe_load_response__init(&sample->answer);
    sample->answer.mono_ms = 1000000 + seconds * 1000;
    sample->answer.uptime_ms = 10000 + seconds * 1000;
    for (size_t i = 0; i < 3; i++) {
        kstream__load_stream__init(&sample->streams[i]);
        sample->stream_list[i] = &sample->streams[i];
        sample->streams[i].stream_name = names[i];
        sample->streams[i].open_shards = 1;
    }
    sample->streams[0].incoming_records = factor * 1000;
    sample->streams[0].incoming_bytes = factor * 100000;
    sample->streams[1].outgoing_bytes = factor * 500;
    sample->streams[2].has_behind_ms = true;
    sample->streams[2].behind_ms = 120000;
    sample->answer.streams = sample->stream_list;
    sample->answer.n_streams = 3;
    kstream__load_shard__init(&sample->shard);
    sample->shard.stream_name = names[0];
    sample->shard.shard_id = shard_id;
    sample->shard.records_per_s = 7;
    sample->shard_list[0] = &sample->shard;
    sample->answer.shards = sample->shard_list;
    sample->answer.n_shards = 1;
    sample->sync_bounds[0] = 1000000;
    sample->sync_bounds[1] = 5000000;
    sample->sync_counts[0] = factor * 90;
    sample->sync_counts[1] = factor * 10;
    sample->answer.sync_bounds_ns = sample->sync_bounds;
    sample->answer.n_sync_bounds_ns = 2;
    sample->answer.sync_counts = sample->sync_counts;
    sample->answer.n_sync_counts = 3;
    sample->answer.sync_sum_ns = factor * 100 * 800000;
}

static double first_rate(json_t *picture, const char *name)
{
    json_t *streams = json_object_get(picture, "streams");
    for (size_t i = 0; i < json_array_size(streams); i++) {
        json_t *row = json_array_get(streams, i);
        if (strcmp(json_string_value(json_object_get(row, "stream_name")), "zebra") == 0)
            return json_number_value(json_object_get(row, name));
    }
    return -1;
}

START_TEST(rates_are_what_has_changed)
{
    struct sample before;
    struct sample now;
    sample_init(&before, 0, 1);
    sample_init(&now, 2, 3);
    json_t *picture = ctl_top_picture(&before.answer, &now.answer, CTL_TOP_BY_IN);
    ck_assert_double_eq(first_rate(picture, "in_records_per_s"), 1000);
    ck_assert_double_eq(first_rate(picture, "in_bytes_per_s"), 100000);
    json_t *broker = json_object_get(picture, "broker");
    ck_assert_double_eq(json_number_value(json_object_get(broker, "sync_average_ms")), 0.8);
    ck_assert_double_eq(json_number_value(json_object_get(broker, "sync_p99_ms")), 5);
    ck_assert_double_eq(json_number_value(json_object_get(broker, "seconds")), 2);
    json_decref(picture);
    picture = ctl_top_picture(NULL, &now.answer, CTL_TOP_BY_IN); /* since the start */
    ck_assert_double_eq(first_rate(picture, "in_records_per_s"), 250);
    json_decref(picture);
}
END_TEST

/* Another run of the broker counts from zero. */
START_TEST(a_restart_makes_no_rate_negative)
{
    struct sample before;
    struct sample now;
    sample_init(&before, 100, 50);
    sample_init(&now, 101, 2);
    now.answer.uptime_ms = 4000;
    json_t *picture = ctl_top_picture(&before.answer, &now.answer, CTL_TOP_BY_IN);
    ck_assert_double_eq(first_rate(picture, "in_records_per_s"), 500);
    json_decref(picture);
}
END_TEST

START_TEST(the_order_is_the_one_asked_for)
{
    static const struct {
        enum ctl_top_order order;
        const char *first;
    } cases[] = {{CTL_TOP_BY_IN, "zebra"}, {CTL_TOP_BY_OUT, "ant"}, {CTL_TOP_BY_LAG, "bee"},
        {CTL_TOP_BY_NAME, "ant"}};
    for (size_t i = 0; i < KS_COUNT_OF(cases); i++) {
        struct sample before;
        struct sample now;
        sample_init(&before, 0, 1);
        sample_init(&now, 1, 2);
        json_t *picture = ctl_top_picture(&before.answer, &now.answer, cases[i].order);
        json_t *first = json_array_get(json_object_get(picture, "streams"), 0);
        ck_assert_str_eq(json_string_value(json_object_get(first, "stream_name")), cases[i].first);
        json_decref(picture);
    }
}
END_TEST

START_TEST(no_line_is_longer_than_the_screen_and_no_more_than_fit)
{
    struct sample now;
    sample_init(&now, 1, 2);
    json_t *picture = ctl_top_picture(NULL, &now.answer, CTL_TOP_BY_IN);
    for (unsigned rows = 1; rows < 30; rows++)
        for (unsigned columns = 1; columns < 130; columns += 7) {
            const struct ctl_top_screen screen = {
                .rows = rows, .columns = columns, .title = "here", .notice = "trouble"};
            KS_CLEANUP(ks_buf_fini) struct ks_buf out;
            unsigned lines = 0;
            size_t width = 0;
            ks_buf_init(&out, 1u << 20);
            ck_assert(ctl_top_draw(picture, &screen, &out));
            for (size_t i = 0; i < out.bytes; i++) {
                width = out.data[i] == '\n' ? 0 : width + 1;
                lines += out.data[i] == '\n';
                ck_assert_uint_le(width, columns);
            }
            ck_assert_uint_le(lines, rows);
        }
    json_decref(picture);
}
END_TEST

KS_SUITE("tools/ctl_top")
{
    KS_TEST(rates_are_what_has_changed);
    KS_TEST(a_restart_makes_no_rate_negative);
    KS_TEST(the_order_is_the_one_asked_for);
    KS_TEST(no_line_is_longer_than_the_screen_and_no_more_than_fit);
}
