#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "tests/unit/ks_check.h"

static struct ks_buf list_shards_frame(void)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 4096);
    Kstream__ListShardsRequest request = KSTREAM__LIST_SHARDS_REQUEST__INIT;
    request.stream_name = (char *)"orders";
    request.has_max_results = 1;
    request.max_results = 7;
    struct ks_request_head head = {.request_id = 300, .op = KS_OP_LIST_SHARDS};
    ck_assert_int_eq(ks_request_append(&buf, &head, &request.base), KS_OK);
    return buf;
}

START_TEST(a_frame_is_known_after_four_bytes_and_complete_after_the_last)
{
    struct ks_buf buf = list_shards_frame();
    for (size_t bytes = 0; bytes <= buf.bytes; bytes++) {
        struct ks_frame frame;
        ck_assert_int_eq(ks_frame_parse(ks_view_of(buf.data, bytes), &frame, NULL), KS_OK);
        ck_assert_uint_eq(frame.frame_bytes, bytes < 4 ? 0 : buf.bytes);
        ck_assert_int_eq(frame.is_complete, bytes == buf.bytes);
    }
    ks_buf_fini(&buf);
}
END_TEST

START_TEST(empty_and_huge_frames_are_refused_from_their_length_alone)
{
    struct ks_frame frame;
    struct ks_error err = KS_ERROR_INIT;
    const uint8_t empty[4] = {0};
    ck_assert_int_eq(ks_frame_parse(ks_view_of(empty, 4), &frame, &err), KS_PROTOCOL);
    const uint8_t huge[4] = {0xff, 0xff, 0xff, 0xff};
    ck_assert_int_eq(ks_frame_parse(ks_view_of(huge, 4), &frame, &err), KS_TOO_LARGE);
    ck_assert_str_eq(err.text, "a frame of 4294967295 bytes, the limit is 16777216");
    const uint8_t largest[4] = {1, 0, 0, 0};
    ck_assert_int_eq(ks_frame_parse(ks_view_of(largest, 4), &frame, &err), KS_OK);
    const uint8_t one_more[4] = {1, 0, 0, 1};
    ck_assert_int_eq(ks_frame_parse(ks_view_of(one_more, 4), &frame, &err), KS_TOO_LARGE);
}
END_TEST

START_TEST(a_request_is_what_protobuf_would_make)
{
    struct ks_buf buf = list_shards_frame();
    Kstream__Request *request = kstream__request__unpack(NULL, buf.bytes - 4, buf.data + 4);
    ck_assert_ptr_nonnull(request);
    ck_assert_uint_eq(request->request_id, 300);
    ck_assert_int_eq(request->op_case, KSTREAM__REQUEST__OP_LIST_SHARDS);
    ck_assert_str_eq(request->list_shards->stream_name, "orders");
    kstream__request__free_unpacked(request, NULL);
    ks_buf_fini(&buf);
}
END_TEST

START_TEST(a_request_is_dispatched_without_unpacking_it)
{
    struct ks_buf buf = list_shards_frame();
    struct ks_frame frame;
    struct ks_request_view view;
    ck_assert_int_eq(ks_frame_parse(ks_view_of(buf.data, buf.bytes), &frame, NULL), KS_OK);
    ck_assert_int_eq(ks_request_peek(frame.body, &view, NULL), KS_OK);
    ck_assert_uint_eq(view.request_id, 300);
    ck_assert_uint_eq(view.op, KS_OP_LIST_SHARDS);
    struct ks_arena arena;
    ks_arena_init(&arena, 65536);
    const struct ks_operation *operation = ks_operation_by_number(view.op);
    ck_assert_ptr_nonnull(operation);
    ck_assert_str_eq(operation->name, "ListShards");
    Kstream__ListShardsRequest *request = (Kstream__ListShardsRequest *)(void *)ks_arena_unpack(
        &arena, operation->request, view.message);
    ck_assert_ptr_nonnull(request);
    ck_assert_int_eq(request->max_results, 7);
    ks_arena_fini(&arena);
    ks_buf_fini(&buf);
}
END_TEST

static const struct {
    const char *bytes;
    size_t length;
} bad_requests[] = {
    {"", 0}, {"\x08\x01", 2},        /* no operation */
    {"\x52\x00", 2},                 /* no request id */
    {"\x08\x01\x52\x00\x5a\x00", 6}, /* two operations */
    {"\x08\x01\x52\x00\x52\x00", 6}, /* one operation twice */
    {"\x08\x01\x08\x02\x52\x00", 6}, /* two ids */
    {"\x09\x01\x52\x00", 4},         /* id of another type, cut */
    {"\x08\x01\x50\x00", 4},         /* an operation that is a number */
    {"\x08\x01\x52\x05", 4},         /* longer than the frame */
    {"\x08\x01\x53\x54", 4},         /* a group */
    {"\x08\x01\x52\x00\x00\x00", 6}, /* field number 0 */
    {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x52\x00", 14}, /* a varint of 11 bytes */
};

START_TEST(malformed_requests_are_refused)
{
    struct ks_request_view view;
    struct ks_error err = KS_ERROR_INIT;
    struct ks_view body = ks_view_of(bad_requests[_i].bytes, bad_requests[_i].length);
    ck_assert_int_eq(ks_request_peek(body, &view, &err), KS_PROTOCOL);
    ck_assert_uint_gt(strlen(err.text), 0);
}
END_TEST

START_TEST(fields_and_operations_of_a_newer_peer_are_passed_on)
{
    struct ks_request_view view;
    /* Field 2 is unknown, operation 1000 too: the request can still be answered "not supported". */
    const char newer[] = "\x10\x05\x08\x01\xc2\x3e\x00";
    ck_assert_int_eq(ks_request_peek(ks_view_of(newer, sizeof newer - 1), &view, NULL), KS_OK);
    ck_assert_uint_eq(view.op, 1000);
    ck_assert_ptr_null(ks_operation_by_number(view.op));
}
END_TEST

START_TEST(a_response_comes_back_as_it_was_written)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 4096);
    Kstream__Error error = KSTREAM__ERROR__INIT;
    error.status = KS_NOT_FOUND;
    error.message = (char *)"stream 'x' not found";
    struct ks_response_head head = {
        .request_id = UINT64_MAX, .put_credit_bytes = UINT32_MAX, .op = KS_OP_ERROR};
    ck_assert_int_eq(ks_response_append(&buf, &head, &error.base), KS_OK);
    struct ks_response_view view;
    ck_assert_int_eq(ks_response_peek(ks_view_of(buf.data + 4, buf.bytes - 4), &view, NULL), KS_OK);
    ck_assert_uint_eq(view.request_id, UINT64_MAX);
    ck_assert_uint_eq(view.put_credit_bytes, UINT32_MAX);
    ck_assert_uint_eq(view.op, KS_OP_ERROR);
    Kstream__Response *response = kstream__response__unpack(NULL, buf.bytes - 4, buf.data + 4);
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->error->message, "stream 'x' not found");
    kstream__response__free_unpacked(response, NULL);
    for (size_t cut = 0; cut < buf.bytes - 4; cut++)
        ck_assert_int_eq(ks_response_peek(ks_view_of(buf.data + 4, cut), &view, NULL), KS_PROTOCOL);
    ks_buf_fini(&buf);
}
END_TEST

START_TEST(a_frame_that_does_not_fit_leaves_the_buffer_as_it_was)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 16);
    Kstream__PingResponse ping = KSTREAM__PING_RESPONSE__INIT;
    ping.version = ping.region = ping.account_id = (char *)"0123456789";
    struct ks_response_head head = {.request_id = 1, .op = KS_OP_PING};
    ck_assert_int_eq(ks_response_append(&buf, &head, &ping.base), KS_NO_MEMORY);
    ck_assert_uint_eq(buf.bytes, 0);
    ks_buf_fini(&buf);
}
END_TEST

START_TEST(operations_have_their_field_numbers_in_both_messages)
{
    for (size_t i = 0; i < ks_operations_count; i++) {
        const struct ks_operation *o = &ks_operations[i];
        const ProtobufCFieldDescriptor *in =
            protobuf_c_message_descriptor_get_field(&kstream__request__descriptor, o->op);
        const ProtobufCFieldDescriptor *out =
            protobuf_c_message_descriptor_get_field(&kstream__response__descriptor, o->op);
        ck_assert_ptr_nonnull(in);
        ck_assert_ptr_nonnull(out);
        ck_assert_ptr_eq(in->descriptor, o->request);
        ck_assert_ptr_eq(out->descriptor, o->response);
        ck_assert_ptr_eq(ks_operation_by_name(ks_view_of_text(o->name)), o);
    }
    /* Beside the operations a request has its id, a response its id, the credit and the error. */
    ck_assert_uint_eq(kstream__request__descriptor.n_fields, ks_operations_count + 1);
    ck_assert_uint_eq(kstream__response__descriptor.n_fields, ks_operations_count + 3);
}
END_TEST

KS_SUITE("proto/frame")
{
    KS_TEST(a_frame_is_known_after_four_bytes_and_complete_after_the_last);
    KS_TEST(empty_and_huge_frames_are_refused_from_their_length_alone);
    KS_TEST(a_request_is_what_protobuf_would_make);
    KS_TEST(a_request_is_dispatched_without_unpacking_it);
    KS_TEST_LOOP(malformed_requests_are_refused, KS_COUNT_OF(bad_requests));
    KS_TEST(fields_and_operations_of_a_newer_peer_are_passed_on);
    KS_TEST(a_response_comes_back_as_it_was_written);
    KS_TEST(a_frame_that_does_not_fit_leaves_the_buffer_as_it_was);
    KS_TEST(operations_have_their_field_numbers_in_both_messages);
}
