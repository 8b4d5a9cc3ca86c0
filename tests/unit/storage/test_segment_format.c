#include "base/alloc.h"
#include "storage/segment_format.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

static uint8_t golden[8192];
static size_t golden_bytes;

static void read_golden(void)
{
    FILE *file = fopen(KS_GOLDEN_DIR "/segment_v1.seg", "rb");
    ck_assert_ptr_nonnull(file);
    golden_bytes = fread(golden, 1, sizeof golden, file);
    ck_assert_uint_gt(golden_bytes, KS_SEGMENT_HEADER_BYTES);
    fclose(file);
}

static struct ks_view golden_footer(void)
{
    uint64_t bytes = 0;
    ck_assert_int_eq(ks_footer_length(ks_view_of(golden + golden_bytes - 4, 4), &bytes), KS_OK);
    return ks_view_of(golden + golden_bytes - bytes, bytes);
}

START_TEST(a_segment_of_version_1_stays_readable)
{
    read_golden();
    struct ks_segment_header header;
    ck_assert_int_eq(
        ks_segment_header_decode(ks_view_of(golden, KS_SEGMENT_HEADER_BYTES), &header, NULL),
        KS_OK);
    ck_assert_uint_eq(header.file_id, 0x2a);
    ck_assert_uint_eq(header.generation, 3);
    ck_assert_uint_eq(header.log_id, 7);
    ck_assert_uint_eq(header.first_sequence, 1000);
    ck_assert_uint_eq(header.shard_index, 5);
    ck_assert_str_eq(header.stream_name, "orders");
    ck_assert_str_eq(header.stream_id, "abcdefghij0123456789-xyz");
    ck_assert(header.hash_first == 0 && header.hash_last == KS_U128_MAX);
    uint8_t again[KS_SEGMENT_HEADER_BYTES];
    ks_segment_header_encode(&header, again);
    ck_assert_mem_eq(again, golden, sizeof again);

    struct ks_footer footer;
    ck_assert_int_eq(ks_footer_decode(golden_footer(), &footer), KS_OK);
    ck_assert_uint_eq(footer.batch_count, 1);
    ck_assert_uint_eq(footer.batches[0].record_count, 3);
    ck_assert_uint_eq(footer.last_sequence, 1002);
    ck_assert_uint_eq(footer.marks[0].arrival_unix_ms, 1700000000123);
    struct ks_buf bytes;
    ks_buf_init(&bytes, KS_FOOTER_BYTES_MAX);
    ck_assert(ks_footer_encode(&footer, &bytes));
    ck_assert(ks_view_equal(ks_view_of(bytes.data, bytes.bytes), golden_footer()));
    ck_assert_uint_le(bytes.bytes, ks_footer_bytes_bound(1, 1));
    ks_buf_fini(&bytes);
    struct ks_batch_view batch;
    ck_assert_int_eq(
        ks_batch_decode(
            ks_view_of(golden + KS_SEGMENT_HEADER_BYTES, footer.batches[0].bytes), &batch),
        KS_OK);
    ck_assert_int_eq(ks_batch_verify(&batch), KS_OK);
    ks_footer_fini(&footer);
}
END_TEST

START_TEST(every_changed_bit_of_header_and_footer_is_noticed)
{
    read_golden();
    for (size_t at = 0; at < KS_SEGMENT_HEADER_BYTES; at++) {
        struct ks_segment_header header;
        golden[at] ^= (uint8_t)(1u << at % 8);
        ck_assert_int_ne(
            ks_segment_header_decode(ks_view_of(golden, KS_SEGMENT_HEADER_BYTES), &header, NULL),
            KS_OK);
        golden[at] ^= (uint8_t)(1u << at % 8);
    }
    struct ks_view footer_bytes = golden_footer();
    uint8_t *copy = ks_memdup(footer_bytes.data, footer_bytes.bytes);
    for (size_t bit = 0; bit < 8 * footer_bytes.bytes; bit++) {
        struct ks_footer footer;
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(
            ks_footer_decode(ks_view_of(copy, footer_bytes.bytes), &footer), KS_CORRUPT);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bytes = 0; bytes < footer_bytes.bytes; bytes++) {
        struct ks_footer footer;
        ck_assert_int_eq(ks_footer_decode(ks_view_of(copy, bytes), &footer), KS_CORRUPT);
    }
    ks_free(copy);
}
END_TEST

START_TEST(a_footer_of_many_batches_comes_back)
{
    struct ks_footer footer = {.log_id = 9, .first_sequence = 5, .last_arrival_unix_ms = 77};
    uint64_t sequence = 5;
    for (uint32_t i = 0; i < 5000; i++) {
        ck_assert(ks_footer_add_batch(&footer, 90 + i * 7, 1 + i % 9));
        if (i % 10 == 0)
            ck_assert(ks_footer_add_mark(&footer, i, 1000 + i));
        sequence += 1 + i % 9;
    }
    footer.last_sequence = sequence - 1;
    struct ks_buf bytes;
    ks_buf_init(&bytes, KS_FOOTER_BYTES_MAX);
    ck_assert(ks_footer_encode(&footer, &bytes));
    ck_assert_uint_le(bytes.bytes, ks_footer_bytes_bound(5000, 500));
    struct ks_footer again;
    ck_assert_int_eq(ks_footer_decode(ks_view_of(bytes.data, bytes.bytes), &again), KS_OK);
    ck_assert_uint_eq(again.batch_count, 5000);
    ck_assert_uint_eq(again.batches_bytes, footer.batches_bytes);
    ck_assert_uint_eq(again.mark_count, 500);
    ks_footer_fini(&again);
    ks_footer_fini(&footer);
    ks_buf_fini(&bytes);
}
END_TEST

KS_SUITE("storage/segment_format")
{
    KS_TEST(a_segment_of_version_1_stays_readable);
    KS_TEST(every_changed_bit_of_header_and_footer_is_noticed);
    KS_TEST(a_footer_of_many_batches_comes_back);
}
