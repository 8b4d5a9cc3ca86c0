/*
 * The bytes of a batch and of a record: the only module that knows them (FORMAT.md draws them). The
 * same bytes travel in a put, lie in the journal and in a segment, and are the answer of
 * GetRecords. Written by hand: nothing here allocates, every read is bounded, and exactly one
 * encoding of a value is accepted, so that all readers agree.
 *
 * Stored form: 0x0a varint(length) Batch, that is field 1 of message Segment in log.proto.
 * Threads: plain functions over the caller's memory.
 */
#ifndef KS_PROTO_BATCH_H
#define KS_PROTO_BATCH_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/limits.h"

enum ks_batch_kind {
    KS_BATCH_DATA = 0,
    KS_BATCH_CLOSE = 1,  /* the shard ends here: no records, first_sequence = end + 1 */
    KS_BATCH_DAMAGED = 2 /* record_count ordinals from first_sequence are lost: no records */
};

#define KS_BATCH_FLAG_FIRST 1u /* the producer's first batch for this shard */
#define KS_BATCH_FLAGS_KNOWN KS_BATCH_FLAG_FIRST

struct ks_batch_header {
    uint64_t log_id;            /* never 0 */
    uint64_t first_sequence;    /* ordinal of the first record, from 1 */
    uint64_t arrival_unix_ms;   /* broker clock */
    uint64_t producer_id;       /* 0: none, then producer_sequence is 0 as well */
    uint64_t producer_sequence; /* of an idempotent producer, counted per shard */
    uint32_t record_count;
    uint32_t records_bytes;
    uint32_t body_crc;      /* ks_body_crc_extend over the records' crcs; 0 without records */
    uint32_t padding_bytes; /* whole padding field: tag, length and zeros; 0: absent */
    uint32_t flags;         /* KS_BATCH_FLAG_* */
    enum ks_batch_kind kind;
};

#define KS_BATCH_HEADER_BYTES 80 /* the BatchHeader message itself */
#define KS_BATCH_PREFIX_BYTES_MAX                                                                  \
    88 /* tag, length of the batch (5 at most), tag, length, header                                \
        */

/* A decoded batch; borrows the stored bytes. */
struct ks_batch_view {
    struct ks_batch_header header;
    struct ks_view stored;  /* the batch alone, tag and length included */
    struct ks_view records; /* 0x12 varint(length) Record, one after the other */
    size_t stored_bytes;    /* == stored.bytes: how much of the input it takes */
};

/* Bytes of the stored form: tag, length, header, records, padding. */
size_t ks_batch_stored_bytes(const struct ks_batch_header *h);

/*
 * Writes all that precedes the records into to (room for KS_BATCH_PREFIX_BYTES_MAX) and returns its
 * length. The caller appends records_bytes bytes of records and then ks_batch_encode_padding.
 * Asserts that h is one that ks_batch_decode accepts.
 */
size_t ks_batch_encode_prefix(const struct ks_batch_header *h, uint8_t *to);
/* Writes exactly h->padding_bytes bytes (nothing for 0); returns that number. */
size_t ks_batch_encode_padding(const struct ks_batch_header *h, uint8_t *to);

/*
 * The padding_bytes that makes the stored form a multiple of alignment, for a batch whose stored
 * form without padding has unpadded_stored_bytes. A few totals cannot be hit (a length that needs
 * one byte more): then the next multiple is taken. alignment: 1 (the answer is 0) or a power of two
 * of at most 16 KiB.
 */
uint32_t ks_batch_padding_for(size_t unpadded_stored_bytes, size_t alignment);

/*
 * Decodes the batch at the start of stored: header and lengths only, records untouched. Bytes
 * behind it are ignored. Errors: KS_CORRUPT not the canonical form, a wrong header checksum, or
 * longer than stored; KS_UNSUPPORTED the header checksum is right, but it has a field, kind or flag
 * of a newer version.
 */
enum ks_status ks_batch_decode(struct ks_view stored, struct ks_batch_view *out_batch) KS_MUST_USE;

/*
 * As ks_batch_decode, for a walk that skips from batch to batch: prefix holds the first bytes of a
 * stored batch (KS_BATCH_PREFIX_BYTES_MAX of them are enough, fewer if the batch is shorter) and
 * nothing behind the header is looked at. Errors: as there.
 */
enum ks_status ks_batch_decode_prefix(struct ks_view prefix, struct ks_batch_header *out_header,
    size_t *out_stored_bytes) KS_MUST_USE;

/* Walks a decoded batch: each record's form and checksum, their number, the body checksum. Errors:
 * KS_CORRUPT. */
enum ks_status ks_batch_verify(const struct ks_batch_view *batch) KS_MUST_USE;

/* The last ordinal it takes in its log; first_sequence itself (the shard's end + 1) for a close
 * batch. */
uint64_t ks_batch_last_sequence(const struct ks_batch_header *h);

/* ---- records ---- */

struct ks_record {
    struct ks_view key;  /* 1..256 characters of UTF-8 */
    struct ks_view data; /* may be empty */
    bool has_explicit_hash;
    uint8_t explicit_hash[KS_EXPLICIT_HASH_BYTES]; /* big-endian, valid if has_explicit_hash */
};

/* A record found by a walk; borrows the walked bytes. */
struct ks_record_view {
    struct ks_view key;
    struct ks_view data;
    struct ks_view explicit_hash; /* 16 bytes big-endian, or none (bytes == 0) */
    struct ks_view stored;        /* with tag and length, as it lies in the batch */
    struct ks_view checked;       /* what crc covers */
    uint32_t crc;
};

/* 0x12, length and Record. */
size_t ks_record_encoded_bytes(size_t key_bytes, size_t data_bytes, bool has_explicit_hash);
/*
 * Writes ks_record_encoded_bytes() bytes and returns the record's crc. The caller has checked the
 * key (ks_key_is_valid) and the size.
 */
uint32_t ks_record_encode(const struct ks_record *record, uint8_t *to);
/* 1..256 characters of valid UTF-8. */
bool ks_key_is_valid(struct ks_view key);
bool ks_record_crc_is_right(const struct ks_record_view *record);

/* The body checksum: start at 0, extend by each record's crc in order. */
uint32_t ks_body_crc_extend(uint32_t body_crc, uint32_t record_crc);

struct ks_record_walk {
    struct ks_cursor cursor;
};

void ks_record_walk_init(struct ks_record_walk *walk, struct ks_view records);
/*
 * The next record: form and key checked, checksum not (ks_record_crc_is_right). Errors: KS_END no
 * more records; KS_CORRUPT not the canonical form: nothing behind it can be found.
 */
enum ks_status ks_record_walk_next(
    struct ks_record_walk *walk, struct ks_record_view *out_record) KS_MUST_USE;

struct ks_record_limits {
    uint32_t record_bytes_max; /* data and key of one record */
    uint32_t count_max;
};

/*
 * For the records of a routed put: exactly count canonical records with right checksums within the
 * limits. Errors: KS_PROTOCOL malformed or not count of them; KS_CORRUPT a wrong record checksum;
 * KS_TOO_LARGE over a limit.
 */
enum ks_status ks_records_validate(struct ks_view records, uint32_t count,
    const struct ks_record_limits *limits, uint32_t *out_body_crc,
    struct ks_error *err) KS_MUST_USE;

#endif
