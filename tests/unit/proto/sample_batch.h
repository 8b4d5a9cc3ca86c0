/* Batches for tests: one whose bytes are known (tests/golden/batch_v1.bin), and random ones from a
 * seed. */
#ifndef KS_TESTS_UNIT_PROTO_SAMPLE_BATCH_H
#define KS_TESTS_UNIT_PROTO_SAMPLE_BATCH_H

#include "base/prng.h"
#include "base/u128.h"
#include "proto/batch.h"

#define SAMPLE_BYTES_MAX 65536
#define SAMPLE_RECORDS_MAX 8

struct sample_batch {
    struct ks_batch_header header;
    struct ks_record records[SAMPLE_RECORDS_MAX];
    uint8_t bytes[SAMPLE_BYTES_MAX]; /* stored form */
    size_t bytes_used;
    uint8_t payload[SAMPLE_BYTES_MAX / 2]; /* what the records point to */
};

/* Fills records_bytes, body_crc, padding_bytes of the header and makes the stored form. */
static inline void sample_batch_encode(struct sample_batch *sample, size_t alignment)
{
    static uint8_t body[SAMPLE_BYTES_MAX];
    struct ks_batch_header *h = &sample->header;
    size_t body_bytes = 0;
    h->body_crc = 0;
    uint32_t with_records = h->kind == KS_BATCH_DATA ? h->record_count : 0;
    for (uint32_t i = 0; i < with_records; i++) {
        const struct ks_record *r = &sample->records[i];
        size_t bytes = ks_record_encoded_bytes(r->key.bytes, r->data.bytes, r->has_explicit_hash);
        KS_ASSERT(body_bytes + bytes <= sizeof body);
        h->body_crc = ks_body_crc_extend(h->body_crc, ks_record_encode(r, body + body_bytes));
        body_bytes += bytes;
    }
    h->records_bytes = (uint32_t)body_bytes;
    h->padding_bytes = 0;
    h->padding_bytes = ks_batch_padding_for(ks_batch_stored_bytes(h), alignment);
    sample->bytes_used = ks_batch_stored_bytes(h);
    KS_ASSERT(sample->bytes_used <= sizeof sample->bytes);
    size_t at = ks_batch_encode_prefix(h, sample->bytes);
    memcpy(sample->bytes + at, body, body_bytes);
    at += body_bytes;
    at += ks_batch_encode_padding(h, sample->bytes + at);
    KS_ASSERT(at == sample->bytes_used);
}

/* The one tests/golden/make_batch_v1.py describes. */
static inline void sample_batch_golden(struct sample_batch *sample)
{
    *sample = (struct sample_batch){.header = {.log_id = 7,
                                        .first_sequence = 1000,
                                        .arrival_unix_ms = 1700000000123,
                                        .producer_id = 0x1122334455667788,
                                        .producer_sequence = 42,
                                        .record_count = 3,
                                        .flags = KS_BATCH_FLAG_FIRST,
                                        .kind = KS_BATCH_DATA}};
    for (int i = 0; i < 256; i++)
        sample->payload[i] = (uint8_t)i;
    sample->records[0] =
        (struct ks_record){.key = ks_view_of_text("user-1"), .data = ks_view_of_text("first")};
    sample->records[1] = (struct ks_record){.key = ks_view_of_text("파티션")};
    sample->records[2] = (struct ks_record){.key = ks_view_of_text("a"),
        .data = ks_view_of(sample->payload, 256),
        .has_explicit_hash = true,
        .explicit_hash = {[0] = 0x80, [15] = 1}};
    sample_batch_encode(sample, 512);
}

static inline void sample_batch_random(struct sample_batch *sample, struct ks_prng *prng)
{
    static const char *const keys[] = {"k", "user-4711", "ключ", "파티션", "\xf0\x9f\x90\x9f"};
    *sample = (struct sample_batch){.header = {.log_id = 1 + ks_prng_below(prng, UINT64_MAX),
                                        .first_sequence = 1 + ks_prng_below(prng, 1ULL << 62),
                                        .arrival_unix_ms = ks_prng_u64(prng)}};
    struct ks_batch_header *h = &sample->header;
    h->kind = ks_prng_chance(prng, 8, 10)  ? KS_BATCH_DATA
              : ks_prng_chance(prng, 1, 2) ? KS_BATCH_CLOSE
                                           : KS_BATCH_DAMAGED;
    if (h->kind != KS_BATCH_CLOSE)
        h->record_count = 1 + (uint32_t)ks_prng_below(prng, SAMPLE_RECORDS_MAX);
    if (h->kind == KS_BATCH_DATA && ks_prng_chance(prng, 1, 2)) {
        h->producer_id = 1 + ks_prng_below(prng, UINT64_MAX);
        h->producer_sequence = ks_prng_u64(prng);
        h->flags = ks_prng_chance(prng, 1, 3) ? KS_BATCH_FLAG_FIRST : 0;
    }
    for (size_t i = 0; i < sizeof sample->payload; i += 8)
        ks_store_u64le(sample->payload + i, ks_prng_u64(prng));
    for (uint32_t i = 0; i < SAMPLE_RECORDS_MAX; i++) {
        size_t bytes = (size_t)ks_prng_below(prng, ks_prng_chance(prng, 1, 4) ? 4000 : 100);
        sample->records[i] =
            (struct ks_record){.key = ks_view_of_text(keys[ks_prng_below(prng, 5)]),
                .data = ks_view_of(sample->payload + ks_prng_below(prng, 20000), bytes),
                .has_explicit_hash = ks_prng_chance(prng, 1, 4)};
        ks_u128_store_be(
            sample->records[i].explicit_hash, (ks_u128)ks_prng_u64(prng) << 64 | ks_prng_u64(prng));
        if (!sample->records[i].has_explicit_hash)
            memset(sample->records[i].explicit_hash, 0, KS_EXPLICIT_HASH_BYTES);
    }
    static const size_t alignments[] = {1, 8, 64, 512, 4096};
    sample_batch_encode(sample, alignments[ks_prng_below(prng, KS_COUNT_OF(alignments))]);
}

#endif
