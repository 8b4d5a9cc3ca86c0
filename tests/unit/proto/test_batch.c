#include "base/crc32c.h"
#include "base/prng.h"
#include "proto/batch.h"
#include "tests/unit/ks_check.h"
#include "tests/unit/proto/sample_batch.h"

#include <stdio.h>

static struct sample_batch sample;

static bool headers_are_equal(const struct ks_batch_header *a, const struct ks_batch_header *b)
{
    return a->log_id == b->log_id && a->first_sequence == b->first_sequence &&
           a->arrival_unix_ms == b->arrival_unix_ms && a->producer_id == b->producer_id &&
           a->producer_sequence == b->producer_sequence && a->record_count == b->record_count &&
           a->records_bytes == b->records_bytes && a->body_crc == b->body_crc &&
           a->padding_bytes == b->padding_bytes && a->flags == b->flags && a->kind == b->kind;
}

static enum ks_status decode_and_verify(const uint8_t *bytes, size_t length)
{
    struct ks_batch_view batch;
    enum ks_status st = ks_batch_decode(ks_view_of(bytes, length), &batch);
    return st ? st : ks_batch_verify(&batch);
}

/* Recomputes the header checksum after a test changed the header, so that what is behind it is met.
 */
static void reseal_header(uint8_t *stored, size_t header_at)
{
    size_t bytes = stored[header_at - 1];
    ks_store_u32le(stored + header_at + 1, ks_crc32c(stored + header_at + 5, bytes - 5));
}

static size_t sample_header_at(void)
{
    return ks_batch_stored_bytes(&sample.header) - sample.header.records_bytes -
           sample.header.padding_bytes - KS_BATCH_HEADER_BYTES;
}

START_TEST(decode_undoes_encode)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, (uint64_t)_i + 1);
    for (int round = 0; round < 100; round++) {
        sample_batch_random(&sample, &prng);
        struct ks_batch_view batch;
        /* Bytes behind the batch are the next one's. */
        ck_assert_int_eq(
            ks_batch_decode(ks_view_of(sample.bytes, sizeof sample.bytes), &batch), KS_OK);
        ck_assert(headers_are_equal(&batch.header, &sample.header));
        ck_assert_uint_eq(batch.stored_bytes, sample.bytes_used);
        ck_assert_ptr_eq(batch.stored.data, sample.bytes);
        ck_assert_int_eq(ks_batch_verify(&batch), KS_OK);
        struct ks_record_walk walk;
        struct ks_record_view record;
        ks_record_walk_init(&walk, batch.records);
        uint32_t count = sample.header.kind == KS_BATCH_DATA ? sample.header.record_count : 0;
        for (uint32_t i = 0; i < count; i++) {
            ck_assert_int_eq(ks_record_walk_next(&walk, &record), KS_OK);
            ck_assert(ks_view_equal(record.key, sample.records[i].key));
            ck_assert(ks_view_equal(record.data, sample.records[i].data));
            ck_assert_uint_eq(record.explicit_hash.bytes,
                sample.records[i].has_explicit_hash ? KS_EXPLICIT_HASH_BYTES : 0);
            if (record.explicit_hash.bytes > 0)
                ck_assert_mem_eq(record.explicit_hash.data, sample.records[i].explicit_hash, 16);
        }
        ck_assert_int_eq(ks_record_walk_next(&walk, &record), KS_END);
    }
}
END_TEST

START_TEST(every_flipped_byte_is_refused)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 77);
    for (int round = 0; round < 12; round++) {
        sample_batch_random(&sample, &prng);
        for (size_t at = 0; at < sample.bytes_used; at++) {
            uint8_t change = (uint8_t)(1 + ks_prng_below(&prng, 255));
            sample.bytes[at] ^= change;
            ck_assert_int_ne(decode_and_verify(sample.bytes, sizeof sample.bytes), KS_OK);
            sample.bytes[at] ^= change;
        }
    }
}
END_TEST

START_TEST(every_flipped_bit_of_the_golden_batch_is_refused)
{
    sample_batch_golden(&sample);
    for (size_t bit = 0; bit < sample.bytes_used * 8; bit++) {
        sample.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(decode_and_verify(sample.bytes, sizeof sample.bytes), KS_OK);
        sample.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(every_cut_is_refused)
{
    sample_batch_golden(&sample);
    for (size_t bytes = 0; bytes < sample.bytes_used; bytes++) {
        struct ks_batch_view batch;
        ck_assert_int_eq(ks_batch_decode(ks_view_of(sample.bytes, bytes), &batch), KS_CORRUPT);
    }
}
END_TEST

START_TEST(the_golden_batch_keeps_its_bytes)
{
    uint8_t golden[1024];
    FILE *file = fopen(KS_GOLDEN_DIR "/batch_v1.bin", "rb");
    ck_assert_ptr_nonnull(file);
    size_t bytes = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    sample_batch_golden(&sample);
    ck_assert_uint_eq(bytes, sample.bytes_used);
    ck_assert_mem_eq(golden, sample.bytes, bytes);
    ck_assert_int_eq(decode_and_verify(golden, bytes), KS_OK);
}
END_TEST

START_TEST(the_stored_form_can_be_padded_to_any_alignment)
{
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        for (uint32_t data_bytes = 0; data_bytes < 20000; data_bytes += data_bytes < 400 ? 1 : 37) {
            struct ks_batch_header h = {.log_id = 1,
                .first_sequence = 1,
                .record_count = 1,
                .records_bytes = (uint32_t)ks_record_encoded_bytes(1, data_bytes, false)};
            size_t unpadded = ks_batch_stored_bytes(&h);
            h.padding_bytes = ks_batch_padding_for(unpadded, alignment);
            size_t padded = ks_batch_stored_bytes(&h);
            ck_assert_uint_eq(padded % alignment, 0);
            ck_assert_uint_lt(padded - unpadded, 3 * KS_MAX(alignment, (size_t)2));
            static uint8_t padding[KS_BATCH_PADDING_BYTES_MAX];
            ck_assert_uint_eq(ks_batch_encode_padding(&h, padding), h.padding_bytes);
        }
    }
}
END_TEST

START_TEST(a_flag_kind_or_field_of_a_newer_version_is_unsupported_not_damage)
{
    struct ks_batch_view batch;
    sample_batch_golden(&sample);
    size_t header_at = sample_header_at();
    uint8_t *flags = sample.bytes + header_at + KS_BATCH_HEADER_BYTES - 4;
    flags[0] |= 0x80;
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_CORRUPT);
    reseal_header(sample.bytes, header_at);
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_UNSUPPORTED);

    sample_batch_golden(&sample);
    uint8_t *kind = sample.bytes + header_at + 5 + 27 + 15 + 1;
    ck_assert_uint_eq(kind[-1], 0x45);
    kind[0] = 3;
    reseal_header(sample.bytes, header_at);
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_UNSUPPORTED);

    /* A longer header: the first record's bytes become part of it. */
    sample_batch_golden(&sample);
    sample.bytes[header_at - 1] += 5;
    reseal_header(sample.bytes, header_at);
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_UNSUPPORTED);
}
END_TEST

/* Each row breaks one rule of a valid header; the checksum is right. */
static const struct {
    size_t at; /* of the value in the header */
    uint8_t value[8];
    size_t bytes;
} nonsense[] = {
    {6, {0}, 8},                                               /* log id 0 */
    {15, {0}, 8},                                              /* first sequence 0 */
    {15, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 8}, /* ordinals overflow */
    {33, {0}, 4},                                              /* no records */
    {33, {0xff, 0xff}, 4},                                     /* more records than bytes */
    {38, {0xff, 0xff, 0xff, 0x7f}, 4},                         /* more bytes than a batch holds */
    {48, {1}, 4},                                              /* a close batch with records */
    {53, {1}, 4},                                              /* padding of one byte */
    {58, {0}, 8},                                              /* sequence without producer */
};

START_TEST(a_header_that_makes_no_sense_is_refused)
{
    sample_batch_golden(&sample);
    size_t header_at = sample_header_at();
    memcpy(sample.bytes + header_at + nonsense[_i].at, nonsense[_i].value, nonsense[_i].bytes);
    reseal_header(sample.bytes, header_at);
    struct ks_batch_view batch;
    ck_assert_int_eq(
        ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_CORRUPT);
}
END_TEST

START_TEST(a_close_batch_ends_at_its_own_ordinal)
{
    struct ks_batch_header h = {.first_sequence = 12, .kind = KS_BATCH_CLOSE};
    ck_assert_uint_eq(ks_batch_last_sequence(&h), 12);
    h = (struct ks_batch_header){.first_sequence = 12, .record_count = 3};
    ck_assert_uint_eq(ks_batch_last_sequence(&h), 14);
    h.kind = KS_BATCH_DAMAGED;
    ck_assert_uint_eq(ks_batch_last_sequence(&h), 14);
}
END_TEST

START_TEST(encoding_a_batch_nobody_would_decode_aborts)
{
    struct ks_batch_header h = {.log_id = 0, .first_sequence = 1, .record_count = 1};
    uint8_t to[KS_BATCH_PREFIX_BYTES_MAX];
    ks_batch_encode_prefix(&h, to);
}
END_TEST

/* ---- records of a routed put ---- */

static const struct ks_record_limits limits = {
    .record_bytes_max = KS_RECORD_BYTES_DEFAULT, .count_max = KS_PUT_ROUTED_RECORDS_MAX};

START_TEST(records_of_a_put_are_accepted_and_summed_up)
{
    sample_batch_golden(&sample);
    struct ks_batch_view batch;
    ck_assert_int_eq(ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_OK);
    uint32_t body_crc = 0;
    ck_assert_int_eq(ks_records_validate(batch.records, 3, &limits, &body_crc, NULL), KS_OK);
    ck_assert_uint_eq(body_crc, sample.header.body_crc);
}
END_TEST

START_TEST(records_of_a_put_are_refused_with_a_reason)
{
    sample_batch_golden(&sample);
    struct ks_batch_view batch;
    ck_assert_int_eq(ks_batch_decode(ks_view_of(sample.bytes, sample.bytes_used), &batch), KS_OK);
    struct ks_error err = KS_ERROR_INIT;
    uint32_t body_crc = 0;
    struct ks_view r = batch.records;
    ck_assert_int_eq(ks_records_validate(r, 0, &limits, &body_crc, &err), KS_PROTOCOL);
    ck_assert_int_eq(ks_records_validate(r, 2, &limits, &body_crc, &err), KS_PROTOCOL);
    ck_assert_str_eq(err.text, "more than the announced 2 records");
    ck_assert_int_eq(ks_records_validate(r, 4, &limits, &body_crc, &err), KS_PROTOCOL);
    ck_assert_str_eq(err.text, "record 4 of 4 is malformed");
    struct ks_record_limits tight = {.record_bytes_max = 256, .count_max = 3};
    ck_assert_int_eq(ks_records_validate(r, 3, &tight, &body_crc, &err), KS_TOO_LARGE);
    ck_assert_str_eq(
        err.text, "record 3 has 257 bytes of data and key, the limit of the stream is 256");
    tight = (struct ks_record_limits){.record_bytes_max = 257, .count_max = 2};
    ck_assert_int_eq(ks_records_validate(r, 3, &tight, &body_crc, &err), KS_TOO_LARGE);
    sample.bytes[sample.bytes_used - sample.header.padding_bytes - 1] ^= 1;
    ck_assert_int_eq(ks_records_validate(r, 3, &limits, &body_crc, &err), KS_CORRUPT);
    ck_assert_str_eq(err.text, "record 3 of 3 has a wrong checksum");
}
END_TEST

START_TEST(a_key_has_1_to_256_characters_of_utf8)
{
    static const uint8_t fish[4] = {0xf0, 0x9f, 0x90, 0x9f};
    char key[1200];
    ck_assert(!ks_key_is_valid(ks_view_of_text("")));
    ck_assert(ks_key_is_valid(ks_view_of_text("a")));
    memset(key, 'k', sizeof key);
    ck_assert(ks_key_is_valid(ks_view_of(key, 256)));
    ck_assert(!ks_key_is_valid(ks_view_of(key, 257)));
    for (size_t at = 0; at < sizeof key; at += 4)
        memcpy(key + at, fish, sizeof fish);
    ck_assert(ks_key_is_valid(ks_view_of(key, 1024)));
    ck_assert(!ks_key_is_valid(ks_view_of(key, 1028)));
    ck_assert(!ks_key_is_valid(ks_view_of(key, 1023)));
    ck_assert(!ks_key_is_valid(ks_view_of_text("\xff")));
}
END_TEST

/* Key "k" and data "d" behind the checksum, in encodings of which only the first is canonical. */
static const struct {
    uint8_t rest[24];
    uint8_t bytes;
    enum ks_status status;
} encodings[] = {
    {{0x12, 1, 'k', 0x1a, 1, 'd'}, 6, KS_OK},
    {{0x1a, 1, 'd', 0x12, 1, 'k'}, 6, KS_PROTOCOL},               /* data before key */
    {{0x12, 0x81, 0, 'k', 0x1a, 1, 'd'}, 7, KS_PROTOCOL},         /* a length that is not minimal */
    {{0x12, 1, 'k', 0x1a, 1, 'd', 0x2a, 0}, 8, KS_PROTOCOL},      /* an unknown field */
    {{0x12, 1, 'k', 0x1a, 1, 'd', 0x1a, 1, 'd'}, 9, KS_PROTOCOL}, /* data twice */
    {{0x12, 1, 'k'}, 3, KS_PROTOCOL},                             /* no data */
    {{0x1a, 1, 'd'}, 3, KS_PROTOCOL},                             /* no key */
    {{0x12, 0, 0x1a, 1, 'd'}, 5, KS_PROTOCOL},                    /* an empty key */
    {{0x12, 1, 0xff, 0x1a, 1, 'd'}, 6, KS_PROTOCOL},              /* a key that is not UTF-8 */
    {{0x12, 1, 'k', 0x1a, 1, 'd', 0x22, 1, 0}, 9, KS_PROTOCOL},   /* a hash of one byte */
};

START_TEST(a_record_in_another_encoding_is_refused)
{
    uint8_t record[32] = {0x12, (uint8_t)(5 + encodings[_i].bytes), 0x0d};
    ks_store_u32le(record + 3, ks_crc32c(encodings[_i].rest, encodings[_i].bytes));
    memcpy(record + 7, encodings[_i].rest, encodings[_i].bytes);
    uint32_t body_crc = 0;
    struct ks_view records = ks_view_of(record, 7 + (size_t)encodings[_i].bytes);
    ck_assert_int_eq(
        ks_records_validate(records, 1, &limits, &body_crc, NULL), encodings[_i].status);
}
END_TEST

KS_SUITE("proto/batch")
{
    KS_TEST_LOOP(decode_undoes_encode, 10);
    KS_TEST(every_flipped_byte_is_refused);
    KS_TEST(every_flipped_bit_of_the_golden_batch_is_refused);
    KS_TEST(every_cut_is_refused);
    KS_TEST(the_golden_batch_keeps_its_bytes);
    KS_TEST(the_stored_form_can_be_padded_to_any_alignment);
    KS_TEST(a_flag_kind_or_field_of_a_newer_version_is_unsupported_not_damage);
    KS_TEST_LOOP(a_header_that_makes_no_sense_is_refused, KS_COUNT_OF(nonsense));
    KS_TEST(a_close_batch_ends_at_its_own_ordinal);
    KS_TEST_ABORTS(encoding_a_batch_nobody_would_decode_aborts);
    KS_TEST(records_of_a_put_are_accepted_and_summed_up);
    KS_TEST(records_of_a_put_are_refused_with_a_reason);
    KS_TEST(a_key_has_1_to_256_characters_of_utf8);
    KS_TEST_LOOP(a_record_in_another_encoding_is_refused, KS_COUNT_OF(encodings));
}
