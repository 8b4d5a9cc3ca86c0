#include "proto/api.pb-c.h"
#include "proto/batch.h"
#include "proto/put_records.h"
#include "tests/unit/ks_check.h"

#define STREAM_ID "abcdefghij0123456789-abc"

static struct ks_put_request request;
static struct ks_put_response response;
static struct ks_put_response decoded;

static struct ks_view message_of(struct ks_buf *frame, uint64_t request_id)
{
    struct ks_frame f;
    struct ks_request_view view;
    ck_assert_int_eq(ks_frame_parse(ks_view_of(frame->data, frame->bytes), &f, NULL), KS_OK);
    ck_assert(f.is_complete && f.frame_bytes == frame->bytes);
    ck_assert_int_eq(ks_request_peek(f.body, &view, NULL), KS_OK);
    ck_assert_uint_eq(view.request_id, request_id);
    ck_assert_uint_eq(view.op, KS_OP_PUT_RECORDS);
    return view.message;
}

static void append(struct ks_buf *to, const void *data, size_t bytes)
{
    ck_assert(ks_buf_append(to, data, bytes));
}

static void make_routed_frame(struct ks_buf *frame)
{
    static const char first[] = "records of shard 0";
    static const char second[] = "records of shard 9 \0 with a zero";
    struct ks_put_part parts[2] = {
        {.shard_index = 0, .record_count = 1, .records = ks_view_of(first, sizeof first)},
        {.shard_index = 9,
            .record_count = 70000,
            .producer_id = UINT64_MAX,
            .producer_sequence = 1,
            .is_first = true,
            .is_repeat = true,
            .records = ks_view_of(second, sizeof second)}};
    struct ks_put_routed put = {.request_id = 77,
        .stream_id = ks_view_of_text(STREAM_ID),
        .routing_epoch = 300,
        .parts = parts,
        .part_count = 2};
    uint8_t head[KS_PUT_HEAD_BYTES_MAX];
    append(frame, head, ks_put_routed_encode_head(&put, head));
    for (int i = 0; i < 2; i++) {
        append(frame, head, ks_put_part_encode_head(&parts[i], head));
        append(frame, parts[i].records.data, parts[i].records.bytes);
    }
}

START_TEST(a_routed_put_is_seen_without_a_copy)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    make_routed_frame(&frame);
    struct ks_view message = message_of(&frame, 77);
    ck_assert_int_eq(ks_put_request_decode(message, &request, NULL), KS_OK);
    ck_assert_uint_eq(request.part_count, 2);
    ck_assert_uint_eq(request.entry_count, 0);
    ck_assert_uint_eq(request.routing_epoch, 300);
    ck_assert(ks_view_equal(request.stream.id, ks_view_of_text(STREAM_ID)));
    ck_assert(ks_put_request_is_valid(&request));
    const struct ks_put_part *part = &request.parts[1];
    ck_assert_uint_eq(part->shard_index, 9);
    ck_assert_uint_eq(part->record_count, 70000);
    ck_assert_uint_eq(part->producer_id, UINT64_MAX);
    ck_assert_uint_eq(part->producer_sequence, 1);
    ck_assert(part->is_first && part->is_repeat && !request.parts[0].is_repeat);
    ck_assert(part->records.data > frame.data && part->records.data < frame.data + frame.bytes);
    ck_assert_str_eq((const char *)request.parts[0].records.data, "records of shard 0");
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(a_routed_put_is_what_protobuf_would_make)
{
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    make_routed_frame(&frame);
    Kstream__Request *unpacked = kstream__request__unpack(NULL, frame.bytes - 4, frame.data + 4);
    ck_assert_ptr_nonnull(unpacked);
    ck_assert_uint_eq(unpacked->put_records->n_shard_puts, 2);
    ck_assert_uint_eq(unpacked->put_records->shard_puts[1]->producer_id, UINT64_MAX);
    ck_assert(unpacked->put_records->shard_puts[1]->is_repeat);
    ck_assert_uint_eq(kstream__request__get_packed_size(unpacked), frame.bytes - 4);
    kstream__request__free_unpacked(unpacked, NULL);
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(a_plain_put_keeps_absent_and_empty_members_apart)
{
    struct ks_put_entry entries[3] = {
        {.has_key = true, .has_data = true, .key = ks_view_of("a\0b", 3)},
        {.has_key = true,
            .has_data = true,
            .has_explicit_hash = true,
            .key = ks_view_of_text("k"),
            .data = ks_view_of_text("data"),
            .explicit_hash = ks_view_of_text("170141183460469231731687303715884105728")},
        {.has_data = true}};
    struct ks_put_plain put = {.request_id = 5,
        .stream = {.name = ks_view_of_text("orders")},
        .entries = entries,
        .entry_count = 3};
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    ck_assert_int_eq(ks_put_plain_append(&frame, &put), KS_OK);
    ck_assert_int_eq(ks_put_request_decode(message_of(&frame, 5), &request, NULL), KS_OK);
    ck_assert_uint_eq(request.entry_count, 3);
    ck_assert_uint_eq(request.entries[0].key.bytes, 3);
    ck_assert(request.entries[0].has_data && request.entries[0].data.bytes == 0);
    ck_assert(ks_view_equal(request.entries[1].explicit_hash, entries[1].explicit_hash));
    ck_assert(!request.entries[2].has_key);
    ck_assert_ptr_null(request.stream.arn.data);
    ck_assert(!ks_put_request_is_valid(&request));
    request.entry_count = 2;
    ck_assert(ks_put_request_is_valid(&request));
    Kstream__Request *unpacked = kstream__request__unpack(NULL, frame.bytes - 4, frame.data + 4);
    ck_assert_ptr_nonnull(unpacked);
    ck_assert_uint_eq(unpacked->put_records->n_records, 3);
    ck_assert_str_eq(unpacked->put_records->stream_name, "orders");
    kstream__request__free_unpacked(unpacked, NULL);
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(members_that_break_a_rule_are_not_valid)
{
    struct ks_put_entry good = {.has_key = true, .has_data = true, .key = ks_view_of_text("k")};
    request.stream = (struct ks_put_stream){.name = ks_view_of_text("orders")};
    request.part_count = 0;
    request.entry_count = 1;
    request.entries[0] = good;
    ck_assert(ks_put_request_is_valid(&request));
    request.entries[0].has_data = false;
    ck_assert(!ks_put_request_is_valid(&request));
    request.entries[0] = good;
    request.entries[0].key = ks_view_of_text("");
    ck_assert(!ks_put_request_is_valid(&request));
    request.entries[0] = good;
    request.entries[0].has_explicit_hash = true;
    request.entries[0].explicit_hash = ks_view_of_text("01");
    ck_assert(!ks_put_request_is_valid(&request));
    request.entries[0] = good;
    request.entries[0].data = ks_view_of("", KS_RECORD_BYTES_MAX + 1);
    ck_assert(!ks_put_request_is_valid(&request));
    request.entries[0] = good;
    request.stream.name = ks_view_of_text("a/b");
    ck_assert(!ks_put_request_is_valid(&request));
    request.stream.name = ks_view_of_text("orders");
    request.stream.id = ks_view_of_text("short");
    ck_assert(!ks_put_request_is_valid(&request));
    request.stream.id = ks_view_of(NULL, 0);
    request.entry_count = 0;
    ck_assert(!ks_put_request_is_valid(&request));
}
END_TEST

#define PART "\x32\x06\x08\x01\x28\x01\x32\x00" /* shard 1, one record, no bytes */
#define ID "\x22\x01x"
#define EPOCH "\x28\x01"

static const struct {
    const char *bytes;
    size_t length;
    enum ks_status status;
} puts_from_outside[] = {
#define ROW(text, status)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }
    ROW(PART ID EPOCH, KS_OK), ROW(ID EPOCH PART PART, KS_OK),
    ROW(PART ID EPOCH "\x98\x06\x01", KS_OK),              /* field 99: a newer client */
    ROW(PART ID, KS_PROTOCOL),                             /* no epoch */
    ROW(PART EPOCH, KS_PROTOCOL),                          /* no id */
    ROW(PART ID EPOCH EPOCH, KS_PROTOCOL),                 /* twice */
    ROW(PART ID EPOCH "\x0a\x00", KS_PROTOCOL),            /* both forms */
    ROW("\x32\x04\x08\x01\x28\x01" ID EPOCH, KS_PROTOCOL), /* no records */
    ROW("\x32\x04\x28\x01\x32\x00" ID EPOCH, KS_PROTOCOL), /* no shard */
    ROW("\x32\x08\x08\x01\x08\x01\x28\x01\x32\x00" ID EPOCH, KS_PROTOCOL), /* shard twice */
    ROW("\x32\x08\x08\x01\x20\x01\x28\x01\x32\x00" ID EPOCH, KS_PROTOCOL), /* first, no producer */
    ROW("\x32\x0a\x08\xff\xff\xff\xff\x0f\x28\x01\x32\x00" ID EPOCH,
        KS_PROTOCOL),                      /* shard 2^32-1 */
    ROW("\x30\x01" ID EPOCH, KS_PROTOCOL), /* a part that is a number */
    ROW("\x32\x7f" ID EPOCH, KS_PROTOCOL), /* longer than the message */
    ROW("", KS_OK),                        /* nothing: not valid, but well-formed */
};

START_TEST(puts_from_outside_are_checked_member_by_member)
{
    struct ks_view message = ks_view_of(puts_from_outside[_i].bytes, puts_from_outside[_i].length);
    ck_assert_int_eq(ks_put_request_decode(message, &request, NULL), puts_from_outside[_i].status);
}
END_TEST

START_TEST(more_parts_or_records_than_the_limits_are_too_large)
{
    struct ks_buf message;
    ks_buf_init(&message, 65536);
    for (uint32_t i = 0; i <= KS_PUT_RECORDS_MAX; i++)
        append(&message, "\x0a\x00", 2);
    ck_assert_int_eq(ks_put_request_decode(ks_view_of(message.data, message.bytes), &request, NULL),
        KS_TOO_LARGE);
    ck_assert_int_eq(
        ks_put_request_decode(ks_view_of(message.data, message.bytes - 2), &request, NULL), KS_OK);
    message.bytes = 0;
    for (uint32_t i = 0; i <= KS_PUT_PARTS_MAX; i++)
        append(&message, PART, sizeof PART - 1);
    ck_assert_int_eq(ks_put_request_decode(ks_view_of(message.data, message.bytes), &request, NULL),
        KS_TOO_LARGE);
    ks_buf_fini(&message);
}
END_TEST

START_TEST(a_single_put_may_have_any_key)
{
    const char bytes[] = "\x0a\x01s\x12\x00\x1a\x03"
                         "a\0b\x2a\x01"
                         "7";
    struct ks_put_record record;
    ck_assert_int_eq(
        ks_put_record_decode(ks_view_of(bytes, sizeof bytes - 1), &record, NULL), KS_OK);
    ck_assert_uint_eq(record.entry.key.bytes, 3);
    ck_assert(ks_put_record_is_valid(&record));
    ck_assert(ks_view_equal(record.sequence_number_for_ordering, ks_view_of_text("7")));
    ck_assert_int_eq(
        ks_put_record_decode(ks_view_of(bytes, sizeof bytes - 2), &record, NULL), KS_PROTOCOL);
    ck_assert_int_eq(
        ks_put_record_decode(ks_view_of_text("\x0a\x01s\x0a\x01s"), &record, NULL), KS_PROTOCOL);
}
END_TEST

START_TEST(an_answer_comes_back_as_it_was_given)
{
    response.part_count = 3;
    response.record_count = 5;
    response.parts[0] = (struct ks_put_result){.shard_index = 4,
        .first_sequence = 1ULL << 62,
        .record_count = 2,
        .arrival_unix_ms = 1700000000123,
        .created_unix_s = 1700000000,
        .is_duplicate = true};
    response.parts[1] = (struct ks_put_result){.shard_index = 5,
        .record_count = 1,
        .status = KS_PRODUCER_GAP,
        .expected_producer_sequence = 8,
        .error_text = ks_view_of_text("sequence 9 leaves a gap")};
    response.parts[2] =
        (struct ks_put_result){.shard_index = 6, .record_count = 2, .status = KS_THROTTLED};
    const uint16_t parts[] = {0, 1, 2, 2, 0};
    memcpy(response.record_parts, parts, sizeof parts);
    struct ks_buf frame;
    ks_buf_init(&frame, 65536);
    append(&frame, "before", 6);
    struct ks_response_head head = {
        .request_id = 1, .put_credit_bytes = 4096, .op = KS_OP_PUT_RECORDS};
    ck_assert_int_eq(ks_put_response_append(&frame, &head, &response), KS_OK);
    struct ks_frame f;
    ck_assert_int_eq(ks_frame_parse(ks_view_of(frame.data + 6, frame.bytes - 6), &f, NULL), KS_OK);
    ck_assert_uint_eq(f.frame_bytes, frame.bytes - 6);
    struct ks_response_view view;
    ck_assert_int_eq(ks_response_peek(f.body, &view, NULL), KS_OK);
    ck_assert_int_eq(ks_put_response_decode(view.message, &decoded, NULL), KS_OK);
    ck_assert_uint_eq(decoded.failed_record_count, 3);
    ck_assert_uint_eq(decoded.part_count, 3);
    ck_assert_uint_eq(decoded.parts[0].first_sequence, 1ULL << 62);
    ck_assert_uint_eq(decoded.parts[0].created_unix_s, 1700000000);
    ck_assert(decoded.parts[0].is_duplicate);
    ck_assert_int_eq(decoded.parts[1].status, KS_PRODUCER_GAP);
    ck_assert_uint_eq(decoded.parts[1].expected_producer_sequence, 8);
    ck_assert(ks_view_equal(decoded.parts[1].error_text, response.parts[1].error_text));
    ck_assert_int_eq(decoded.parts[2].status, KS_THROTTLED);
    ck_assert(ks_view_equal(
        decoded.parts[2].error_text, ks_view_of_text(ks_status_info(KS_THROTTLED)->text)));
    ck_assert_uint_eq(decoded.record_count, 5);
    ck_assert_mem_eq(decoded.record_parts, parts, sizeof parts);
    Kstream__Response *unpacked =
        kstream__response__unpack(NULL, frame.bytes - 10, frame.data + 10);
    ck_assert_ptr_nonnull(unpacked);
    ck_assert_str_eq(unpacked->put_records->parts[2]->error->exception,
        "ProvisionedThroughputExceededException");
    ck_assert_uint_eq(unpacked->put_records->n_record_parts, 5);
    kstream__response__free_unpacked(unpacked, NULL);
    for (size_t cut = 0; cut < view.message.bytes; cut++)
        KS_IGNORE(ks_put_response_decode(ks_view_of(view.message.data, cut), &decoded, NULL),
            "only that it stays within its bytes");
    ks_buf_fini(&frame);
}
END_TEST

START_TEST(an_answer_cannot_name_a_part_it_does_not_have_or_succeed_without_a_sequence)
{
    const char no_part[] = "\x08\x00\x1a\x01\x00";
    ck_assert_int_eq(
        ks_put_response_decode(ks_view_of(no_part, sizeof no_part - 1), &decoded, NULL),
        KS_PROTOCOL);
    const char no_sequence[] = "\x08\x00\x12\x04\x08\x01\x18\x01";
    ck_assert_int_eq(
        ks_put_response_decode(ks_view_of(no_sequence, sizeof no_sequence - 1), &decoded, NULL),
        KS_PROTOCOL);
}
END_TEST

KS_SUITE("proto/put_records")
{
    KS_TEST(a_routed_put_is_seen_without_a_copy);
    KS_TEST(a_routed_put_is_what_protobuf_would_make);
    KS_TEST(a_plain_put_keeps_absent_and_empty_members_apart);
    KS_TEST(members_that_break_a_rule_are_not_valid);
    KS_TEST_LOOP(puts_from_outside_are_checked_member_by_member, KS_COUNT_OF(puts_from_outside));
    KS_TEST(more_parts_or_records_than_the_limits_are_too_large);
    KS_TEST(a_single_put_may_have_any_key);
    KS_TEST(an_answer_comes_back_as_it_was_given);
    KS_TEST(an_answer_cannot_name_a_part_it_does_not_have_or_succeed_without_a_sequence);
}
