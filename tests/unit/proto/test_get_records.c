#include "proto/batch.h"
#include "proto/get_records.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/proto/sample_batch.h"

static struct sample_batch sample;

/* A frame whose stored bytes were appended by reference, as a socket would see it. */
static void make_frame(struct ks_buf *frame)
{
    Kstream__GetRecordsResponse response = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    response.next_shard_iterator = (char *)"AAAA";
    response.skip_records = 1;
    response.take_records = 2;
    response.shard_index = 3;
    response.created_unix_s = 1700000000;
    sample_batch_golden(&sample);
    ck_assert_int_eq(
        ks_get_response_append_prefix(frame, 9, 4096, &response, 2 * sample.bytes_used), KS_OK);
    ck_assert(ks_buf_append(frame, sample.bytes, sample.bytes_used));
    ck_assert(ks_buf_append(frame, sample.bytes, sample.bytes_used));
}

START_TEST(stored_batches_travel_untouched_at_the_end_of_the_frame)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    make_frame(&frame);
    struct ks_frame f;
    struct ks_response_view view;
    ck_assert_int_eq(ks_frame_parse(ks_view_of(frame.data, frame.bytes), &f, NULL), KS_OK);
    ck_assert_uint_eq(f.frame_bytes, frame.bytes);
    ck_assert_int_eq(ks_response_peek(f.body, &view, NULL), KS_OK);
    ck_assert_uint_eq(view.op, KS_OP_GET_RECORDS);
    struct ks_view head;
    struct ks_view batches;
    ck_assert_int_eq(ks_get_response_split(view.message, &head, &batches, NULL), KS_OK);
    ck_assert_uint_eq(batches.bytes, 2 * sample.bytes_used);
    ck_assert_mem_eq(batches.data, sample.bytes, sample.bytes_used);
    ck_assert_ptr_eq(batches.data + batches.bytes, frame.data + frame.bytes);
    struct ks_batch_view batch;
    ck_assert_int_eq(ks_batch_decode(batches, &batch), KS_OK);
    ck_assert_int_eq(ks_batch_verify(&batch), KS_OK);
    Kstream__GetRecordsResponse *response =
        kstream__get_records_response__unpack(NULL, head.bytes, head.data);
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->next_shard_iterator, "AAAA");
    ck_assert_uint_eq(response->take_records, 2);
    ck_assert_ptr_null(response->segment);
    kstream__get_records_response__free_unpacked(response, NULL);
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(any_protobuf_reader_understands_the_answer)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    make_frame(&frame);
    Kstream__Response *response = kstream__response__unpack(NULL, frame.bytes - 4, frame.data + 4);
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->get_records->segment->n_batches, 2);
    ck_assert_str_eq(
        response->get_records->segment->batches[1]->records[0]->partition_key, "user-1");
    kstream__response__free_unpacked(response, NULL);
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(an_answer_without_records_has_no_segment)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    Kstream__GetRecordsResponse response = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    ck_assert_int_eq(ks_get_response_append_prefix(&frame, 9, 0, &response, 0), KS_OK);
    struct ks_response_view view;
    ck_assert_int_eq(
        ks_response_peek(ks_view_of(frame.data + 4, frame.bytes - 4), &view, NULL), KS_OK);
    struct ks_view head;
    struct ks_view batches;
    ck_assert_int_eq(ks_get_response_split(view.message, &head, &batches, NULL), KS_OK);
    ck_assert_uint_eq(batches.bytes, 0);
    ck_assert_uint_eq(head.bytes, view.message.bytes);
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(what_stands_behind_the_records_is_refused)
{
    struct ks_view head;
    struct ks_view batches;
    struct ks_view behind = ks_view_of("\x7a\x00\x30\x01", 4);
    ck_assert_int_eq(ks_get_response_split(behind, &head, &batches, NULL), KS_PROTOCOL);
    struct ks_view twice = ks_view_of("\x7a\x00\x7a\x00", 4);
    ck_assert_int_eq(ks_get_response_split(twice, &head, &batches, NULL), KS_PROTOCOL);
    struct ks_view cut = ks_view_of("\x7a\x05", 2);
    ck_assert_int_eq(ks_get_response_split(cut, &head, &batches, NULL), KS_PROTOCOL);
}
END_TEST

START_TEST(more_than_a_frame_holds_is_too_large)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    Kstream__GetRecordsResponse response = KSTREAM__GET_RECORDS_RESPONSE__INIT;
    ck_assert_int_eq(
        ks_get_response_append_prefix(&frame, 9, 0, &response, KS_GET_BATCHES_BYTES_MAX), KS_OK);
    ck_assert_int_eq(
        ks_get_response_append_prefix(&frame, 9, 0, &response, KS_GET_BATCHES_BYTES_MAX + 1),
        KS_TOO_LARGE);
    ks_buf_fini(&frame);
}
END_TEST

KS_SUITE("proto/get_records")
{
    KS_TEST(stored_batches_travel_untouched_at_the_end_of_the_frame);
    KS_TEST(any_protobuf_reader_understands_the_answer);
    KS_TEST(an_answer_without_records_has_no_segment);
    KS_TEST(what_stands_behind_the_records_is_refused);
    KS_TEST(more_than_a_frame_holds_is_too_large);
}
