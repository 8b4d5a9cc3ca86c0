/*
 * Tokens that clients carry for us: shard iterators and the next tokens of lists. Stateless: what
 * they say is in them, under a truncated HMAC-SHA256 with a key that lives in the data directory,
 * so that they outlive a restart and cannot be forged.
 */
#ifndef KS_DAEMON_ITERATOR_H
#define KS_DAEMON_ITERATOR_H

#include "base/bytes.h"
#include "base/status.h"
#include "proto/limits.h"

#define KS_TOKEN_KEY_BYTES 32
#define KS_TOKEN_PAYLOAD_BYTES_MAX 300u
#define KS_TOKEN_TEXT_BYTES_MAX 512u /* with the zero */

struct ks_token_key {
    uint8_t bytes[KS_TOKEN_KEY_BYTES];
};

/* The first byte of a token: what it is for. Also the version: a new layout is a new number. */
enum ks_token_kind {
    KS_TOKEN_ITERATOR = 1,
    KS_TOKEN_LIST_SHARDS = 2,
    KS_TOKEN_LIST_STREAMS = 3,
};

/* Reads data_dir/iterator.key (0600), makes it at first. Errors: KS_CORRUPT wrong length; KS_IO;
 * KS_STORAGE_FULL. */
enum ks_status ks_token_key_load(
    const char *data_dir, struct ks_token_key *out_key, struct ks_error *err) KS_MUST_USE;

/* base64 of: kind, payload, 16 bytes of HMAC. payload.bytes <= KS_TOKEN_PAYLOAD_BYTES_MAX. */
void ks_token_seal(const struct ks_token_key *key, enum ks_token_kind kind, struct ks_view payload,
    char text[KS_TOKEN_TEXT_BYTES_MAX]);
/* Errors: KS_INVALID not ours, altered, or of another kind. payload has room for
 * KS_TOKEN_PAYLOAD_BYTES_MAX. */
enum ks_status ks_token_open(const struct ks_token_key *key, enum ks_token_kind kind,
    struct ks_view text, uint8_t *payload, size_t *out_bytes) KS_MUST_USE;

/* Where a reader stands. The token has 72 characters: kind, issued, stream, log, shard, sequence,
 * HMAC. */
struct ks_iterator {
    uint64_t issued_unix_ms;
    uint64_t stream_number; /* incarnation: a re-created stream of the same name is another */
    uint64_t log_id;
    uint32_t shard_index;
    uint64_t sequence; /* of the next record wanted */
};

void ks_iterator_to_text(const struct ks_token_key *key, const struct ks_iterator *iterator,
    char text[KS_TOKEN_TEXT_BYTES_MAX]);
/* Errors: KS_INVALID; KS_EXPIRED_ITERATOR older than KS_ITERATOR_TTL_MS. */
enum ks_status ks_iterator_from_text(const struct ks_token_key *key, struct ks_view text,
    uint64_t now_unix_ms, struct ks_iterator *out_iterator, struct ks_error *err) KS_MUST_USE;

#endif
