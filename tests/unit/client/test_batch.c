/* An answer of GetRecords, intact and with every single bit flipped. */
#include "base/alloc.h"
#include "client/batch.h"
#include "proto/batch.h"
#include "proto/wire.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

#define FIRST 41u  /* ordinal of the first record */
#define BATCHES 3u /* in the answer, */
#define RECORDS 4u /* with so many records each */

static void record_text(uint64_t ordinal, char *text, size_t room)
{
    snprintf(text, room, "data of record %llu", (unsigned long long)ordinal);
}

static struct ks_batch_header append_batch(
    struct ks_buf *to, uint64_t first, enum ks_batch_kind kind)
{
    uint8_t records[1024];
    size_t records_bytes = 0;
    uint32_t body_crc = 0;
    for (uint32_t i = 0; kind == KS_BATCH_DATA && i < RECORDS; i++) {
        char text[64];
        record_text(first + i, text, sizeof text);
        struct ks_record record = {.key = ks_view_of_text("key"), .data = ks_view_of_text(text)};
        body_crc = ks_body_crc_extend(body_crc, ks_record_encode(&record, records + records_bytes));
        records_bytes += ks_record_encoded_bytes(3, strlen(text), false);
    }
    struct ks_batch_header header = {.log_id = 7,
        .first_sequence = first,
        .arrival_unix_ms = 1790000000000,
        .record_count = kind == KS_BATCH_CLOSE ? 0 : RECORDS,
        .records_bytes = (uint32_t)records_bytes,
        .body_crc = body_crc,
        .kind = kind};
    uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
    size_t prefix_bytes = ks_batch_encode_prefix(&header, prefix);
    ck_assert(ks_buf_append(to, prefix, prefix_bytes));
    ck_assert(records_bytes == 0 || ks_buf_append(to, records, records_bytes));
    return header;
}

struct limits {
    uint32_t skip;
    uint32_t take;
};

/* The message around the stored bytes. */
static enum ks_status take(
    struct ks_view segment, struct limits limits, struct kstream_batch **out_batch)
{
    uint8_t *frame = ks_malloc(segment.bytes + 64);
    ck_assert_ptr_nonnull(frame);
    uint8_t *at = ks_wire_put_varint(frame, 4, 2); /* shard_index, created, skip, take, segment */
    at = ks_wire_put_varint(at, 5, 1790000000);
    at = ks_wire_put_varint(at, 6, limits.skip);
    at = ks_wire_put_varint(at, 7, limits.take);
    at = ks_wire_put_length(at, 15, segment.bytes);
    memcpy(at, segment.data, segment.bytes);
    struct client_answer answer = {.frame = frame,
        .response = {.op = KS_OP_GET_RECORDS,
            .message = ks_view_of(frame, (size_t)(at - frame) + segment.bytes)}};
    return client_batch_take(&answer, out_batch, NULL);
}

static struct ks_buf three_batches(void)
{
    struct ks_buf segment;
    ks_buf_init(&segment, 1u << 20);
    for (uint32_t i = 0; i < BATCHES; i++)
        append_batch(&segment, FIRST + i * RECORDS, KS_BATCH_DATA);
    return segment;
}

/* Ordinals without a hole, contents as they were put; returns how many are intact. */
static uint64_t check_batch(const struct kstream_batch *batch, uint64_t first, uint64_t count)
{
    uint64_t next = first;
    uint64_t intact = 0;
    uint64_t lost = 0;
    for (size_t i = 0; i < kstream_batch_count(batch); i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        ck_assert_uint_eq(record->ordinal, next);
        next += record->lost_records > 0 ? record->lost_records : 1;
        lost += record->lost_records;
        if (record->lost_records > 0)
            continue;
        char text[64];
        record_text(record->ordinal, text, sizeof text);
        ck_assert_uint_eq(record->data_bytes, strlen(text));
        ck_assert_mem_eq(record->data, text, record->data_bytes);
        ck_assert_uint_eq(record->key_bytes, 3);
        ck_assert_mem_eq(record->key, "key", 3);
        intact++;
    }
    ck_assert_uint_eq(next, first + count);
    ck_assert_uint_eq(lost, kstream_batch_lost_records(batch));
    return intact;
}

START_TEST(an_intact_answer_gives_every_record)
{
    struct ks_buf segment = three_batches();
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(take(ks_view_of(segment.data, segment.bytes),
                         (struct limits){0, BATCHES * RECORDS}, &batch),
        KS_OK);
    ck_assert_uint_eq(check_batch(batch, FIRST, BATCHES * RECORDS), BATCHES * RECORDS);
    ck_assert_str_eq(kstream_batch_shard_id(batch), "shardId-000000000002");
    char text[KSTREAM_SEQUENCE_BYTES];
    kstream_batch_sequence_number(batch, 0, text);
    ck_assert_uint_eq(strlen(text), 56);
    kstream_batch_sequence_number(batch, 99, text);
    ck_assert_str_eq(text, "");
    ck_assert_ptr_null(kstream_batch_record(batch, 12));
    kstream_batch_free(batch);
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(skip_and_take_cut_the_stored_batches)
{
    struct ks_buf segment = three_batches();
    for (uint32_t skip = 0; skip < RECORDS; skip++)
        for (uint32_t count = 1; count <= BATCHES * RECORDS - skip; count++) {
            struct kstream_batch *batch = NULL;
            ck_assert_int_eq(
                take(ks_view_of(segment.data, segment.bytes), (struct limits){skip, count}, &batch),
                KS_OK);
            ck_assert_uint_eq(check_batch(batch, FIRST + skip, count), count);
            kstream_batch_free(batch);
        }
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(every_flipped_bit_is_reported_and_harms_one_batch_at_most)
{
    struct ks_buf segment = three_batches();
    uint64_t calls_refused = 0;
    for (size_t bit = 0; bit < segment.bytes * 8; bit++) {
        struct kstream_batch *batch = NULL;
        segment.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum ks_status st = take(
            ks_view_of(segment.data, segment.bytes), (struct limits){0, BATCHES * RECORDS}, &batch);
        segment.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (st) {
            /* The start of the answer: not even the first ordinal is known. */
            ck_assert(st == KS_CORRUPT || st == KS_UNSUPPORTED);
            calls_refused++;
            continue;
        }
        uint64_t intact = check_batch(batch, FIRST, BATCHES * RECORDS);
        ck_assert_uint_lt(intact, BATCHES * RECORDS);
        kstream_batch_free(batch);
    }
    /* Only the first batch's header and what frames it. */
    ck_assert_uint_le(calls_refused, KS_BATCH_PREFIX_BYTES_MAX * 8);
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(a_flipped_bit_in_the_data_costs_that_record_alone)
{
    struct ks_buf segment = three_batches();
    struct kstream_batch *batch = NULL;
    segment.data[segment.bytes - 1] ^= 0x10; /* the last byte is of the last record's data */
    ck_assert_int_eq(take(ks_view_of(segment.data, segment.bytes),
                         (struct limits){0, BATCHES * RECORDS}, &batch),
        KS_OK);
    ck_assert_uint_eq(check_batch(batch, FIRST, BATCHES * RECORDS), BATCHES * RECORDS - 1);
    ck_assert_uint_eq(kstream_batch_lost_records(batch), 1);
    kstream_batch_free(batch);
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(records_of_another_batch_are_not_handed_out)
{
    struct ks_buf one;
    struct ks_buf other;
    ks_buf_init(&one, 4096);
    ks_buf_init(&other, 4096);
    struct ks_batch_header header = append_batch(&one, 11, KS_BATCH_DATA);
    append_batch(&other, 21, KS_BATCH_DATA); /* the same lengths, every checksum right */
    ck_assert_uint_eq(one.bytes, other.bytes);
    memcpy(one.data + one.bytes - header.records_bytes,
        other.data + other.bytes - header.records_bytes, header.records_bytes);
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(
        take(ks_view_of(one.data, one.bytes), (struct limits){0, RECORDS}, &batch), KS_OK);
    ck_assert_uint_eq(kstream_batch_lost_records(batch), RECORDS);
    kstream_batch_free(batch);
    ks_buf_fini(&one);
    ks_buf_fini(&other);
}
END_TEST

START_TEST(a_damaged_batch_of_the_broker_and_missing_ordinals_are_one_stretch)
{
    struct ks_buf segment;
    ks_buf_init(&segment, 4096);
    append_batch(&segment, FIRST, KS_BATCH_DATA);
    append_batch(&segment, FIRST + RECORDS, KS_BATCH_DAMAGED);
    /* One batch is missing here altogether. */
    append_batch(&segment, FIRST + 3 * RECORDS, KS_BATCH_DATA);
    append_batch(&segment, FIRST + 4 * RECORDS, KS_BATCH_CLOSE);
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(
        take(ks_view_of(segment.data, segment.bytes), (struct limits){0, 4 * RECORDS}, &batch),
        KS_OK);
    ck_assert_uint_eq(check_batch(batch, FIRST, 4 * RECORDS), 2 * RECORDS);
    ck_assert_uint_eq(kstream_batch_count(batch), 2 * RECORDS + 1);
    ck_assert_uint_eq(kstream_batch_record(batch, RECORDS)->lost_records, 2 * RECORDS);
    kstream_batch_free(batch);
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(an_answer_that_announces_more_than_it_has_reports_the_rest_lost)
{
    struct ks_buf segment = three_batches();
    struct kstream_batch *batch = NULL;
    ck_assert_int_eq(take(ks_view_of(segment.data, segment.bytes),
                         (struct limits){0, BATCHES * RECORDS + 5}, &batch),
        KS_OK);
    ck_assert_uint_eq(check_batch(batch, FIRST, BATCHES * RECORDS + 5), BATCHES * RECORDS);
    kstream_batch_free(batch);
    ck_assert_int_eq(take(ks_view_of(segment.data, 0), (struct limits){0, 1}, &batch), KS_PROTOCOL);
    ks_buf_fini(&segment);
}
END_TEST

START_TEST(every_cut_of_an_answer_is_survived)
{
    struct ks_buf segment = three_batches();
    for (size_t bytes = 1; bytes < segment.bytes; bytes++) {
        struct kstream_batch *batch = NULL;
        /* In memory of just that size, so that a sanitizer sees a read past the end. */
        uint8_t *copy = ks_memdup(segment.data, bytes);
        enum ks_status st =
            take(ks_view_of(copy, bytes), (struct limits){0, BATCHES * RECORDS}, &batch);
        ks_free(copy);
        if (st == KS_OK) {
            ck_assert_uint_lt(check_batch(batch, FIRST, BATCHES * RECORDS), BATCHES * RECORDS);
            kstream_batch_free(batch);
        }
    }
    ks_buf_fini(&segment);
}
END_TEST

KS_SUITE("client/batch")
{
    KS_TEST(an_intact_answer_gives_every_record);
    KS_TEST(skip_and_take_cut_the_stored_batches);
    KS_TEST(every_flipped_bit_is_reported_and_harms_one_batch_at_most);
    KS_TEST(a_flipped_bit_in_the_data_costs_that_record_alone);
    KS_TEST(records_of_another_batch_are_not_handed_out);
    KS_TEST(a_damaged_batch_of_the_broker_and_missing_ordinals_are_one_stretch);
    KS_TEST(an_answer_that_announces_more_than_it_has_reports_the_rest_lost);
    KS_TEST(every_cut_of_an_answer_is_survived);
}
