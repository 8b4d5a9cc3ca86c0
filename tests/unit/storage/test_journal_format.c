#include "storage/journal_format.h"
#include "tests/unit/ks_check.h"

static uint8_t block[8192];
static const uint8_t payload[300] = {1, 2, 3};

static const struct ks_journal_entry entries[2] = {
    {.type = KS_JOURNAL_DATA, .log_id = 4, .first_sequence = 10, .last_sequence = 12, .bytes = 100},
    {.type = KS_JOURNAL_DATA,
        .log_id = 5,
        .first_sequence = 1,
        .last_sequence = 1,
        .offset = 100,
        .bytes = 200},
};

static struct ks_journal_block_header encode(void)
{
    struct ks_journal_block_header header = {.uuid = {9, 8, 7},
        .run_id = 3,
        .lsn = 77,
        .durable_lsn = 76,
        .flags = KS_JOURNAL_FIRST_OF_RUN,
        .entry_count = 2,
        .payload_bytes = sizeof payload,
        .predecessor_run = 2,
        .predecessor_lsn = 70,
        .predecessor_crc = 0x12345678};
    header.payload_crc = ks_journal_payload_crc(&header, ks_view_of(payload, sizeof payload));
    memset(block, 0, sizeof block);
    ks_journal_head_encode(&header, entries, block);
    memcpy(block + ks_journal_head_bytes(2), payload, sizeof payload);
    return header;
}

static enum ks_status decode(struct ks_journal_block_header *out)
{
    enum ks_status st = ks_journal_head_peek(ks_view_of(block, sizeof block), out);
    return st ? st : ks_journal_head_check(ks_view_of(block, sizeof block), out);
}

START_TEST(a_block_head_comes_back_as_it_was_written)
{
    struct ks_journal_block_header in = encode();
    struct ks_journal_block_header out;
    ck_assert_int_eq(decode(&out), KS_OK);
    ck_assert_mem_eq(out.uuid, in.uuid, sizeof in.uuid);
    ck_assert_uint_eq(out.run_id, 3);
    ck_assert_uint_eq(out.lsn, 77);
    ck_assert_uint_eq(out.durable_lsn, 76);
    ck_assert_uint_eq(out.flags, KS_JOURNAL_FIRST_OF_RUN);
    ck_assert_uint_eq(out.payload_bytes, sizeof payload);
    ck_assert_uint_eq(out.payload_crc, in.payload_crc);
    ck_assert_uint_eq(out.predecessor_run, 2);
    ck_assert_uint_eq(out.predecessor_lsn, 70);
    ck_assert_uint_eq(out.predecessor_crc, 0x12345678);
    ck_assert_uint_eq(out.header_crc, in.header_crc);
    struct ks_journal_entry entry;
    ks_journal_entry_at(ks_view_of(block, sizeof block), 1, &entry);
    ck_assert_uint_eq(entry.log_id, 5);
    ck_assert_uint_eq(entry.offset, 100);
    ck_assert_uint_eq(entry.bytes, 200);
    ck_assert_uint_eq(ks_journal_block_bytes(2, sizeof payload), 4096);
    ck_assert_uint_eq(ks_journal_block_bytes(0, 0), 4096);
    ck_assert_uint_eq(ks_journal_block_bytes(1, 4096), 8192);
}
END_TEST

/* The header CRC covers every byte of header and table: no flipped bit anywhere passes. */
START_TEST(no_flipped_bit_of_header_or_table_passes)
{
    for (size_t byte = 0; byte < ks_journal_head_bytes(2); byte++) {
        for (int bit = 0; bit < 8; bit++) {
            encode();
            block[byte] ^= (uint8_t)(1 << bit);
            struct ks_journal_block_header out;
            ck_assert_int_ne(decode(&out), KS_OK);
        }
    }
}
END_TEST

START_TEST(a_payload_under_another_name_is_wrong)
{
    struct ks_journal_block_header header = encode();
    struct ks_view bytes = ks_view_of(payload, sizeof payload);
    ck_assert_uint_eq(ks_journal_payload_crc(&header, bytes), header.payload_crc);
    header.lsn++;
    ck_assert_uint_ne(ks_journal_payload_crc(&header, bytes), header.payload_crc);
    header.lsn--;
    header.run_id++;
    ck_assert_uint_ne(ks_journal_payload_crc(&header, bytes), header.payload_crc);
    header.run_id--;
    header.uuid[0]++;
    ck_assert_uint_ne(ks_journal_payload_crc(&header, bytes), header.payload_crc);
}
END_TEST

START_TEST(a_table_that_does_not_tile_the_payload_is_refused)
{
    struct ks_journal_block_header header = encode();
    struct ks_journal_entry wrong[2] = {entries[0], entries[1]};
    struct ks_journal_block_header out;
    wrong[1].offset = 99;
    ks_journal_head_encode(&header, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1].offset = 100;
    wrong[1].bytes = 201;
    ks_journal_head_encode(&header, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1].bytes = 199;
    ks_journal_head_encode(&header, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1] = entries[1];
    wrong[1].last_sequence = 0;
    ks_journal_head_encode(&header, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
}
END_TEST

START_TEST(lengths_beyond_reason_are_refused_before_they_are_used)
{
    struct ks_journal_block_header out;
    encode();
    ks_store_u32le(block + 64, 0xffffffff);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    encode();
    ks_store_u32le(block + 68, 0xffffffff);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    encode();
    ck_assert_int_eq(ks_journal_head_peek(ks_view_of(block, 159), &out), KS_CORRUPT);
    ck_assert_int_eq(ks_journal_head_peek(ks_view_of(block, 160), &out), KS_OK);
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, 239), &out), KS_CORRUPT);
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, 240), &out), KS_OK);
}
END_TEST

START_TEST(a_newer_block_is_unsupported_not_damaged)
{
    struct ks_journal_block_header out;
    struct ks_journal_block_header header = encode();
    header.flags = 1u << 7;
    ks_journal_head_encode(&header, entries, block);
    ck_assert_int_eq(ks_journal_head_peek(ks_view_of(block, sizeof block), &out), KS_UNSUPPORTED);
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, sizeof block), &out), KS_OK);
}
END_TEST

START_TEST(a_file_header_comes_back_and_no_flipped_bit_passes)
{
    struct ks_journal_file_header in = {.uuid = {1, 2}, .number = 12, .file_bytes = 1 << 20};
    struct ks_journal_file_header out;
    ks_journal_file_header_encode(&in, block);
    ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(block, 4096), &out), KS_OK);
    ck_assert_uint_eq(out.number, 12);
    ck_assert_uint_eq(out.file_bytes, 1 << 20);
    ck_assert_mem_eq(out.uuid, in.uuid, sizeof in.uuid);
    for (size_t byte = 0; byte < 60; byte++) {
        ks_journal_file_header_encode(&in, block);
        block[byte] ^= 4;
        ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(block, 4096), &out), KS_CORRUPT);
    }
}
END_TEST

KS_SUITE("storage/journal_format")
{
    KS_TEST(a_block_head_comes_back_as_it_was_written);
    KS_TEST(no_flipped_bit_of_header_or_table_passes);
    KS_TEST(a_payload_under_another_name_is_wrong);
    KS_TEST(a_table_that_does_not_tile_the_payload_is_refused);
    KS_TEST(lengths_beyond_reason_are_refused_before_they_are_used);
    KS_TEST(a_newer_block_is_unsupported_not_damaged);
    KS_TEST(a_file_header_comes_back_and_no_flipped_bit_passes);
}
