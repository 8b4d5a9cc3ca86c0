/*
 * Sequence numbers and shard ids as Kinesis prints them. Inside, a record is named by its shard and
 * a dense ordinal; this module is the only one that makes or reads the 56-digit decimal of the
 * outside.
 */
#ifndef KS_PROTO_SEQUENCE_H
#define KS_PROTO_SEQUENCE_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/limits.h"

#define KS_SEQUENCE_TEXT_BYTES 57 /* 56 digits and the zero */
#define KS_SHARD_ID_TEXT_BYTES 24 /* "shardId-", 12 digits, the zero, rounded up */

/* Ordinal 0 is the shard's start, KS_SEQUENCE_ORDINAL_END the end of a closed shard. */
#define KS_SEQUENCE_ORDINAL_END 0x7fffffffffffffffULL
#define KS_SEQUENCE_SECONDS_MAX 0xfffffffffULL /* 36 bits */

struct ks_sequence_number {
    uint64_t created_unix_s; /* creation of the shard */
    uint64_t ordinal;
    uint64_t arrival_unix_s;
    uint32_t shard_index;
};

/* The 56-digit decimal, zero-terminated. Asserts the bounds above. */
void ks_sequence_to_text(
    const struct ks_sequence_number *number, char text[KS_SEQUENCE_TEXT_BYTES]);
/* Errors: KS_INVALID not a version-2 sequence number. */
enum ks_status ks_sequence_from_text(
    struct ks_view text, struct ks_sequence_number *out_number) KS_MUST_USE;

/* "shardId-000000000007" */
void ks_shard_id_to_text(uint32_t shard_index, char text[KS_SHARD_ID_TEXT_BYTES]);
/*
 * As lenient as Kinesis: what follows the first '-', or the whole text, as a decimal of at most
 * 2147483647; "shard-1" and "1" both mean 1. Errors: KS_INVALID.
 */
enum ks_status ks_shard_id_from_text(struct ks_view text, uint32_t *out_shard_index) KS_MUST_USE;

#endif
