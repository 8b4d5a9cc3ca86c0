#include "proto/batch.h"
#include "storage/journal_format.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

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

static const struct ks_journal_end ends[2] = {
    {.log_id = 4, .last_sequence = 9},
    {.log_id = 7, .last_sequence = 31},
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
        .predecessor = {.run_id = 2, .lsn = 70, .crc = 0x12345678},
        .ordinals_before = 900,
        .last_ordinals = 40,
        .settled_ordinals = 12,
        .end_count = 2,
        .ends_left_out = 1};
    header.payload_crc = ks_journal_payload_crc(&header, ks_view_of(payload, sizeof payload));
    memset(block, 0, sizeof block);
    ks_journal_head_encode(&header, entries, ends, block);
    memcpy(block + ks_journal_head_bytes(2, 2), payload, sizeof payload);
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
    ck_assert_uint_eq(out.predecessor.run_id, 2);
    ck_assert_uint_eq(out.predecessor.lsn, 70);
    ck_assert_uint_eq(out.predecessor.crc, 0x12345678);
    ck_assert_uint_eq(out.ordinals_before, 900);
    ck_assert_uint_eq(out.last_ordinals, 40);
    ck_assert_uint_eq(out.settled_ordinals, 12);
    ck_assert_uint_eq(out.end_count, 2);
    ck_assert_uint_eq(out.ends_left_out, 1);
    ck_assert_uint_eq(out.header_crc, in.header_crc);
    struct ks_journal_entry entry;
    ks_journal_entry_at(ks_view_of(block, sizeof block), 1, &entry);
    ck_assert_uint_eq(entry.log_id, 5);
    ck_assert_uint_eq(entry.offset, 100);
    ck_assert_uint_eq(entry.bytes, 200);
    struct ks_journal_end end;
    ks_journal_end_at(ks_view_of(block, sizeof block), &out, 1, &end);
    ck_assert_uint_eq(end.log_id, 7);
    ck_assert_uint_eq(end.last_sequence, 31);
    ck_assert_uint_eq(ks_journal_block_bytes(2, 2, sizeof payload), 4096);
    ck_assert_uint_eq(ks_journal_block_bytes(0, 0, 0), 4096);
    ck_assert_uint_eq(ks_journal_block_bytes(0, 246, 0), 4096);
    ck_assert_uint_eq(ks_journal_block_bytes(0, 247, 0), 8192);
    ck_assert_uint_eq(ks_journal_block_bytes(1, 0, 4096), 8192);
}
END_TEST

/* The header CRC covers every byte of header, table and ends: no flipped bit anywhere passes. */
START_TEST(no_flipped_bit_of_header_table_or_ends_passes)
{
    for (size_t byte = 0; byte < ks_journal_head_bytes(2, 2); byte++) {
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
    ks_journal_head_encode(&header, wrong, ends, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1].offset = 100;
    wrong[1].bytes = 201;
    ks_journal_head_encode(&header, wrong, ends, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1].bytes = 199;
    ks_journal_head_encode(&header, wrong, ends, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1] = entries[1];
    wrong[1].last_sequence = 0;
    ks_journal_head_encode(&header, wrong, ends, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
}
END_TEST

START_TEST(ends_that_name_nothing_are_refused)
{
    struct ks_journal_block_header header = encode();
    struct ks_journal_end wrong[2] = {ends[0], ends[1]};
    struct ks_journal_block_header out;
    wrong[1].log_id = 0;
    ks_journal_head_encode(&header, entries, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    wrong[1] = (struct ks_journal_end){.log_id = 7};
    ks_journal_head_encode(&header, entries, wrong, block);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
    header.last_ordinals = header.ordinals_before + 1;
    ks_journal_head_encode(&header, entries, ends, block);
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
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, 271), &out), KS_CORRUPT);
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, 272), &out), KS_OK);
    ks_store_u32le(block + 120, 0xffffffff);
    ck_assert_int_eq(decode(&out), KS_CORRUPT);
}
END_TEST

START_TEST(a_newer_block_is_unsupported_not_damaged)
{
    struct ks_journal_block_header out;
    struct ks_journal_block_header header = encode();
    header.flags = 1u << 7;
    ks_journal_head_encode(&header, entries, ends, block);
    ck_assert_int_eq(ks_journal_head_peek(ks_view_of(block, sizeof block), &out), KS_UNSUPPORTED);
    ck_assert_int_eq(ks_journal_head_check(ks_view_of(block, sizeof block), &out), KS_OK);
}
END_TEST

START_TEST(a_file_header_comes_back_and_no_flipped_bit_passes)
{
    struct ks_journal_file_header in = {.uuid = {1, 2},
        .number = 12,
        .file_bytes = 1 << 20,
        .run_id = 5,
        .first_lsn = 70,
        .ordinals_before = 1000,
        .needed_ordinals = 900,
        .flags = KS_JOURNAL_FIRST_OF_RUN,
        .predecessor = {.run_id = 4, .lsn = 60, .crc = 9}};
    struct ks_journal_file_header out;
    ks_journal_file_header_encode(&in, block);
    ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(block, 4096), &out), KS_OK);
    ck_assert_uint_eq(out.number, 12);
    ck_assert_uint_eq(out.file_bytes, 1 << 20);
    ck_assert_mem_eq(out.uuid, in.uuid, sizeof in.uuid);
    ck_assert_uint_eq(out.run_id, 5);
    ck_assert_uint_eq(out.first_lsn, 70);
    ck_assert_uint_eq(out.ordinals_before, 1000);
    ck_assert_uint_eq(out.needed_ordinals, 900);
    ck_assert_uint_eq(out.flags, KS_JOURNAL_FIRST_OF_RUN);
    ck_assert_uint_eq(out.predecessor.run_id, 4);
    ck_assert_uint_eq(out.predecessor.lsn, 60);
    ck_assert_uint_eq(out.predecessor.crc, 9);
    in.flags = 2;
    ks_journal_file_header_encode(&in, block);
    ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(block, 4096), &out), KS_UNSUPPORTED);
    for (size_t byte = 0; byte < 116; byte++) {
        ks_journal_file_header_encode(&in, block);
        block[byte] ^= 4;
        ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(block, 4096), &out), KS_CORRUPT);
    }
}
END_TEST

static uint8_t golden[16384];

static struct ks_view golden_block(unsigned index, struct ks_journal_block_header *out_header)
{
    struct ks_view at = ks_view_of(golden + 4096 * (index + 1), 4096);
    ck_assert_int_eq(ks_journal_head_peek(at, out_header), KS_OK);
    ck_assert_int_eq(ks_journal_head_check(at, out_header), KS_OK);
    uint64_t head_bytes = ks_journal_head_bytes(out_header->entry_count, out_header->end_count);
    struct ks_view stored = ks_view_of(at.data + head_bytes, out_header->payload_bytes);
    ck_assert_uint_eq(ks_journal_payload_crc(out_header, stored), out_header->payload_crc);
    return at;
}

START_TEST(a_journal_of_version_1_stays_readable)
{
    FILE *stream = fopen(KS_GOLDEN_DIR "/journal_v1.jnl", "rb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fread(golden, 1, sizeof golden, stream), sizeof golden);
    fclose(stream);
    struct ks_journal_file_header file;
    ck_assert_int_eq(ks_journal_file_header_decode(ks_view_of(golden, 4096), &file), KS_OK);
    ck_assert_mem_eq(file.uuid, "0123456789abcdef", 16);
    ck_assert_uint_eq(file.number, 12);
    ck_assert_uint_eq(file.file_bytes, 16384);
    ck_assert_uint_eq(file.run_id, 6);
    ck_assert_uint_eq(file.first_lsn, 80);
    ck_assert_uint_eq(file.ordinals_before, 5000);
    ck_assert_uint_eq(file.needed_ordinals, 4000);
    ck_assert_uint_eq(file.flags, KS_JOURNAL_FIRST_OF_RUN);
    ck_assert_uint_eq(file.predecessor.run_id, 5);
    struct ks_journal_block_header header;
    golden_block(0, &header);
    ck_assert_uint_eq(header.flags, KS_JOURNAL_FIRST_OF_RUN);
    ck_assert_uint_eq(header.predecessor.lsn, 77);
    ck_assert_uint_eq(header.predecessor.crc, 0xabcd);
    ck_assert_uint_eq(header.settled_ordinals, 9);
    struct ks_view block_bytes = golden_block(1, &header);
    ck_assert_uint_eq(header.lsn, 81);
    ck_assert_uint_eq(header.durable_lsn, 80);
    struct ks_journal_entry entry;
    ks_journal_entry_at(block_bytes, 0, &entry);
    ck_assert_uint_eq(entry.log_id, 7);
    ck_assert_uint_eq(entry.first_sequence, 1000);
    ck_assert_uint_eq(ks_journal_entry_ordinals(&entry), 3);
    struct ks_batch_view batch;
    ck_assert_int_eq(
        ks_batch_decode(
            ks_view_of(block_bytes.data + ks_journal_head_bytes(1, 1), entry.bytes), &batch),
        KS_OK);
    ck_assert_int_eq(ks_batch_verify(&batch), KS_OK);
    block_bytes = golden_block(2, &header);
    ck_assert_uint_eq(header.ordinals_before, 5003);
    ck_assert_uint_eq(header.last_ordinals, 3);
    struct ks_journal_end end;
    ks_journal_end_at(block_bytes, &header, 0, &end);
    ck_assert_uint_eq(end.log_id, 7);
    ck_assert_uint_eq(end.last_sequence, 1002);
}
END_TEST

KS_SUITE("storage/journal_format")
{
    KS_TEST(a_journal_of_version_1_stays_readable);
    KS_TEST(a_block_head_comes_back_as_it_was_written);
    KS_TEST(no_flipped_bit_of_header_table_or_ends_passes);
    KS_TEST(a_payload_under_another_name_is_wrong);
    KS_TEST(a_table_that_does_not_tile_the_payload_is_refused);
    KS_TEST(ends_that_name_nothing_are_refused);
    KS_TEST(lengths_beyond_reason_are_refused_before_they_are_used);
    KS_TEST(a_newer_block_is_unsupported_not_damaged);
    KS_TEST(a_file_header_comes_back_and_no_flipped_bit_passes);
}
