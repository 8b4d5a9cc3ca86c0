/* What the decoder accepts, the encoder writes again byte for byte: there is one encoding only. */
#include "base/crc32c.h"
#include "proto/batch.h"
#include "tests/fuzz/fuzz.h"

static void records_are_canonical(struct ks_view records)
{
    static uint8_t again[1u << 20];
    struct ks_record_walk walk;
    struct ks_record_view view;
    ks_record_walk_init(&walk, records);
    while (ks_record_walk_next(&walk, &view) == KS_OK) {
        struct ks_record record = {
            .key = view.key, .data = view.data, .has_explicit_hash = view.explicit_hash.bytes > 0};
        if (record.has_explicit_hash)
            memcpy(record.explicit_hash, view.explicit_hash.data, KS_EXPLICIT_HASH_BYTES);
        KS_ASSERT(view.stored.bytes == ks_record_encoded_bytes(record.key.bytes, record.data.bytes,
                                           record.has_explicit_hash));
        if (view.stored.bytes > sizeof again)
            continue;
        uint32_t crc = ks_record_encode(&record, again);
        KS_ASSERT(crc == view.crc);
        KS_ASSERT(memcmp(again, view.stored.data, view.stored.bytes) == 0);
    }
}

static void check(struct ks_view input)
{
    static uint8_t padding[KS_BATCH_PADDING_BYTES_MAX];
    uint8_t prefix[KS_BATCH_PREFIX_BYTES_MAX];
    struct ks_batch_view batch;
    if (ks_batch_decode(input, &batch))
        return;
    const struct ks_batch_header *h = &batch.header;
    KS_ASSERT(batch.stored_bytes <= input.bytes && batch.stored_bytes == ks_batch_stored_bytes(h));
    size_t prefix_bytes = ks_batch_encode_prefix(h, prefix);
    KS_ASSERT(memcmp(prefix, input.data, prefix_bytes) == 0);
    KS_ASSERT(batch.records.data == input.data + prefix_bytes);
    size_t padding_bytes = ks_batch_encode_padding(h, padding);
    KS_ASSERT(prefix_bytes + batch.records.bytes + padding_bytes == batch.stored_bytes);
    KS_ASSERT(memcmp(padding, input.data + batch.stored_bytes - padding_bytes, padding_bytes) == 0);
    KS_ASSERT(ks_batch_last_sequence(h) >= h->first_sequence);
    if (ks_batch_verify(&batch) == KS_OK)
        records_are_canonical(batch.records);
}

/*
 * Puts right checksums into a damaged batch where its shape still tells where they belong, so that
 * inputs reach what stands behind the checks.
 */
static void reseal(uint8_t *data, size_t bytes)
{
    struct ks_cursor c = ks_cursor_over(data, bytes);
    uint64_t batch_bytes = 0;
    uint8_t header_bytes = 0;
    if (!ks_cursor_skip(&c, 1) || !ks_cursor_varint(&c, &batch_bytes) || !ks_cursor_skip(&c, 1) ||
        !ks_cursor_u8(&c, &header_bytes) || header_bytes < KS_BATCH_HEADER_BYTES ||
        header_bytes > ks_cursor_left(&c))
        return;
    uint8_t *header = data + c.position;
    uint32_t records_bytes = ks_load_u32le(header + 38);
    size_t left = ks_cursor_left(&c) - header_bytes;
    struct ks_record_walk walk;
    struct ks_record_view view;
    ks_record_walk_init(
        &walk, ks_view_of(header + header_bytes, KS_MIN((size_t)records_bytes, left)));
    uint32_t body_crc = 0;
    while (ks_record_walk_next(&walk, &view) == KS_OK) {
        uint32_t crc = ks_crc32c(view.checked.data, view.checked.bytes);
        ks_store_u32le(data + (view.checked.data - data) - 4, crc);
        body_crc = ks_body_crc_extend(body_crc, crc);
    }
    ks_store_u32le(header + 43, body_crc);
    ks_store_u32le(header + 1, ks_crc32c(header + 5, (size_t)header_bytes - 5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t resealed[1u << 20];
    check(ks_view_of(data, bytes));
    if (bytes > 0 && bytes <= sizeof resealed) {
        memcpy(resealed, data, bytes);
        reseal(resealed, bytes);
        check(ks_view_of(resealed, bytes));
    }
    return 0;
}
