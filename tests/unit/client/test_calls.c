/* The blocking calls: what is repeated after a lost connection and what is not, and errors per
 * record. */
#include "client/histogram.h"
#include "client/kstream_admin.h"
#include "tests/unit/client/fake_broker.h"
#include "tests/unit/ks_check.h"

#include <stdlib.h>

struct scene {
    struct fake_broker *broker;
    struct kstream_client *client;
};

static struct scene scene_open(const char *timeout_ms)
{
    struct scene scene = {.broker = fake_broker_start(1)};
    scene.client = fake_broker_connect(scene.broker, timeout_ms);
    return scene;
}

static void scene_close(struct scene *scene)
{
    kstream_close(scene->client);
    fake_broker_stop(scene->broker);
}

static const enum fake_fault losses[] = {FAKE_CLOSE_BEFORE, FAKE_CLOSE_AFTER, FAKE_HALF_ANSWER};

START_TEST(a_harmless_call_is_sent_again_after_a_lost_connection)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_server_info info = KSTREAM_SERVER_INFO_INIT;
    fake_broker_plan(scene.broker, KS_OP_PING, 1, losses[_i]);
    ck_assert_int_eq(kstream_ping(scene.client, 10000, &info, &err), KSTREAM_OK);
    ck_assert_str_eq(info.version, "0.0.0-fake");
    /* Twice in a row is an answer. */
    fake_broker_plan(scene.broker, KS_OP_PING, 1, losses[_i]);
    fake_broker_plan(scene.broker, KS_OP_PING, 2, losses[_i]);
    ck_assert_int_eq(kstream_ping(scene.client, 10000, &info, &err), KSTREAM_UNAVAILABLE);
    ck_assert_int_eq(err.retryable, 1);
    ck_assert_uint_gt(err.request_id, 0);
    /* And the next call connects again. */
    ck_assert_int_eq(kstream_ping(scene.client, 10000, &info, &err), KSTREAM_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(a_change_of_shards_is_never_sent_twice)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    fake_broker_plan(scene.broker, KS_OP_SPLIT_SHARD, 1, losses[_i]);
    ck_assert_int_eq(
        kstream_split_shard(scene.client, "clicks", "shardId-0", "5", NULL, NULL, &err),
        KSTREAM_UNAVAILABLE);
    ck_assert_uint_eq(fake_broker_requests(scene.broker, KS_OP_SPLIT_SHARD), 1);
    scene_close(&scene);
}
END_TEST

START_TEST(a_single_put_is_never_sent_twice)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_result result;
    fake_broker_plan(scene.broker, KS_OP_PUT_RECORD, 1, losses[_i]);
    ck_assert_int_eq(
        kstream_put_record(scene.client, "clicks", "k", 1, "one", 3, NULL, &result, &err),
        KSTREAM_UNAVAILABLE);
    ck_assert_uint_gt(err.request_id, 0); /* sent: it may be stored */
    ck_assert_uint_eq(fake_broker_requests(scene.broker, KS_OP_PUT_RECORD), 1);
    ck_assert_uint_eq(fake_broker_count(scene.broker, 0), losses[_i] == FAKE_CLOSE_BEFORE ? 0 : 1);
    ck_assert_int_eq(
        kstream_put_record(scene.client, "clicks", "k", 1, "two", 3, NULL, &result, &err),
        KSTREAM_OK);
    ck_assert_uint_eq(result.ordinal, fake_broker_count(scene.broker, 0));
    ck_assert_uint_eq(strlen(result.sequence_number), 56);
    ck_assert_str_eq(result.shard_id, "shardId-000000000000");
    scene_close(&scene);
}
END_TEST

START_TEST(a_connection_that_died_while_idle_costs_a_put_nothing)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_result result;
    fake_broker_away(scene.broker, true);
    /* Until the end of the connection has come through: then nothing else tells of it. */
    while (kstream_ping(scene.client, 10000, NULL, &err) == KSTREAM_OK)
        ;
    fake_broker_away(scene.broker, false);
    ck_assert_int_eq(
        kstream_put_record(scene.client, "clicks", "k", 1, "one", 3, NULL, &result, &err),
        KSTREAM_OK);
    ck_assert_uint_eq(fake_broker_count(scene.broker, 0), 1);
    scene_close(&scene);
}
END_TEST

START_TEST(a_call_ends_with_its_time_and_the_next_one_is_not_confused)
{
    struct scene scene = scene_open("50");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_result result;
    struct kstream_put_options options = KSTREAM_PUT_OPTIONS_INIT;
    options.timeout_ms = 10000;
    fake_broker_plan(scene.broker, KS_OP_PUT_RECORD, 1, FAKE_SILENCE);
    ck_assert_int_eq(
        kstream_put_record(scene.client, "clicks", "k", 1, "one", 3, NULL, &result, &err),
        KSTREAM_TIMEOUT);
    ck_assert_int_eq(
        kstream_put_record(scene.client, "clicks", "k", 1, "two", 3, &options, &result, &err),
        KSTREAM_OK);
    ck_assert_uint_eq(result.ordinal, 2);
    scene_close(&scene);
}
END_TEST

START_TEST(each_record_of_a_request_has_its_own_fate)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_entry entries[4] = {{"a", 1, "1", 1, NULL}, {"!b", 2, "2", 1, NULL},
        {"c", 1, NULL, 0, NULL}, {"!d", 2, "4", 1, NULL}};
    struct kstream_put_result results[4];
    ck_assert_int_eq(kstream_put_records(scene.client, "clicks", entries, 4, NULL, results, &err),
        KSTREAM_PARTIAL);
    ck_assert_ptr_nonnull(strstr(err.text, "2 of 4"));
    ck_assert_int_eq(results[0].status, KSTREAM_OK);
    ck_assert_int_eq(results[1].status, KSTREAM_THROTTLED);
    ck_assert_int_eq(results[2].status, KSTREAM_OK);
    ck_assert_int_eq(results[3].status, KSTREAM_THROTTLED);
    ck_assert_uint_eq(results[0].ordinal, 1);
    ck_assert_uint_eq(results[2].ordinal, 2);
    ck_assert_uint_eq(strlen(results[2].sequence_number), 56);
    ck_assert_int_eq(
        kstream_put_records(scene.client, "clicks", entries, 1, NULL, results, &err), KSTREAM_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(a_part_with_more_records_than_it_says_is_no_answer)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_entry entries[2] = {{"a", 1, "1", 1, NULL}, {"b", 1, "2", 1, NULL}};
    struct kstream_put_result results[2];
    fake_broker_plan(scene.broker, KS_OP_PUT_RECORDS, 1, FAKE_SHORT_PART);
    ck_assert_int_eq(kstream_put_records(scene.client, "clicks", entries, 2, NULL, results, &err),
        KSTREAM_PROTOCOL);
    ck_assert_int_eq(
        kstream_put_records(scene.client, "clicks", entries, 2, NULL, results, &err), KSTREAM_OK);
    scene_close(&scene);
}
END_TEST

START_TEST(what_the_broker_would_refuse_is_refused_here)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    struct kstream_put_result result;
    struct kstream_put_entry entry = {"a", 1, "1", 1, NULL};
    struct kstream_client *client = scene.client;
    ck_assert_int_eq(kstream_put_record(client, "clicks", "", 0, "x", 1, NULL, &result, &err),
        KSTREAM_VALIDATION);
    ck_assert_int_eq(kstream_put_record(client, "clicks", "a\0b", 3, "x", 1, NULL, &result, &err),
        KSTREAM_VALIDATION);
    ck_assert_int_eq(kstream_put_record(client, "clicks", "a", 1, NULL, 1, NULL, &result, &err),
        KSTREAM_INVALID);
    ck_assert_int_eq(
        kstream_put_records(client, "clicks", &entry, 0, NULL, &result, &err), KSTREAM_INVALID);
    ck_assert_int_eq(
        kstream_put_records(client, "clicks", &entry, 501, NULL, &result, &err), KSTREAM_TOO_LARGE);
    ck_assert_uint_eq(err.request_id, 0);
    ck_assert_uint_eq(fake_broker_requests(scene.broker, KS_OP_PUT_RECORDS), 0);
    scene_close(&scene);
}
END_TEST

/* Each with the right client and the wrong rest. */
static enum kstream_status call_wrongly(
    struct kstream_client *client, unsigned which, struct kstream_error *err)
{
    switch (which) {
    case 0:
        return kstream_describe_stream(client, "", NULL, &(struct kstream_stream *){NULL}, err);
    case 1:
        return kstream_describe_stream(client, "clicks", NULL, NULL, err);
    case 2:
        return kstream_describe_stream_summary(client, "clicks", NULL, NULL, err);
    case 3:
        return kstream_list_streams(client, NULL, NULL, err);
    case 4:
        return kstream_list_shards(client, "clicks", NULL, NULL, err);
    case 5:
        return kstream_create_stream(client, NULL, NULL, err);
    case 6:
        return kstream_create_stream(client, "clicks",
            &(struct kstream_create_options){
                .size = sizeof(struct kstream_create_options), .shard_count = 1, .tag_count = 1},
            err);
    case 7:
        return kstream_delete_stream(client, NULL, NULL, err);
    case 8:
        return kstream_add_tags(client, "clicks", NULL, 1, NULL, err);
    case 9:
        return kstream_remove_tags(client, "clicks", NULL, 1, NULL, err);
    case 10:
        return kstream_tag_resource(client, "arn:x", NULL, 1, NULL, err);
    case 11:
        return kstream_untag_resource(client, "arn:x", NULL, 1, NULL, err);
    case 12:
        return kstream_list_tags(client, "clicks", NULL, NULL, err);
    case 13:
        return kstream_list_tags_of_resource(client, "arn:x", NULL, NULL, err);
    case 14:
        return kstream_describe_limits(client, NULL, NULL, err);
    case 15:
        return kstream_enable_shard_metrics(client, "clicks", NULL, 1, NULL, NULL, err);
    case 16:
        return kstream_disable_shard_metrics(client, "clicks", NULL, 1, NULL, NULL, err);
    case 17:
        return kstream_update_max_record_size(client, NULL, 1024, NULL, err);
    case 18:
        return kstream_update_warm_throughput(client, NULL, 1, NULL, NULL, err);
    case 19:
        return kstream_split_shard(client, "clicks", NULL, "5", NULL, NULL, err);
    case 20:
        return kstream_merge_shards(client, "clicks", NULL, NULL, NULL, NULL, err);
    case 21:
        return kstream_update_shard_count(client, NULL, 2, NULL, NULL, err);
    case 22:
        return kstream_update_stream_mode(client, NULL, 1, NULL, err);
    case 23:
        return kstream_increase_retention(client, NULL, 48, NULL, err);
    case 24:
        return kstream_describe_compactor(client, NULL, NULL, err);
    case 25:
        return kstream_update_stream_limits(client, NULL, NULL, NULL, err);
    default:
        return kstream_describe_config(client, 1000, NULL, err);
    }
}

#define WRONG_CALLS 27

START_TEST(a_wrong_call_is_refused_and_has_no_request)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    /* An error with a number, which must not come back. */
    ck_assert_int_eq(kstream_delete_stream(scene.client, "nothing", NULL, &err), KSTREAM_NOT_FOUND);
    ck_assert_uint_gt(err.request_id, 0);
    ck_assert_int_eq(call_wrongly(scene.client, (unsigned)_i, &err), KSTREAM_INVALID);
    ck_assert_uint_eq(err.request_id, 0);
    scene_close(&scene);
}
END_TEST

START_TEST(the_broker_s_own_words_reach_the_caller)
{
    struct scene scene = scene_open("10000");
    struct kstream_error err = KSTREAM_ERROR_INIT;
    ck_assert_int_eq(kstream_delete_stream(scene.client, "nothing", NULL, &err), KSTREAM_NOT_FOUND);
    ck_assert_str_eq(err.text, "the fake broker says KS_NOT_FOUND");
    ck_assert_uint_gt(err.request_id, 0);
    ck_assert_int_eq(err.retryable, 0);
    ck_assert_int_eq(kstream_delete_stream(scene.client, "", NULL, &err), KSTREAM_INVALID);
    scene_close(&scene);
}
END_TEST

START_TEST(every_status_has_its_words)
{
    for (int status = -1; status <= KSTREAM_FULL + 1; status++) {
        enum kstream_status st = (enum kstream_status)status;
        ck_assert_ptr_nonnull(kstream_strerror(st));
        ck_assert_uint_gt(strlen(kstream_status_name(st)), 0);
    }
    ck_assert_str_eq(kstream_status_name(KSTREAM_NOT_FOUND), "NOT_FOUND");
    ck_assert_str_eq(kstream_status_exception(KSTREAM_NOT_FOUND), "ResourceNotFoundException");
    ck_assert_int_eq(kstream_status_exit_code(KSTREAM_UNAVAILABLE), 7);
    ck_assert_int_eq(kstream_status_is_retryable(KSTREAM_FULL), 1);
    ck_assert_int_eq(kstream_status_is_retryable(KSTREAM_VALIDATION), 0);
}
END_TEST

START_TEST(a_percentile_is_within_a_thirtieth)
{
    struct client_histogram *histogram = calloc(1, sizeof *histogram);
    ck_assert_uint_eq(client_histogram_percentile(histogram, 50), 0);
    for (uint64_t i = 1; i <= 100000; i++)
        client_histogram_add(histogram, i * 1000, 1);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t exact = (uint64_t)percent * 1000000;
        uint64_t found = client_histogram_percentile(histogram, percent);
        ck_assert_uint_ge(found, exact);
        ck_assert_uint_le(found, exact + exact / 30);
    }
    ck_assert_uint_eq(client_histogram_percentile(histogram, 100), histogram->max);
    client_histogram_add(histogram, UINT64_MAX, 1); /* the last bucket exists */
    ck_assert_uint_eq(client_histogram_percentile(histogram, 100), UINT64_MAX);
    free(histogram);
}
END_TEST

KS_SUITE("client/calls")
{
    KS_TEST_LOOP(a_harmless_call_is_sent_again_after_a_lost_connection, (int)KS_COUNT_OF(losses));
    KS_TEST_LOOP(a_change_of_shards_is_never_sent_twice, (int)KS_COUNT_OF(losses));
    KS_TEST_LOOP(a_single_put_is_never_sent_twice, (int)KS_COUNT_OF(losses));
    KS_TEST(a_connection_that_died_while_idle_costs_a_put_nothing);
    KS_TEST(a_call_ends_with_its_time_and_the_next_one_is_not_confused);
    KS_TEST(each_record_of_a_request_has_its_own_fate);
    KS_TEST(a_part_with_more_records_than_it_says_is_no_answer);
    KS_TEST(what_the_broker_would_refuse_is_refused_here);
    KS_TEST_LOOP(a_wrong_call_is_refused_and_has_no_request, WRONG_CALLS);
    KS_TEST(the_broker_s_own_words_reach_the_caller);
    KS_TEST(every_status_has_its_words);
    KS_TEST(a_percentile_is_within_a_thirtieth);
}
